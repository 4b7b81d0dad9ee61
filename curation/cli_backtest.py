"""The backtest on the command line."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from curation.cli_options import (
    DimOpt,
    FeaturesOpt,
    FisherChoice,
    FisherOpt,
    JsonOpt,
    LengthOpt,
    NormalizeOpt,
    PcaChoice,
    PcaOpt,
    PerPairOpt,
    PerPromptOpt,
    PerTokenOpt,
    PoolArg,
    RidgeKindChoice,
    RidgeKindOpt,
    RidgeOpt,
    SelectChoice,
    SelectOpt,
    ShareOpt,
    SpreadChoice,
    SpreadOpt,
    TemperatureOpt,
    design_settings,
)
from curation.cli_output import emit, progress_line, say
from curation.settings import SpaceSettings


class RewardChoice(StrEnum):
    auto = "auto"
    logit = "logit"
    raw = "raw"


class SourceChoice(StrEnum):
    auto = "auto"
    quality = "quality"
    labels = "labels"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(backtest)


def backtest(
    pool: PoolArg,
    features_file: FeaturesOpt,
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
    ridge: RidgeOpt = 30.0,
    ridge_kind: RidgeKindOpt = RidgeKindChoice.relative,
    dim: DimOpt = 64,
    normalize: NormalizeOpt = True,
    pca: PcaOpt = PcaChoice.within,
    length: LengthOpt = True,
    fisher: FisherOpt = FisherChoice.auto,
    temperature: TemperatureOpt = 1.0,
    per_token: PerTokenOpt = True,
    spread: SpreadOpt = SpreadChoice.auto,
    per_prompt: PerPromptOpt = None,
    max_labels_per_pair: PerPairOpt = "1",
    generator_share: ShareOpt = None,
    select: SelectOpt = SelectChoice.sample,
    seed: Annotated[int, typer.Option(help="Seed of splits, draws and labels.")] = 0,
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
    out: Annotated[Path | None, typer.Option(help="Folder of the result; default: where the dashboard looks.")] = None,
    as_json: JsonOpt = False,
) -> None:
    """Does choosing pairs pay here? Test the design against simple rules where outcomes are known."""
    from curation.backtest import Options, place, run_backtest, write
    from curation.backtest_search import run_search, run_study
    from curation.pipeline import load_pool

    settings = design_settings(
        budget=1.0, ridge=ridge, ridge_kind=ridge_kind, fisher=fisher, temperature=temperature, per_token=per_token,
        spread=spread, per_prompt=per_prompt, max_labels_per_pair=max_labels_per_pair, quota=None,
        generator_share=generator_share, cost=None, select=select, tol=1e-3,
    )  # fmt: skip
    options = Options(
        space=SpaceSettings(dim=dim, normalize=normalize, pca=pca.value, length=length),
        design=settings,
        budgets=_budgets(budgets),
        seeds=seeds,
        reward=reward.value,
        label_temperature=label_temperature,
        kl=kl,
        source=source.value,
        seed=seed,
    )
    opened = load_pool(pool)
    count = _workers(workers)
    shown = progress_line("splits")
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
    lines = [f"{'':<20}" + "".join(f"{f'{n:,} labels':>16}" for n in report.budgets) + f"{'against uniform':>30}"]
    for curve in report.curves:
        cells = [f"{i.value:+.3f} ± {e:.3f}" for i, e in zip(curve.reward, curve.reward_error, strict=True)]
        beside = "" if curve.rule == "uniform" else report.difference(curve.rule, "uniform").interval.text()
        lines.append(f"{curve.rule:<20}" + "".join(f"{cell:>16}" for cell in cells) + f"{beside:>30}")
    lines += [
        f"Reward over the reference's at {report.kl:.2f} nats, in {report.unit}; {report.seeds} splits of "
        f"{report.prompts:,} prompts, ± standard errors over splits.",
        report.verdict,
        *([result.misled.sentence()] if result.misled else []),
        *result.notes,
        f"written to {path} in {result.seconds:.0f} s",
    ]
    emit(
        {**report.to_dict(), "notes": list(result.notes), "seconds": result.seconds, "out": str(path),
         "misled": result.misled.to_dict() if result.misled else None},
        as_json,
        lines,
    )  # fmt: skip


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
