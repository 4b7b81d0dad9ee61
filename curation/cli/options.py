"""Arguments and options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import EnumType, StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation.errors import DesignError
from curation.exchange.tools.base import TOOLS, label_formats
from curation.settings import PRESETS, DesignSettings, parse_quota

PoolArg = Annotated[
    Path, typer.Argument(help="Pool: JSON Lines, JSON, CSV (packed or not), Parquet or Excel.", show_default=False)
]
MapOpt = Annotated[
    list[str] | None,
    typer.Option("--map", help="Which column is what, as in prompt=question,response=answer.", show_default=False),
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
FeaturesOpt = Annotated[Path, typer.Option("--features", help="Features file of this pool (Parquet).")]
BudgetOpt = Annotated[float, typer.Option("--budget", help="Labels to buy; with --cost, in units of the cost.")]
RidgeOpt = Annotated[float, typer.Option(help="Prior information per direction.")]
PowerOpt = Annotated[
    float, typer.Option("--prior-power", help="a of the prior M^a: 0 all directions alike, 1 each as it matters.")
]
DimOpt = Annotated[int, typer.Option(help="PCA dimensions; the length coordinate comes on top.")]
NormalizeOpt = Annotated[bool, typer.Option("--normalize/--no-normalize", help="L2-normalise each hidden state.")]
LengthOpt = Annotated[bool, typer.Option("--length/--no-length", help="Add the length coordinate.")]
PerPromptOpt = Annotated[int | None, typer.Option("--per-prompt", help="Labels of one prompt, at most.")]
QuotaOpt = Annotated[
    list[str] | None, typer.Option("--quota", help="stratum=LO..HI, either end may be left out; repeatable.")
]
ShareOpt = Annotated[
    float | None, typer.Option("--generator-share", help="Share of the labels one generator takes part in, at most.")
]
LengthDifferenceOpt = Annotated[
    float | None,
    typer.Option(
        "--max-length-difference",
        help="Mean |log length difference| of the pairs, at most (0.69: one is twice as long). Drawn batches keep it "
        "in expectation, each to within a few labels; --select exact never exceeds it.",
    ),
]
CostOpt = Annotated[
    str | None, typer.Option("--cost", help="Field of meta with the cost of a label, or `characters` (thousands).")
]
PerPairOpt = Annotated[str, typer.Option("--max-labels-per-pair", help="1, a whole number, or inf.")]
OverlapOpt = Annotated[float, typer.Option(help="Share of the labels that repeat a pair, for agreement.")]
ExcludeOpt = Annotated[Path | None, typer.Option(help="CSV of pairs, responses or prompts to leave out.")]
PinOpt = Annotated[Path | None, typer.Option(help="CSV of pairs that must be in the batch.")]
TolOpt = Annotated[float, typer.Option(help="Stop when gap and open are at most this.")]
SkipOpt = Annotated[bool, typer.Option("--skip-rejects", help="Go on without the rows that cannot be used.")]
ForceOpt = Annotated[bool, typer.Option("--force", help="Replace an unsigned batch or file that exists.")]


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


class ModelDtypeChoice(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class PoolingChoice(StrEnum):
    last = "last"
    mean = "mean"


def choices(name: str, values: Callable[[], Iterable[str]]) -> Any:
    """A StrEnum of names of plugs, which are asked for when somebody looks at it: `--help` alone imports no plug."""

    @cache
    def made() -> Any:
        return StrEnum(name, {value.replace("-", "_"): value for value in values()})  # type: ignore[misc]

    class Late(EnumType):
        def __iter__(cls) -> Any:
            return iter(made())

    return Late(name, (StrEnum,), Late.__prepare__(name, (StrEnum,)))


TRAINING = "trl"  # what `--to` names beside the tools of annotators: training rows
if TYPE_CHECKING:
    ExportChoice = StrEnum
    LabelChoice = StrEnum
else:
    ExportChoice = choices("ExportChoice", lambda: [*TOOLS.names(), TRAINING])
    LabelChoice = choices("LabelChoice", label_formats)


class AnswersChoice(StrEnum):
    binary = "binary"
    graded = "graded"


class OrderChoice(StrEnum):
    random = "random"
    both = "both"
    fixed = "fixed"


class PresetChoice(StrEnum):
    default = "default"
    hgm = "hgm"
    before = "0.2.0"


def _preset(context: typer.Context, chosen: PresetChoice) -> PresetChoice:
    """Make the preset's values the defaults of this call; an option that is given still wins."""
    values = {
        name: f"{value:g}" if name == "max_labels_per_pair" else value
        for name, value in PRESETS[chosen.value].values.items()
    }
    context.default_map = {**(context.default_map or {}), **values}
    return chosen


