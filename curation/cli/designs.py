"""Commands that design a batch: solve, compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from curation.cli.asked import Asked, takes_settings, whole_budget
from curation.cli.kinds import BATCH
from curation.cli.options import (
    ExcludeOpt,
    FeaturesOpt,
    ForceOpt,
    JsonOpt,
    LearnOpt,
    MapOpt,
    OverlapOpt,
    PilotOpt,
    PinOpt,
    PoolArg,
    PreviousOpt,
    SkipOpt,
)
from curation.cli.output import emit, say, solve_lines
from curation.cli.writes import Writes
from curation.settings import preparing


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(solve)
    app.command()(compare)


def _run(
    pool: Path,
    features_file: Path,
    asked: Asked,
    *,
    overlap: float,
    exclude: Path | None,
    pin: Path | None,
    previous: list[Path] | None,
    skip_rejects: bool,
    columns: list[str] | None = None,
    learn: bool = True,
    pilot_of: float | None = None,
) -> tuple[Any, Any, Any]:
    """Solve as asked. Returns the solved design, the pins and the exclusions."""
    import time

    from curation.pool.pair_lists import read_pair_list
    from curation.pool.readers.read import parse_mapping
    from curation.run.prepare import load_pool, prepare
    from curation.run.solve import solve as solve_design

    started, settings = time.perf_counter(), asked.design
    file = load_pool(pool, skip_rejects=skip_rejects, mapping=parse_mapping(columns or ()))
    pinned = read_pair_list(pin, file.pool) if pin else []
    excluded = read_pair_list(exclude, file.pool) if exclude else []
    read = time.perf_counter() - started
    table: Any = features_file
    earlier = None
    if previous:
        from curation.representation.features_file import read_features
        from curation.review.earlier import earlier_batches

        table = read_features(features_file, file.pool.ids(), pool_fingerprint=file.pool.fingerprint)
        earlier = earlier_batches(previous, file.pool, space=asked.space, features_metadata=table.metadata)
    prepared = prepare(
        file.pool, table, space=asked.space, device=settings.device, fitted=earlier.space if earlier else None,
        **preparing(settings),
    )  # fmt: skip
    if earlier is not None and learn:
        from curation.run.taught import learn_from

        earlier = learn_from(earlier, prepared, settings, keep=asked.by_name)
    solved = solve_design(
        prepared, settings, overlap=overlap, pinned=pinned, excluded=excluded, earlier=earlier, pilot_of=pilot_of
    )
    solved.seconds["read"] += read
    return solved, pinned, excluded


@takes_settings(last="skip_rejects")
def solve(
    pool: PoolArg,
    features_file: FeaturesOpt,
    asked: Asked,
    out: Annotated[Path, typer.Option(help="Batch folder to write."), Writes(BATCH)],
    overlap: OverlapOpt = 0.0,
    exclude: ExcludeOpt = None,
    pin: PinOpt = None,
    previous: PreviousOpt = None,
    learn: LearnOpt = True,
    pilot: PilotOpt = None,
    skip_rejects: SkipOpt = False,
    guidelines: Annotated[Path | None, typer.Option(help="Markdown file: what annotators are told.")] = None,
    columns: MapOpt = None,
    who: Annotated[str | None, typer.Option("--as", help="Whose design this is: they may not sign it.")] = None,
    force: ForceOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Choose the pairs to label and write the batch folder."""
    import time

    from curation.batch.folder import batch_stamp
    from curation.batch.guidelines import read_guidelines
    from curation.batch.records import save_batch
    from curation.review.store.names import person_name
    from curation.run.report import report
    from curation.system.outputs import real_place

    author = None if who is None else person_name(who)
    rules = None if guidelines is None else read_guidelines(guidelines)
    before = batch_stamp(real_place(out))
    whole = float(asked.design.budget)
    if pilot:
        first = whole_budget(pilot, asked.design.cost)
        asked = replace(asked, design=replace(asked.design, budget=first))
    solved, pinned, excluded = _run(
        pool,
        features_file,
        asked,
        overlap=overlap,
        exclude=exclude,
        pin=pin,
        previous=previous,
        skip_rejects=skip_rejects,
        columns=columns,
        learn=learn,
        pilot_of=None if pilot is None else whole,
    )
    started = time.perf_counter()
    save_batch(
        solved, out, pinned=pinned, excluded=excluded, force=force, author=author, replaces=before,
        guidelines=rules,
    )  # fmt: skip
    solved.seconds["write"] = time.perf_counter() - started
    told = report(solved)
    emit({**told.to_dict(), "out": str(out)}, as_json, solve_lines(told, solved.attained, str(out)))
    if solved.design.stopped != "certificate":
        say(f"the solver stopped on {solved.design.stopped}, not on its certificate (gap {told.gap:.2g})")


@takes_settings(last="skip_rejects")
def compare(
    pool: PoolArg,
    features_file: FeaturesOpt,
    asked: Asked,
    overlap: OverlapOpt = 0.0,
    exclude: ExcludeOpt = None,
    pin: PinOpt = None,
    previous: PreviousOpt = None,
    learn: LearnOpt = True,
    skip_rejects: SkipOpt = False,
    columns: MapOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Design and baselines side by side, in the criterion; writes nothing."""
    from curation.backtest.worth import worth
    from curation.run.report import report

    solved, _, _ = _run(
        pool,
        features_file,
        asked,
        overlap=overlap,
        exclude=exclude,
        pin=pin,
        previous=previous,
        skip_rejects=skip_rejects,
        columns=columns,
        learn=learn,
    )
    found = worth(solved)
    worth_of, beside = found.sentences()
    told = report(solved)
    result = {
        **told.to_dict(),
        "uniform_labels": found.equivalent.labels,
        "uniform_sentence": worth_of,
        "outcome_sentence": beside,
    }
    emit(result, as_json, [*solve_lines(told, solved.attained), worth_of, beside])
