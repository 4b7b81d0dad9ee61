"""The command line: the headless twin of the dashboard. `python -m curation COMMAND --help`.

Every command but `dashboard` takes `--json`: one object on stdout, everything else on stderr. Exit status: 0 done,
1 failed, 2 usage.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from curation.cli import backtest as cli_backtest
from curation.cli import batches as cli_labels
from curation.cli import dashboard as cli_dashboard
from curation.cli import policy as cli_policy
from curation.cli import rate as cli_rate
from curation.cli import settle as cli_settle
from curation.cli import synthetic as cli_synthetic
from curation.cli.kinds import BATCH, BENCH, FEATURES, PAIRS, REJECTS
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
    ModelDtypeChoice,
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
    PoolingChoice,
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
from curation.cli.output import emit, progress_line, say, solve_lines
from curation.cli.writes import Commands, Writes
from curation.errors import CurationError
from curation.settings import DEFAULT_DESIGN, DEFAULT_SPACE, PRESETS, DesignSettings, SpaceSettings
from curation.system.bug_log import errors_log, sentence
from curation.system.files import out_of_memory

KEPT = ("ridge", "ridge_kind", "prior_power", "preset", "max_length_difference")  # asked for by name, they stand
INTERRUPTED = 130  # what typer makes of an interrupt at the keyboard
app = Commands(
    name="curation",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which LLM response pairs deserve a human preference label.",
)


@app.command()
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
    preset: PresetOpt = PresetChoice.default,
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
    from curation.run.solve import load_pool

    file = load_pool(pool, mapping=parse_mapping(columns or ()))
    if rejects is not None:
        write_rejects(file.rejects, rejects, force=force)
    report = pool_report(file.pool)
    findings = text_findings(file.pool, report)
    if features_file is not None:
        from curation.health.checkup import design_health

        asked = PRESETS[preset.value]
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


@app.command()
def features(
    pool: PoolArg,
    out: Annotated[Path, typer.Option(help="Features file to write (Parquet)."), Writes(FEATURES)],
    model: Annotated[str, typer.Option(help="Hub name, folder, or `fit`: a small model fitted on the pool's text.")],
    columns: MapOpt = None,
    layer: Annotated[int, typer.Option(help="Hidden layer; -1 is the last.")] = -1,
    pooling: Annotated[PoolingChoice, typer.Option(help="Token(s) that stand for the response.")] = PoolingChoice.last,
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
    from curation.run.solve import load_pool, make_features

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
    from curation.run.solve import load_pool, prepare
    from curation.run.solve import solve as solve_design

    started = time.perf_counter()
    file = load_pool(pool, skip_rejects=skip_rejects, mapping=parse_mapping(columns or ()))
    pinned = read_pair_list(pin, file.pool) if pin else []
    excluded = read_pair_list(exclude, file.pool) if exclude else []
    read = time.perf_counter() - started
    table: Any = features_file
    earlier = None
    if previous:
        from curation.exchange.receive import earlier_batches
        from curation.representation.features_file import read_features

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


@app.command()
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
    from curation.run.solve import summary
    from curation.system.outputs import real_place

    author = None if who is None else person_name(who)
    told = None if guidelines is None else read_guidelines(guidelines)
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
        guidelines=told,
    )  # fmt: skip
    solved.seconds["write"] = time.perf_counter() - started
    result = {**summary(solved), "out": str(out)}
    emit(result, as_json, solve_lines(result))
    if solved.design.stopped != "certificate":
        say(f"the solver stopped on {solved.design.stopped}, not on its certificate (gap {result['gap']:.2g})")


@app.command()
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
    from curation.run.solve import summary

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
    told, beside = found.sentences()
    result = {
        **summary(solved),
        "uniform_labels": found.equivalent.labels,
        "uniform_sentence": told,
        "outcome_sentence": beside,
    }
    emit(result, as_json, [*solve_lines(result), told, beside])


@app.command()
def bench(
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each row; the median is shown.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Folder for bench.json, bench.md and gap.html."), Writes(BENCH)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny shapes: only to see that it works.")] = False,
    device: DeviceOpt = "cpu",
    as_json: JsonOpt = False,
) -> None:
    """Time the solver and its rivals on stated generators; prints the tables of docs/performance.md (five minutes)."""
    from curation.bench.solvers import run, table, write
    from curation.device import resolve_device

    result = run(repeats=repeats, quick=quick, device=resolve_device(device), say=say)
    if out is not None:
        write(result, out)
    emit(result, as_json, table(result))


experiment = Commands(no_args_is_help=True, help="Synthetic and policy experiments.")
app.add_typer(experiment, name="experiment")
cli_labels.register(app)
cli_settle.register(app)
cli_rate.register(app)
cli_backtest.register(app)
cli_dashboard.register(app)
cli_synthetic.register(experiment)
cli_policy.register(experiment)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; every failure becomes words. Returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    try:
        status = app(args=given, standalone_mode=False)
    except CurationError as error:
        return _fail(str(error), given)
    except MemoryError:
        return _fail(out_of_memory(), given)
    except OSError as error:
        return _fail(f"{type(error).__name__}: {error}", given)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Exception as error:  # the boundary: a bug is logged whole and told in one sentence
        return _usage_or_bug(error, given)
    if status == INTERRUPTED:
        return _fail(f"stopped; {kept_after(given)}.", given)
    return status if isinstance(status, int) else 0


KEPT_PARTS = "what was finished is kept; run it again to go on"
IN_THE_STORE = "what was recorded before that is in the store whole or not at all; look, then do it again"
STOPPED = {
    "features": "finished parts are kept; go on with --resume",
    "experiment imdb": KEPT_PARTS,
    "experiment hh": KEPT_PARTS,
    "backtest --suite": KEPT_PARTS,
    "rate": "nothing was recorded; what the judge answered is kept, run it again to go on",
    "topup": f"the new batch may be in the workspace already; {IN_THE_STORE}",
    **dict.fromkeys(("decide", "import-labels", "sign", "people", "settle"), IN_THE_STORE),
    "export": "the files are there whole or not at all, and may be although the export is not recorded; do it again",
    **dict.fromkeys(("solve", "check"), "a file or folder that was not finished is not there; one that was is whole"),
    **dict.fromkeys(("compare", "verify", "labels"), "it writes nothing"),
    "dashboard": "what was decided there is kept",
    **dict.fromkeys(
        ("bench", "backtest", "experiment tabular", "experiment contextual"),
        "a result that was not finished is not there, and one of an earlier run stays",
    ),
}


def kept_after(given: list[str]) -> str:
    """What is left of a command, given as its words, that was interrupted."""
    words = [word for word in given if not word.startswith("-")]
    name = " ".join(words[:2]) if words[:1] == ["experiment"] else " ".join(words[:1])
    if name == "backtest" and any(word.split("=")[0] == "--suite" for word in given):
        name = "backtest --suite" if any(word.split("=")[0] == "--out" for word in given) else name
    return STOPPED.get(name, "nothing was begun")


def _usage_or_bug(error: Exception, given: list[str]) -> int:
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's usage errors
        error.show(file=sys.stderr)
        return int(error.exit_code)
    sentence(error, doing=f"command {given}")
    return _fail(f"unexpected {type(error).__name__}: {error}; the details are in {errors_log()}.", given)


def _fail(message: str, given: list[str]) -> int:
    say(f"error: {message}")
    if "--json" in given:
        print(json.dumps({"error": message}, ensure_ascii=False))
    return 1
