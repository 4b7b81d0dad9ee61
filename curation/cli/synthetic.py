"""Commands of the synthetic ground truth: experiment tabular, experiment contextual."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curation.cli.kinds import SYNTHETIC
from curation.cli.options import JsonOpt
from curation.cli.output import emit, progress_line, say
from curation.cli.writes import Writes

SeedsOpt = Annotated[int, typer.Option(help="Repetitions, each with its own rewards, reference and draws.")]
OutOpt = Annotated[
    Path | None, typer.Option(help="Folder of the result; default: where the dashboard looks."), Writes(SYNTHETIC)
]


def register(app: typer.Typer) -> None:
    """Add the commands to `experiment`."""
    app.command()(tabular)
    app.command()(contextual)


def tabular(seeds: SeedsOpt = 200, out: OutOpt = None, as_json: JsonOpt = False) -> None:
    """Known rewards of 20 answers to one prompt: oracle, plug-in, uniform and reference-weighted comparisons."""
    _run("tabular", seeds, out, as_json)


def contextual(seeds: SeedsOpt = 200, out: OutOpt = None, as_json: JsonOpt = False) -> None:
    """Known rewards linear in the features of 8 answers to each of 25 prompts: the same four designs."""
    _run("contextual", seeds, out, as_json)


def _run(kind: str, seeds: int, out: Path | None, as_json: bool) -> None:
    from dataclasses import replace

    from curation.experiments.synthetic import CONTEXTUAL, DESIGNS, TABULAR, place, run, write

    settings = replace(TABULAR if kind == "tabular" else CONTEXTUAL, seeds=seeds)
    curves = run(settings, progress=progress_line("seeds"))
    say("")
    folder = out or place(settings.kind)
    result = {**write(curves, folder), "out": str(folder)}
    lines = [f"{'labels':>8}  " + "  ".join(f"{name:>24}" for name in DESIGNS)]
    for k, n in enumerate(settings.labels):
        cells = [f"{curves.mean(name)[k]:.4g} +- {curves.error(name)[k]:.1g}" for name in DESIGNS]
        lines.append(f"{n:>8,}  " + "  ".join(f"{cell:>24}" for cell in cells))
    emit(result, as_json, [*lines, *result["sentences"], f"written to {folder} in {curves.seconds:.0f} s"])
