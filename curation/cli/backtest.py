"""The backtest on the command line."""

from __future__ import annotations

from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curation.cli.asked import NOTHING, Asked, takes_settings
from curation.cli.kinds import BACKTEST
from curation.cli.options import JsonOpt, MapOpt
from curation.cli.output import emit, progress_line, say
from curation.cli.writes import Writes

if TYPE_CHECKING:
    from curation.backtest.report import Report
    from curation.backtest.run import Options


class RewardChoice(StrEnum):
    auto = "auto"
    logit = "logit"
    raw = "raw"


class SourceChoice(StrEnum):
    auto = "auto"
    quality = "quality"
    labels = "labels"


class AnswersChoice(StrEnum):
    binary = "binary"
    graded = "graded"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(backtest)


@takes_settings(last="seed", backtest=True)
def backtest(
    pool: Annotated[
        Path | None, typer.Argument(help="Pool: JSON Lines (.gz, .zst), Parquet or CSV.", show_default=False)
    ] = None,
    features_file: Annotated[
        Path | None, typer.Option("--features", help="Features file of this pool (Parquet).", show_default=False)
    ] = None,
    suite: Annotated[
        Path | None,
        typer.Option(
            help="In place of a pool: a folder of pools with features files beside them (NAME.features.parquet, else "
            "NAME.*.parquet). Every rule on every pool, on both outcomes; with --study many settings too."
        ),
    ] = None,
    suite_features: Annotated[
        Path | None, typer.Option("--suite-features", help="Folder of further features files for --suite.")
    ] = None,
    budgets: Annotated[str, typer.Option(help="Labels per batch, as 50,100,200; default by the pool's size.")] = "",
    seeds: Annotated[int, typer.Option(help="Splits of the prompts, each with its own draws.")] = 24,
    workers: Annotated[str, typer.Option(help="Processes; auto is one a core. Results do not depend on it.")] = "auto",
    reward: Annotated[RewardChoice, typer.Option(help="auto: the logit of quality that lies in [0, 1].")] = (
        RewardChoice.auto
    ),
    source: Annotated[SourceChoice, typer.Option(help="Outcomes to trust; auto: quality, else labels.")] = (
        SourceChoice.auto
    ),
    label_temperature: Annotated[
        float | None, typer.Option(help="Of the Bradley-Terry draws; default 1 for logits, else the median difference.")
    ] = None,
    kl: Annotated[float | None, typer.Option(help="Nats at which policies are compared.")] = None,
    batch: Annotated[
        list[Path] | None, typer.Option("--batch", help="Batch folder whose imported labels are the outcomes.")
    ] = None,
    asked: Asked = NOTHING,
    seed: Annotated[int, typer.Option(help="Seed of splits, draws and labels.")] = 0,
    nuisance: Annotated[
        list[str] | None,
        typer.Option(
            help="Column whose liking by the judge is taken out of the outcomes for the second report: length "
            "(default), markdown, or a number in the responses' meta; repeat it."
        ),
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="Try representations on half the prompts, test the best on the rest.")
    ] = False,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            "--also-features", help="Further features file (another layer, another model) to search or study."
        ),
    ] = None,
    study: Annotated[
        bool, typer.Option("--study", help="Every design setting beside the default, as a table.")
    ] = False,
    answers: Annotated[
        AnswersChoice, typer.Option(help="graded: test answers with strength against binary ones on the same pairs.")
    ] = AnswersChoice.binary,
    agreement: Annotated[
        str,
        typer.Option(
            help="With --answers graded: share of random pairs on which two annotators agree, as 0.64, or several; "
            "given: --label-temperature."
        ),
    ] = "",
    jitter: Annotated[
        float, typer.Option(help="With --answers graded: how far annotators' thresholds differ (log scale).")
    ] = 0.0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result; default: where the dashboard looks."), Writes(BACKTEST)
    ] = None,
    columns: MapOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Does choosing pairs pay here? Test the design against simple rules where outcomes are known."""
    from curation.backtest.run import Options, place, run_backtest, write
    from curation.backtest.search import run_search, run_study
    from curation.pool.readers.read import parse_mapping
    from curation.run.prepare import load_pool

    options = Options(
        space=asked.space,
        design=replace(asked.design, tol=1e-3),
        budgets=_budgets(budgets),
        seeds=seeds,
        reward=reward.value,
        label_temperature=label_temperature,
        kl=kl,
        source=source.value,
        seed=seed,
        nuisance=tuple(nuisance or ["length"]),
    )
    count = _workers(workers)
    if suite is not None:
        if pool is not None or features_file is not None:
            raise typer.BadParameter("a suite takes its pools and features from its folder", param_hint="--suite")
        _suite(suite, options, suite_features, study, count, out, as_json)
        return
    if pool is None or features_file is None:
        raise typer.BadParameter("give a pool and its --features, or --suite FOLDER", param_hint="POOL")
    opened = load_pool(pool, mapping=parse_mapping(columns or ()))
    shown = progress_line("splits")
    _check_answers(answers, agreement, jitter, others=bool(search or study or batch))
    if answers == AnswersChoice.graded:
        from curation.backtest.graded import run_graded, write_graded
        from curation.insight.graded import Answering

        tested = run_graded(
            opened, features_file, options, agreements=_agreements(agreement), answering=Answering(jitter=jitter),
            workers=count, progress=shown,
        )  # fmt: skip
        say("")
        path = write_graded(tested, out or place(opened.pool))
        ending = f"written to {path} in {tested.seconds:.0f} s"
        emit({**tested.to_dict(), "out": str(path)}, as_json, [*tested.lines(), ending])
        return
    if search or study:
        run = run_search if search else run_study
        found = run(opened, features_file, options, batches=batch or (), also=also or (), workers=count, progress=shown)
        say("")
        emit(found.to_dict(), as_json, found.lines())
        return
    result = run_backtest(opened, features_file, options, batches=batch or (), workers=count, progress=shown)
    say("")
    folder = out or place(opened.pool)
    path = write(result, folder)
    report = result.report
    lines = [
        *report_lines(report),
        *([f"With {' and '.join(nuisance or ['length'])} taken out:", *report_lines(result.without)]
          if result.without else []),
        *([result.explained.sentence()] if result.explained else []),
        result.verdict,
        *([result.misled.sentence()] if result.misled else []),
        *result.notes,
        f"written to {path} in {result.seconds:.0f} s",
    ]  # fmt: skip
    emit(
        {**report.to_dict(), "notes": list(result.notes), "seconds": result.seconds, "out": str(path),
         "misled": result.misled.to_dict() if result.misled else None,
         "without": result.without.to_dict() if result.without else None,
         "explained": asdict(result.explained) if result.explained else None,
         "verdict": result.verdict, "ahead": result.ahead},
        as_json,
        lines,
    )  # fmt: skip


def _suite(
    folder: Path,
    options: Options,
    features: Path | None,
    study: bool,
    workers: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run a suite and print its table; `--out` keeps it, and every finished pool, so that running again goes on."""
    import json

    from curation.backtest.suite import run_suite
    from curation.backtest.suite_report import suite_lines
    from curation.pool.files.storage import write_text

    found = run_suite(folder, options, features=features, study=study, workers=workers, told=say, keep=out)
    lines = [*suite_lines(found), *(f"{name}: {what}" for name, what in found.explained.items())]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_text(json.dumps(found.to_dict(), ensure_ascii=False, indent=1), out / "suite.json")
        write_text("\n".join(lines) + "\n", out / "suite.md")
    emit(found.to_dict(), as_json, [*lines, f"{found.seconds:.0f} s"])


