"""A model as a second rater of a batch: rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curation.cli.options import (
    JsonOpt,
    JudgeCostOpt,
    JudgeModelOpt,
    JudgePricesOpt,
    JudgeRequestsOpt,
    judge_prices_of,
)
from curation.cli.output import emit, say


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(rate)


def rate(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    judge: Annotated[str, typer.Option(help="Base address of an OpenAI-compatible API, with or without a key.")],
    judge_model: JudgeModelOpt,
    who: Annotated[str, typer.Option("--as", help="Who has it rated.")],
    judge_prices: JudgePricesOpt = None,
    judge_cost: JudgeCostOpt = None,
    judge_requests: JudgeRequestsOpt = 5000,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what it would take; sends and writes nothing.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Let a model answer the approved pairs, both orders each, as a check of people; never shown before they answered.

    Its answers are kept apart and train nothing. Run again to go on after a failure. Key: CURATION_JUDGE_KEY.
    """
    from curation.exchange import second_rater
    from curation.experiments.judge import EndpointJudge

    asked = EndpointJudge(
        judge, judge_model, second_rater.judge_cache(), prices=judge_prices_of(judge_prices),
        most_requests=judge_requests, most_cost=judge_cost, told=say,
    )  # fmt: skip
    if estimate:
        told = second_rater.estimate(folder, asked, name=judge_model)
        lines = [
            f"{told['pairs']:,} pairs for {judge_model} at {told['host']}, {told['kept']:,} answered before: "
            f"{told['sentence']} Nothing was sent."
        ]
        emit(told, as_json, lines)
        return
    result = second_rater.rate(folder, asked, name=judge_model, who=who)
    lines = [
        f"{result['new']:,} pairs answered by {judge_model} at {result['host']} ({result['requests']:,} requests, "
        f"{result['cached']:,} cached), {result['kept']:,} before; `labels` says how it agrees with people where they "
        "have answered"
    ]
    emit(result, as_json, lines)
