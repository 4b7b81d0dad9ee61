"""The command that measures: bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curation.cli.asked import DeviceOpt
from curation.cli.kinds import BENCH
from curation.cli.options import JsonOpt
from curation.cli.output import emit, say
from curation.cli.writes import Writes


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(bench)


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
    from curation.bench.solvers import run
    from curation.bench.tables import table, write
    from curation.device import resolve_device

    result = run(repeats=repeats, quick=quick, device=resolve_device(device), say=say)
    if out is not None:
        write(result, out)
    emit(result, as_json, table(result))