PresetOpt = Annotated[
    PresetChoice,
    typer.Option(
        is_eager=True,
        callback=_preset,
        help="Ridge, spread, selection and space where not given: hgm is the paper, 0.2.0 the old default.",
    ),
]
RidgeKindOpt = Annotated[RidgeKindChoice, typer.Option(help="Unit of the ridge.")]
PcaOpt = Annotated[PcaChoice, typer.Option(help="What the PCA is fitted on.")]
FisherOpt = Annotated[FisherChoice, typer.Option(help="Policy of the Fisher matrix.")]
TemperatureOpt = Annotated[float, typer.Option(help="Of the empirical Fisher matrix's probabilities.")]
PerTokenOpt = Annotated[
    bool, typer.Option("--per-token/--no-per-token", help="Empirical Fisher: log-probabilities per token.")
]
SpreadOpt = Annotated[SpreadChoice, typer.Option(help="How labels spread over prompts.")]
SolverOpt = Annotated[SolverChoice, typer.Option(help="frank-wolfe is the published yardstick.")]
SeedOpt = Annotated[int, typer.Option(help="Seed of the draw.")]
DeviceOpt = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
SelectOpt = Annotated[
    SelectChoice, typer.Option(help="From weights to pairs: exact improves by exchange, without chance.")
]
PreviousOpt = Annotated[
    list[Path] | None,
    typer.Option(help="Labelled batch to go on from, in its space; its labelled pairs are not bought again."),
]

JudgeModelOpt = Annotated[str, typer.Option("--judge-model", help="Model that the endpoint should use.")]
JudgePricesOpt = Annotated[
    str | None, typer.Option("--judge-prices", help="Per million tokens read, written: 0.15,0.6")
]
JudgeCostOpt = Annotated[
    float | None, typer.Option("--judge-cost", help="Stop before judging where it would cost more.")
]
JudgeRequestsOpt = Annotated[
    int, typer.Option("--judge-requests", help="Stop before judging where it would take more.")
]
LearnOpt = Annotated[
    bool,
    typer.Option("--learn/--no-learn", help="With --previous: let who won change the design, not only what was asked."),
]
PilotOpt = Annotated[
    float | None,
    typer.Option("--pilot", help="Buy only this much of the budget now, to learn from; the rest follows --previous."),
]


def asked_by_name(context: typer.Context, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the parameters that stand on the command line, so that nothing learnt may change them."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return tuple(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def design_settings(
    *, budget: float, cost: str | None, quota: list[str] | None, max_labels_per_pair: str, **plain: Any
) -> DesignSettings:
    """The settings of a run from its options. Raises a usage error where a text is not of the stated form."""
    if cost is None and not budget.is_integer():
        raise typer.BadParameter(
            f"{budget:g} is not a whole number of labels (with --cost it may be)", param_hint="--budget"
        )
    try:
        quotas = tuple(parse_quota(text) for text in quota or [])
    except DesignError as error:
        raise typer.BadParameter(str(error), param_hint="--quota") from None
    chosen: dict[str, Any] = {name: getattr(value, "value", value) for name, value in plain.items()}
    return DesignSettings(
        budget=int(budget) if budget.is_integer() else budget,
        cost=cost,
        quotas=quotas,
        max_labels_per_pair=_labels_per_pair(max_labels_per_pair),
        **chosen,
    )


def judge_prices_of(text: str | None) -> tuple[float, float] | None:
    """Two prices per million tokens, read and written. Raises a usage error for anything else."""
    if text is None:
        return None
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not two prices such as 0.15,0.6", param_hint="--judge-prices") from None
    return read, written


def _labels_per_pair(text: str) -> float:
    if text.strip().lower() == "inf":
        return math.inf
    if not text.strip().isdigit() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is not 1, a whole number above, or inf", param_hint="--max-labels-per-pair")
    return float(int(text))