def report_lines(report: Report) -> list[str]:
    """Reward of every rule at every budget, and its lead over uniform, as a table."""
    lines = [f"{'':<20}" + "".join(f"{f'{n:,} labels':>16}" for n in report.budgets) + f"{'against uniform':>30}"]
    for curve in report.curves:
        cells = [f"{i.value:+.3f} ± {e:.3f}" for i, e in zip(curve.reward, curve.reward_error, strict=True)]
        beside = "" if curve.rule == "uniform" else report.difference(curve.rule, "uniform").interval.text()
        lines.append(f"{curve.rule:<20}" + "".join(f"{cell:>16}" for cell in cells) + f"{beside:>30}")
    lines.append(
        f"Reward over the reference's at {report.kl:.2f} nats, in {report.unit}; {report.seeds} splits of "
        f"{report.prompts:,} prompts, ± standard errors over splits."
    )
    return lines


def _check_answers(answers: AnswersChoice, agreement: str, jitter: float, *, others: bool) -> None:
    if answers == AnswersChoice.binary and (agreement or jitter):
        raise typer.BadParameter("it is for graded answers; add --answers graded", param_hint="--agreement, --jitter")
    if answers == AnswersChoice.graded and others:
        raise typer.BadParameter(
            "graded answers are drawn from known quality; leave --search, --study and --batch out",
            param_hint="--answers",
        )


def _agreements(text: str) -> tuple[float | None, ...]:
    from curation.backtest.graded import AGREEMENT

    try:
        return tuple(None if part.strip() == "given" else float(part) for part in (text or str(AGREEMENT)).split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a share like 0.64, or a list", param_hint="--agreement") from None


def _budgets(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() for part in parts):
        raise typer.BadParameter(f"{text!r} is not a list like 50,100,200", param_hint="--budgets")
    return tuple(int(part) for part in parts)


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is neither auto nor a whole number above 0", param_hint="--workers")
    return int(text)
