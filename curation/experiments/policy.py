"""The policy experiments as the command line and the dashboard see them: scales, places, results on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from curation.experiments.stages import load_json
from curation.settings import pool_folders, workspace

Kind = Literal["imdb", "hh"]
Scale = Literal["published", "small", "test"]
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
    seed: int = 0,
    device: str = "cpu",
    judge: Any = None,
    judge_name: str = "local reward model",
    told: Any = None,
) -> dict[str, Any]:
    """Run or go on with an experiment. data: a file; published imdb takes a hub dataset by default."""
    from dataclasses import replace

    from curation.experiments import hh, imdb
    from curation.experiments.training import PolicyError

    if data is None and not (kind == "imdb" and scale == "published"):
        raise PolicyError(
            f"experiment {kind} at this scale needs a file: give {'--data' if kind == 'imdb' else '--pool'}."
        )
    if kind == "imdb":
        made = {"published": imdb.ImdbSettings, "small": imdb.small_settings, "test": imdb.test_settings}[scale]
        settings = made(data) if data is not None else imdb.ImdbSettings()
        return imdb.run_imdb(replace(settings, seed=seed), out, device=device, told=told)
    from curation.run.prepare import load_pool

    chosen = {"published": hh.HhSettings, "small": hh.small_settings, "test": hh.test_settings}[scale]()
    return hh.run_hh(
        load_pool(str(data)),
        replace(chosen, seed=seed),
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
