"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import EnumType, StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation.exchange.tools.base import TOOLS, label_formats

PoolArg = Annotated[
    Path, typer.Argument(help="Pool: JSON Lines, JSON, CSV (packed or not), Parquet or Excel.", show_default=False)
]
MapOpt = Annotated[
    list[str] | None,
    typer.Option("--map", help="Which column is what, as in prompt=question,response=answer.", show_default=False),
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
FeaturesOpt = Annotated[Path, typer.Option("--features", help="Features file of this pool (Parquet).")]
OverlapOpt = Annotated[float, typer.Option(help="Share of the labels that repeat a pair, for agreement.")]
ExcludeOpt = Annotated[Path | None, typer.Option(help="CSV of pairs, responses or prompts to leave out.")]
PinOpt = Annotated[Path | None, typer.Option(help="CSV of pairs that must be in the batch.")]
SkipOpt = Annotated[bool, typer.Option("--skip-rejects", help="Go on without the rows that cannot be used.")]
ForceOpt = Annotated[bool, typer.Option("--force", help="Replace an unsigned batch or file that exists.")]


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


def judge_prices_of(text: str | None) -> tuple[float, float] | None:
    """Two prices per million tokens, read and written. Raises a usage error for anything else."""
    if text is None:
        return None
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not two prices such as 0.15,0.6", param_hint="--judge-prices") from None
    return read, written


def rule_names(text: str) -> tuple[str, ...]:
    """A list of rules as given on the command line, each once."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise typer.BadParameter("no rule is named; give a list like trace,uniform", param_hint="--rules")
    return found


def at_least_one(value: int, name: str) -> int:
    """A whole number above 0. name: of its option."""
    if value < 1:
        raise typer.BadParameter(f"{value} is below 1", param_hint=name)
    return value
