"""Commands on a pool before any design: check, features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curation.cli.asked import DeviceOpt, PresetOpt
from curation.cli.kinds import FEATURES, PAIRS, REJECTS
from curation.cli.options import (
    ForceOpt,
    JsonOpt,
    MapOpt,
    ModelDtypeChoice,
    PoolArg,
    PoolingChoice,
)
from curation.cli.output import emit, progress_line, say
from curation.cli.writes import Writes
from curation.settings import PRESETS


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(check)
    app.command()(features)


def check(
    pool: PoolArg,
    columns: MapOpt = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Where to save the rows that cannot be used."), Writes(REJECTS)
    ] = None,
    features_file: Annotated[
        Path | None, typer.Option("--features", help="Also look at these features and at a design on them.")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Labels of that design; default: by the pool's size.")] = None,
    preset: PresetOpt = "default",
    exclude_out: Annotated[
        Path | None,
        typer.Option(help="Where to save the pairs that nobody can decide, for `solve --exclude`."),
        Writes(PAIRS),
    ] = None,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Read a pool and say what is in it and what is wrong with it; exit 1 when rows cannot be used."""
    from curation.health.texts import duplicate_pairs, text_findings
    from curation.pool.checks import pool_report
    from curation.pool.files.storage import write_rejects, write_text
    from curation.pool.pair_lists import pair_list_csv
    from curation.pool.readers.read import parse_mapping
    from curation.run.prepare import load_pool

    file = load_pool(pool, mapping=parse_mapping(columns or ()))
    if rejects is not None:
        write_rejects(file.rejects, rejects, force=force)
    report = pool_report(file.pool)
    findings = text_findings(file.pool, report)
    if features_file is not None:
        from curation.health.checkup import design_health

        asked = PRESETS[preset]
        findings += design_health(file.pool, features_file, budget=budget, space=asked.space(), design=asked.design())
    if exclude_out is not None:
        write_text(pair_list_csv(duplicate_pairs(report)), exclude_out, force=force)
    result = {
        "format": file.format,
        "rows": file.rows,
        "rows_used": file.rows_used,
        "rejects": len(file.rejects),
        "rejected": [{"line": r.line, "reason": r.reason} for r in file.rejects[:50]],
        "fingerprint": file.pool.fingerprint,
        "known_outcomes": {"quality": len(file.truth.quality), "labels": len(file.truth.labels)},
        "notes": list(file.notes),
        "health": [finding.to_json() for finding in findings],
        **report.to_json(),
    }
    lines = [
        f"{pool}: {file.format}, {file.rows} rows, {file.rows_used} used, {len(file.rejects)} rejected",
        f"{len(file.pool.prompts)} prompts, {file.pool.n_responses} responses, {file.pool.n_pairs} pairs",
        *file.notes,
        *(f"{finding.severity}: {finding.sentence} {finding.remedy}" for finding in findings),
        *(f"line {r.line}: {r.reason}" for r in file.rejects[:20]),
    ]
    emit(result, as_json, lines)
    if file.rejects:
        say(f"{len(file.rejects)} of {file.rows} rows cannot be used" + (f"; saved to {rejects}" if rejects else ""))
        raise typer.Exit(1)


def features(
    pool: PoolArg,
    out: Annotated[Path, typer.Option(help="Features file to write (Parquet)."), Writes(FEATURES)],
    model: Annotated[str, typer.Option(help="Hub name, folder, or `fit`: a small model fitted on the pool's text.")],
    columns: MapOpt = None,
    layer: Annotated[int, typer.Option(help="Hidden layer; -1 is the last.")] = -1,
    pooling: Annotated[PoolingChoice, typer.Option(help="Token(s) that stand for the response.")] = PoolingChoice.mean,
    batch_tokens: Annotated[str, typer.Option(help="Tokens of one forward pass, or auto.")] = "auto",
    device: DeviceOpt = "auto",
    dtype: Annotated[ModelDtypeChoice, typer.Option(help="Of the model; auto: float32 on a CPU, half on a GPU.")] = (
        ModelDtypeChoice.auto
    ),
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run the model's own code; its name must also be in the environment."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of `--model fit`.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Represent every response by the reference model's hidden state, with its log-probability."""
    from curation.pool.readers.read import parse_mapping
    from curation.run.prepare import load_pool, make_features

    if batch_tokens != "auto" and not batch_tokens.isdigit():
        raise typer.BadParameter(f"{batch_tokens!r} is neither auto nor a number", param_hint="--batch-tokens")
    file = load_pool(pool, mapping=parse_mapping(columns or ()))
    result = make_features(
        file.pool,
        out,
        model=model,
        layer=layer,
        pooling=pooling.value,
        batch_tokens="auto" if batch_tokens == "auto" else int(batch_tokens),
        device=device,
        model_dtype=dtype.value,
        trust_remote_code=trust_remote_code,
        seed=seed,
        resume=resume,
        force=force,
        progress=progress_line(),
        fit_progress=progress_line("training steps"),
    )
    say("")
    lines = [f"{out}: {result['responses']} responses, {result['dim']} features", *result["notes"]]
    emit(result, as_json, lines)
