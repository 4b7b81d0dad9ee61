"""Commands that design a batch: solve, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from curation.cli.kinds import BATCH
from curation.cli.options import (
    BudgetOpt,
    CostOpt,
    DeviceOpt,
    DimOpt,
    ExcludeOpt,
    FeaturesOpt,
    FisherChoice,
    FisherOpt,
    ForceOpt,
    JsonOpt,
    LearnOpt,
    LengthDifferenceOpt,
    LengthOpt,
    MapOpt,
    NormalizeOpt,
    OverlapOpt,
    PcaChoice,
    PcaOpt,
    PerPairOpt,
    PerPromptOpt,
    PerTokenOpt,
    PilotOpt,
    PinOpt,
    PoolArg,
    PowerOpt,
    PresetChoice,
    PresetOpt,
    PreviousOpt,
    QuotaOpt,
    RidgeKindChoice,
    RidgeKindOpt,
    RidgeOpt,
    SeedOpt,
    SelectChoice,
    SelectOpt,
    ShareOpt,
    SkipOpt,
    SolverChoice,
    SolverOpt,
    SpreadChoice,
    SpreadOpt,
    TemperatureOpt,
    TolOpt,
    asked_by_name,
    design_settings,
)
from curation.cli.output import emit, say, solve_lines
from curation.cli.writes import Writes
from curation.settings import DEFAULT_DESIGN, DEFAULT_SPACE, DesignSettings, SpaceSettings

KEPT = ("ridge", "ridge_kind", "prior_power", "preset", "max_length_difference")  # asked for by name, they stand


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(solve)
    app.command()(compare)


def _run(
    pool: Path,
    features_file: Path,
    space: SpaceSettings,
    settings: DesignSettings,
    *,
    overlap: float,
    exclude: Path | None,
    pin: Path | None,
    previous: list[Path] | None,
    skip_rejects: bool,
    columns: list[str] | None = None,
    learn: bool = True,
    keep: tuple[str, ...] = (),
    pilot_of: float | None = None,
) -> tuple[Any, Any, Any]:
    """Solve as asked. Returns the solved design, the pins and the exclusions. keep: settings that labels leave."""
    import time

    from curation.pool.pair_lists import read_pair_list
    from curation.pool.readers.read import parse_mapping
    from curation.run.prepare import load_pool, prepare
    from curation.run.solve import solve as solve_design

    started = time.perf_counter()
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
        earlier = earlier_batches(previous, file.pool, space=space, features_metadata=table.metadata)
    prepared = prepare(
        file.pool, table, space=space, fisher=settings.fisher, temperature=settings.temperature,
        per_token=settings.per_token, device=settings.device, fitted=earlier.space if earlier else None,
    )  # fmt: skip
    if earlier is not None and learn:
        from curation.run.taught import learn_from

        earlier = learn_from(earlier, prepared, settings, keep=keep)
    solved = solve_design(
        prepared, settings, overlap=overlap, pinned=pinned, excluded=excluded, earlier=earlier, pilot_of=pilot_of
    )
    solved.seconds["read"] += read
    return solved, pinned, excluded


def solve(
    context: typer.Context,
    pool: PoolArg,
    features_file: FeaturesOpt,
    budget: BudgetOpt,
    out: Annotated[Path, typer.Option(help="Batch folder to write."), Writes(BATCH)],
    preset: PresetOpt = PresetChoice.default,
    ridge: RidgeOpt = DEFAULT_DESIGN.ridge,
    ridge_kind: RidgeKindOpt = RidgeKindChoice(DEFAULT_DESIGN.ridge_kind),
    prior_power: PowerOpt = DEFAULT_DESIGN.prior_power,
    dim: DimOpt = DEFAULT_SPACE.dim,
    normalize: NormalizeOpt = DEFAULT_SPACE.normalize,
    pca: PcaOpt = PcaChoice(DEFAULT_SPACE.pca),
    length: LengthOpt = DEFAULT_SPACE.length,
    fisher: FisherOpt = FisherChoice(DEFAULT_DESIGN.fisher),
    temperature: TemperatureOpt = DEFAULT_DESIGN.temperature,
    per_token: PerTokenOpt = DEFAULT_DESIGN.per_token,
    spread: SpreadOpt = SpreadChoice(DEFAULT_DESIGN.spread),
    per_prompt: PerPromptOpt = DEFAULT_DESIGN.per_prompt,
    max_labels_per_pair: PerPairOpt = f"{DEFAULT_DESIGN.max_labels_per_pair:g}",
    quota: QuotaOpt = None,
    generator_share: ShareOpt = DEFAULT_DESIGN.generator_share,
    max_length_difference: LengthDifferenceOpt = DEFAULT_DESIGN.max_length_difference,
    cost: CostOpt = DEFAULT_DESIGN.cost,
    overlap: OverlapOpt = 0.0,
    exclude: ExcludeOpt = None,
    pin: PinOpt = None,
    previous: PreviousOpt = None,
    learn: LearnOpt = True,
    pilot: PilotOpt = None,
    solver: SolverOpt = SolverChoice(DEFAULT_DESIGN.solver),
    tol: TolOpt = DEFAULT_DESIGN.tol,
    select: SelectOpt = SelectChoice(DEFAULT_DESIGN.select),
    seed: SeedOpt = DEFAULT_DESIGN.seed,
    device: DeviceOpt = "auto",
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
    settings = design_settings(
        budget=pilot or budget, ridge=ridge, ridge_kind=ridge_kind, prior_power=prior_power,
        fisher=fisher, temperature=temperature,
        per_token=per_token, spread=spread, per_prompt=per_prompt,
        max_labels_per_pair=max_labels_per_pair, quota=quota, generator_share=generator_share,
        max_length_difference=max_length_difference, cost=cost,
        solver=solver, tol=tol, select=select, seed=seed, device=device,
    )  # fmt: skip
    space = SpaceSettings(dim=dim, normalize=normalize, pca=pca.value, length=length)
    solved, pinned, excluded = _run(
        pool,
        features_file,
        space,
        settings,
        overlap=overlap,
        exclude=exclude,
        pin=pin,
        previous=previous,
        skip_rejects=skip_rejects,
        columns=columns,
        learn=learn,
        keep=asked_by_name(context, KEPT),
        pilot_of=None if pilot is None else budget,
    )
    started = time.perf_counter()
    save_batch(
        solved, out, pinned=pinned, excluded=excluded, force=force, author=author, replaces=before,
        guidelines=rules,
    )  # fmt: skip
    solved.seconds["write"] = time.perf_counter() - started
    told = report(solved)
    emit({**told.to_dict(), "out": str(out)}, as_json, solve_lines(told, str(out)))
    if solved.design.stopped != "certificate":
        say(f"the solver stopped on {solved.design.stopped}, not on its certificate (gap {told.gap:.2g})")


def compare(
    context: typer.Context,
    pool: PoolArg,
    features_file: FeaturesOpt,
    budget: BudgetOpt,
    preset: PresetOpt = PresetChoice.default,
    ridge: RidgeOpt = DEFAULT_DESIGN.ridge,
    ridge_kind: RidgeKindOpt = RidgeKindChoice(DEFAULT_DESIGN.ridge_kind),
    prior_power: PowerOpt = DEFAULT_DESIGN.prior_power,
    dim: DimOpt = DEFAULT_SPACE.dim,
    normalize: NormalizeOpt = DEFAULT_SPACE.normalize,
    pca: PcaOpt = PcaChoice(DEFAULT_SPACE.pca),
    length: LengthOpt = DEFAULT_SPACE.length,
    fisher: FisherOpt = FisherChoice(DEFAULT_DESIGN.fisher),
    temperature: TemperatureOpt = DEFAULT_DESIGN.temperature,
    per_token: PerTokenOpt = DEFAULT_DESIGN.per_token,
    spread: SpreadOpt = SpreadChoice(DEFAULT_DESIGN.spread),
    per_prompt: PerPromptOpt = DEFAULT_DESIGN.per_prompt,
    max_labels_per_pair: PerPairOpt = f"{DEFAULT_DESIGN.max_labels_per_pair:g}",
    quota: QuotaOpt = None,
    generator_share: ShareOpt = DEFAULT_DESIGN.generator_share,
    max_length_difference: LengthDifferenceOpt = DEFAULT_DESIGN.max_length_difference,
    cost: CostOpt = DEFAULT_DESIGN.cost,
    overlap: OverlapOpt = 0.0,
    exclude: ExcludeOpt = None,
    pin: PinOpt = None,
    previous: PreviousOpt = None,
    learn: LearnOpt = True,
    solver: SolverOpt = SolverChoice(DEFAULT_DESIGN.solver),
    tol: TolOpt = DEFAULT_DESIGN.tol,
    select: SelectOpt = SelectChoice(DEFAULT_DESIGN.select),
    seed: SeedOpt = DEFAULT_DESIGN.seed,
    device: DeviceOpt = "auto",
    skip_rejects: SkipOpt = False,
    columns: MapOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Design and baselines side by side, in the criterion; writes nothing."""
    from curation.backtest.worth import worth
    from curation.run.report import report

    settings = design_settings(
        budget=budget, ridge=ridge, ridge_kind=ridge_kind, prior_power=prior_power,
        fisher=fisher, temperature=temperature,
        per_token=per_token, spread=spread, per_prompt=per_prompt,
        max_labels_per_pair=max_labels_per_pair, quota=quota, generator_share=generator_share,
        max_length_difference=max_length_difference, cost=cost,
        solver=solver, tol=tol, select=select, seed=seed, device=device,
    )  # fmt: skip
    space = SpaceSettings(dim=dim, normalize=normalize, pca=pca.value, length=length)
    solved, _, _ = _run(
        pool,
        features_file,
        space,
        settings,
        overlap=overlap,
        exclude=exclude,
        pin=pin,
        previous=previous,
        skip_rejects=skip_rejects,
        columns=columns,
        learn=learn,
        keep=asked_by_name(context, KEPT),
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
    emit(result, as_json, [*solve_lines(told), worth_of, beside])
