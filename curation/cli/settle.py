"""The command that settles a pair on which people took different sides."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from curation.cli.options import JsonOpt
from curation.cli.output import emit


class Side(StrEnum):
    """What a pair is settled as."""

    a = "a"
    b = "b"
    tie = "tie"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(settle)


def settle(
    folder: Annotated[Path, typer.Argument(help="Batch folder.")],
    pair: Annotated[str, typer.Argument(help="Pair on which people took different sides (`labels DIR --conflicts`).")],
    outcome: Annotated[Side, typer.Argument(help="The response that counts as preferred, or a tie.")],
    who: Annotated[str, typer.Option("--as", help="Who settles it.")],
    instead_of: Annotated[
        Side | None, typer.Option("--instead-of", help="The settled answer that is kept now, to change it.")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Keep one answer for a pair on which people differ: it counts in training rows and later batches."""
    from curation.review.settling import settle as settle_pair

    result = settle_pair(
        folder, pair, outcome.value, who=who, instead_of=None if instead_of is None else instead_of.value
    )
    told = ", ".join(f"{answer['annotator']} {answer['outcome']}" for answer in result["answers"])
    before = f" instead of {result['instead_of']}" if result["instead_of"] else ""
    line = f"pair {result['pair_id']} settled as {result['outcome']}{before} by {result['who']}; people said {told}"
    if not result["changed"]:
        line = f"pair {result['pair_id']} is settled as {result['outcome']} already; nothing was changed"
    emit(result, as_json, [line, f"{result['open']} pairs are open"])
