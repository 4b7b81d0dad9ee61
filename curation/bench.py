"""The performance table of the README: stated generators and seeds, medians of repeated runs."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.design.criterion import make_criterion
from curation.design.feasible import make_feasible
from curation.design.frank_wolfe import frank_wolfe
from curation.design.geometry import Geometry
from curation.design.newton import newton


@dataclass(frozen=True)
class Work:
    """One row: the feasible set and the certificate to reach on generator G."""

    name: str
    budget: int
    most: float
    spread: Any
    gap: float
    open: float


ROWS = (
    Work("free, r = inf, gap 1e-6", 500, math.inf, "free", 1e-6, 1.0),
    Work("free, r = 1, n = 500, gap 1e-6", 500, 1.0, "free", 1e-6, 1.0),
    Work("free, r = 1, n = 20,000, gap 1e-6", 20_000, 1.0, "free", 1e-6, 1.0),
    Work("balanced, r = 1, n = 500, open 1e-4", 500, 1.0, "balanced", 1.0, 1e-4),
    Work("capped, r = 1, n = 500, open 1e-4", 500, 1.0, "capped", 1.0, 1e-4),
)


def generator(prompts: int, candidates: int, dim: int, *, seed: int = 0) -> np.ndarray:
    """Generator G: N(0, 1) times k^-0.7 in coordinate k, times Gamma(2, 1) per row. Returns (N, dim)."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((prompts * candidates, dim)) * np.arange(1, dim + 1) ** -0.7
    scaled: np.ndarray = rows * rng.gamma(2.0, 1.0, size=len(rows))[:, None]
    return scaled


def problem(prompts: int, candidates: int, dim: int, *, ridge: float) -> tuple[Geometry, Any]:
    """Geometry and criterion (uniform Fisher) of generator G, seed 0."""
    import torch

    rows = generator(prompts, candidates, dim)
    geometry = Geometry(rows, np.arange(prompts + 1) * candidates)
    blocks = rows.reshape(prompts, candidates, dim)
    centred = (blocks - blocks.mean(1, keepdims=True)).reshape(-1, dim)
    return geometry, make_criterion(geometry, torch.as_tensor(centred.T @ centred / len(rows)), ridge=ridge)


def run(*, prompts: int = 805, candidates: int = 19, dim: int = 128, repeats: int = 5) -> dict[str, Any]:
    """Time every row: medians of `repeats` solves, passes, gap and open. Frank-Wolfe once, for 60 s at most."""
    import torch

    geometry, criterion = problem(prompts, candidates, dim, ridge=0.06)
    root = criterion.at(geometry.uniform_information()).root
    one_pass = statistics.median(_time(lambda: geometry.quadratic(root)) for _ in range(repeats))
    rows = []
    for work in ROWS:
        feasible = make_feasible(geometry, budget=work.budget, max_labels_per_pair=work.most, spread=work.spread)
        seconds, design = [], None
        for _ in range(repeats):
            started = time.perf_counter()
            design = newton(criterion, feasible, tol=min(work.gap, work.open))
            seconds.append(time.perf_counter() - started)
        assert design is not None
        rows.append(
            {
                "work": work.name,
                "seconds_median": statistics.median(seconds),
                "seconds": seconds,
                "passes": design.passes,
                "gap": design.certificate.gap,
                "open": design.certificate.open,
                "stopped": design.stopped,
            }
        )
    simplex = make_feasible(geometry, budget=500, max_labels_per_pair=math.inf, spread="free")
    started = time.perf_counter()
    yardstick = frank_wolfe(criterion, simplex, tol=1e-2, max_passes=1_000_000, max_seconds=60)
    return {
        "generator": f"G, {prompts} x {candidates} ({geometry.pairs} pairs), d = {dim}, seed 0, relative ridge 0.06",
        "threads": torch.get_num_threads(),
        "one_pass_seconds": one_pass,
        "rows": rows,
        "frank_wolfe": {
            "seconds": time.perf_counter() - started,
            "passes": yardstick.passes,
            "gap": yardstick.certificate.gap,
            "stopped": yardstick.stopped,
        },
    }


def _time(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def table(result: dict[str, Any]) -> list[str]:
    """The result as lines of a Markdown table."""
    lines = [
        f"{result['generator']}; {result['threads']} CPU threads; one structured pass "
        f"{result['one_pass_seconds'] * 1000:.0f} ms",
        "",
        "| design | median seconds | passes | gap | open |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['work']} | {row['seconds_median']:.2f} | {row['passes']} | {row['gap']:.1e} | {row['open']:.1e} |"
        )
    yardstick = result["frank_wolfe"]
    lines.append(
        f"| Frank-Wolfe as published, free, r = inf, stopped on {yardstick['stopped']} | {yardstick['seconds']:.1f} | "
        f"{yardstick['passes']} | {yardstick['gap']:.1e} | |"
    )
    return lines
