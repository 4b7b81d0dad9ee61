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
    model: Annotated[
        str | None, typer.Option(help="Time only `features` with this model, on the texts of --pool.")
    ] = None,
    pool: Annotated[Path | None, typer.Option(help="The pool of --model.")] = None,
    prompts: Annotated[int, typer.Option(min=1, help="How many of its first prompts.")] = 40,
    as_json: JsonOpt = False,
) -> None:
    """Time the solver and its rivals on stated generators; prints the tables of docs/performance.md (five minutes)."""
    from curation.bench.solvers import run
    from curation.bench.tables import table, write
    from curation.device import resolve_device

    if (model is None) != (pool is None) or (model is not None and out is not None):
        raise typer.BadParameter("--model and --pool belong together, and write nothing: leave --out away")
    if model is not None and pool is not None:
        _of_model(model, pool, prompts, repeats, resolve_device(device), as_json)
        return
    result = run(repeats=repeats, quick=quick, device=resolve_device(device), say=say)
    if out is not None:
        write(result, out)
    emit(result, as_json, table(result))


def _of_model(model: str, pool: Path, prompts: int, repeats: int, device: str, as_json: bool) -> None:
    """The row of a real model: extraction against the bare passes, and seconds a response."""
    from curation.bench.features import extraction_table, model_row
    from curation.pool.messages import plain_messages
    from curation.run.prepare import load_pool

    read = load_pool(pool).pool
    asked = [plain_messages(p.prompt) if isinstance(p.prompt, list) else p.prompt for p in read.prompts[:prompts]]
    texts = [[response.text for response in prompt.responses] for prompt in read.prompts[:prompts]]
    row = model_row(read.name, asked, texts, model=model, repeats=repeats, device=device)
    emit({"extraction": [row]}, as_json, [*extraction_table([row]), f"{row['seconds_per_response']:.2f} s a response"])
