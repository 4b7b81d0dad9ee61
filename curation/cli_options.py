"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

PoolArg = Annotated[Path, typer.Argument(help="Pool: JSON Lines (.gz, .zst), Parquet or CSV.", show_default=False)]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
FeaturesOpt = Annotated[Path, typer.Option("--features", help="Features file of this pool (Parquet).")]
BudgetOpt = Annotated[int, typer.Option("--budget", help="Labels to buy.")]
RidgeOpt = Annotated[float, typer.Option(help="Prior information per direction.")]
DimOpt = Annotated[int, typer.Option(help="PCA dimensions; the length coordinate comes on top.")]
NormalizeOpt = Annotated[bool, typer.Option("--normalize/--no-normalize", help="L2-normalise each hidden state.")]
LengthOpt = Annotated[bool, typer.Option("--length/--no-length", help="Add the length coordinate.")]
PerPairOpt = Annotated[str, typer.Option("--max-labels-per-pair", help="1, a whole number, or inf.")]
OverlapOpt = Annotated[float, typer.Option(help="Share of the labels that repeat a pair, for agreement.")]
ExcludeOpt = Annotated[Path | None, typer.Option(help="CSV of pairs, responses or prompts to leave out.")]
PinOpt = Annotated[Path | None, typer.Option(help="CSV of pairs that must be in the batch.")]
TolOpt = Annotated[float, typer.Option(help="Stop when gap and open are at most this.")]
SkipOpt = Annotated[bool, typer.Option("--skip-rejects", help="Go on without the rows that cannot be used.")]
ForceOpt = Annotated[bool, typer.Option("--force", help="Replace an unsigned batch or file that exists.")]
LaterOpt = typer.Option(hidden=True)


class RidgeKindChoice(StrEnum):
    relative = "relative"
    absolute = "absolute"


class PcaChoice(StrEnum):
    within = "within"
    raw = "raw"


class FisherChoice(StrEnum):
    auto = "auto"
    reference = "reference"
    empirical = "empirical"
    uniform = "uniform"


class SpreadChoice(StrEnum):
    auto = "auto"
    balanced = "balanced"
    capped = "capped"
    free = "free"


class SolverChoice(StrEnum):
    newton = "newton"
    frank_wolfe = "frank-wolfe"


class SelectChoice(StrEnum):
    sample = "sample"
    exact = "exact"
    paper = "paper"


class PoolingChoice(StrEnum):
    last = "last"
    mean = "mean"


class ExportChoice(StrEnum):
    label_studio = "label-studio"
    argilla = "argilla"
    csv = "csv"
    parquet = "parquet"
    jsonl = "jsonl"


class OrderChoice(StrEnum):
    random = "random"
    both = "both"
    fixed = "fixed"


RidgeKindOpt = Annotated[RidgeKindChoice, typer.Option(help="Unit of the ridge.")]
PcaOpt = Annotated[PcaChoice, typer.Option(help="What the PCA is fitted on.")]
FisherOpt = Annotated[FisherChoice, typer.Option(help="Policy of the Fisher matrix.")]
SpreadOpt = Annotated[SpreadChoice, typer.Option(help="How labels spread over prompts.")]
SolverOpt = Annotated[SolverChoice, typer.Option(help="frank-wolfe is the published yardstick.")]
SeedOpt = Annotated[int, typer.Option(help="Seed of the draw.")]
DeviceOpt = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
LaterNumber = Annotated[int | None, LaterOpt]
LaterText = Annotated[str | None, LaterOpt]
LaterTexts = Annotated[list[str] | None, LaterOpt]
LaterPaths = Annotated[list[Path] | None, LaterOpt]
