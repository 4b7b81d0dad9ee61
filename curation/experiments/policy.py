"""The policy experiments as the command line and the dashboard see them: scales, places, results on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from curation.experiments.stages import load_json
from curation.settings import pool_folders, workspace

Kind = Literal["imdb", "hh"]
Scale = Literal["published", "real", "small", "test"]
USUAL = {"imdb": "reviews_polarity.jsonl.gz", "hh": "hh_harmless_base_test.jsonl.gz"}  # looked for in pool folders


def place(kind: Kind) -> Path:
    """Where the dashboard looks for a result."""
    return workspace() / "experiments" / f"policy-{kind}"


def read_result(folder: Path) -> dict[str, Any] | None:
    """A result as its experiment left it, None where there is none that can be read."""
    try:
        found = load_json(folder / "result.json")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "points" in found and "sentences" in found else None


def usual_data(kind: Kind) -> Path | None:
    """The file of an experiment in the folders that pools may be opened from, None where there is none."""
    return next((folder / USUAL[kind] for folder in pool_folders() if (folder / USUAL[kind]).is_file()), None)


def run_policy(
    kind: Kind,
    scale: Scale,
    data: str | None,
    out: Path,
    *,
    model: str | None = None,
    changed: dict[str, Any] | None = None,
    seed: int = 0,
    device: str = "cpu",
    judge: Any = None,
    judge_name: str = "local reward model",
    told: Any = None,
    say: Any = print,
) -> dict[str, Any]:
    """Run or go on with an experiment. data: a file; published imdb takes a hub dataset by default.

    model: the base, a folder or hub name, of scale `real`, or in place of the published one. changed: settings that
    replace the scale's own. say: told how long it will take.
    """
    from dataclasses import replace

    from curation.experiments import hh, imdb
    from curation.experiments.training import PolicyError

    if data is None and not (kind == "imdb" and scale == "published"):
        raise PolicyError(
            f"experiment {kind} at this scale needs a file: give {'--data' if kind == 'imdb' else '--pool'}."
        )
    if scale == "real" and model is None:
        raise PolicyError(
            "--scale real trains a model that is at hand; name it with --model (a folder or a hub name, such as what "
            "`python -m curation model smollm2` makes)."
        )
    if scale in ("small", "test") and model is not None:
        raise PolicyError(f"--scale {scale} makes its own small model; use --scale real with --model {model}.")
    changed = {**(changed or {}), "seed": seed}
    if kind == "imdb":
        if scale == "real":
            settings = imdb.real_settings(str(data), str(model))
        else:
            made = {"published": imdb.ImdbSettings, "small": imdb.small_settings, "test": imdb.test_settings}[scale]
            settings = made(data) if data is not None else imdb.ImdbSettings()
            changed |= {"model": model} if model else {}
        return imdb.run_imdb(replace(settings, **changed), out, device=device, told=told, say=say)
    from curation.run.prepare import load_pool

    if scale == "real":
        chosen = hh.real_settings(str(model))
    else:
        chosen = {"published": hh.HhSettings, "small": hh.small_settings, "test": hh.test_settings}[scale]()
        changed |= {"model": model} if model else {}
    return hh.run_hh(
        load_pool(str(data)),
        replace(chosen, **changed),
        out,
        judge=judge,
        judge_name=judge_name,
        device=device,
        told=told,
    )


def run_job(options: dict[str, Any], out: str, progress: Any) -> str:
    """The worker of the Evidence page. options: kind, data (a file)."""
    result = run_policy(options["kind"], "small", options["data"], Path(out), told=progress)
    return str(result["sentences"][0]) if result["sentences"] else "Finished."
