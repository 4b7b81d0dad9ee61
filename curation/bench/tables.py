"""The performance table as lines, files and a figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.bench.features import extraction_table

if TYPE_CHECKING:
    pass


def _line(row: dict[str, Any]) -> str:
    return (
        f"| {row['shape']} | {row['work']} | {row['target']} | {row['seconds_median']:.2f} | {row['passes']} | "
        f"{row['gap']:.1e} | {row['open']:.1e} |"
    )


def table(result: dict[str, Any]) -> list[str]:
    """The result as Markdown."""
    passes = ", ".join(f"{1000 * seconds:.0f} ms ({shape})" for shape, seconds in result["pass_seconds"].items())
    yardstick, memory, small = result["frank_wolfe"], result["peak_memory"], result["conic"]
    lines = [
        f"{result['generator']}; d = {result['dim']}. {result['device']}, medians of {result['repeats']}. One "
        f"structured pass: {passes}.",
        "",
        "| prompts x candidates | design | asked | seconds | passes | gap | open |",
        "|---|---|---|---|---|---|---|",
        *(_line(row) for row in [*result["rows"], *result["warm"], *result["factors"]]),
        "",
        "With nuisance factors, making them included, over the same row without, solved in turn: "
        + "; ".join(
            f"{row['work'].removesuffix(', nuisance factors')} {row['ratio']:.2f} ({row['pass_ratio']:.2f} per pass)"
            for row in result["factors"]
        )
        + ".",
        "",
        f"Frank-Wolfe as published (same structured passes, exact line search), free, r = inf: gap "
        f"{yardstick['gap']:.1e} after {yardstick['seconds']:.0f} s and {yardstick['passes']:,} passes, stopped on "
        f"{yardstick['stopped']}: {yardstick['times_newton']:.0f} times Newton's time. Peak memory at "
        f"{memory['shape']}: {memory['gib']:.2f} GiB beyond imports.",
    ]
    if "conic_seconds" in small:
        lines.append(
            f"cvxpy with Clarabel on {small['pairs']:,} pairs, d = {small['dim']}: {small['conic_seconds']:.2f} s "
            f"against {small['newton_seconds']:.3f} s, objectives {abs(small['relative_difference']):.0e} apart."
        )
    lines += [
        "",
        "| labels (free) | `exact` | seconds | BAIT forward-backward | seconds | `sample` (mean) | `paper` (mean) |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row['labels']:,} | {row['exact']:.4f} | {row['exact_seconds']:.2f} | {row['bait']:.4f} | "
            f"{row['bait_seconds']:.1f} | {row['sample']:.4f} | {row['paper']:.4f} |"
            for row in result["batches"]
        ),
        "",
        "Realised f of the batch over the lower bound; 1 is unreachable where labels are whole.",
        *extraction_table(result["extraction"]),
    ]
    return lines


def write(result: dict[str, Any], folder: Path) -> list[Path]:
    """bench.json, bench.md and gap.html (gap against time, self-contained) in a folder. Returns the paths."""
    from curation.charts.design import gap_over_time
    from curation.pool.files.storage import write_text

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "bench.json", folder / "bench.md", folder / "gap.html"]
    write_text(json.dumps(result, indent=1) + "\n", paths[0])
    write_text("\n".join(table(result)) + "\n", paths[1])
    yardstick = result["frank_wolfe"]
    figure = gap_over_time({"Newton": yardstick["newton_trace"], "Frank-Wolfe": yardstick["frank_wolfe_trace"]})
    write_text(figure.to_html(include_plotlyjs=True), paths[2])
    return paths
