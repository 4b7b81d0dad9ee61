"""The tables of docs/performance.md: stated generators and seeds, medians of repeated runs, rivals beside.

Every row solves on generator G. The yardsticks are Frank-Wolfe as published (given the same structured passes), cvxpy
with Clarabel where the problem is small enough for it, BAIT's forward-backward selection, and one structured pass.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.bench.features import extraction_rows

if TYPE_CHECKING:
    from curation.design.criteria.base import Criterion
    from curation.design.geometry import Geometry
    from curation.design.result import Design
from curation.bench.problems import QUICK, RIDGE, ROWS, Work, feasible_of, problem, timed
from curation.bench.tables import _line
from curation.bench.yardsticks import conic, peak_memory, yardsticks


def _row(name: str, work: Work, geometry: Geometry, seconds: list[float], design: Design) -> dict[str, Any]:
    return {
        "work": name,
        "shape": f"{work.prompts:,} x {work.candidates}",
        "pairs": geometry.pairs,
        "target": f"gap {work.gap:g}" if work.gap < 1 else f"open {work.open:g}",
        "seconds_median": statistics.median(seconds),
        "seconds": seconds,
        "passes": design.passes,
        "gap": design.certificate.gap,
        "open": design.certificate.open,
        "stopped": design.stopped,
    }


def solver_rows(works: Sequence[Work], *, repeats: int, device: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Every row solved `repeats` times, and one structured pass of each shape."""
    from curation.design.solvers.newton import newton

    rows, passes, last = [], {}, None
    for work in works:
        if last is None or last[0] != work.shape:
            geometry, criterion = problem(*work.shape, device=device)
            last = (work.shape, geometry, criterion)
            root = criterion.at(geometry.uniform_information()).root
            passes[f"{work.prompts:,} x {work.candidates}"] = statistics.median(
                timed(partial(geometry.quadratic, root), repeats, device)[0]
            )
        _, geometry, criterion = last

        def solve(work: Work = work, geometry: Geometry = geometry, criterion: Criterion = criterion) -> Design:
            return newton(criterion, feasible_of(geometry, work), tol=min(work.gap, work.open))

        seconds, design = timed(solve, repeats, device)
        rows.append(_row(work.name, work, geometry, seconds, design))
        say(_line(rows[-1]))
    return {"rows": rows, "pass_seconds": passes}


def factor_rows(
    works: Sequence[Work], *, repeats: int, device: str, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The same rows where labels carry nuisance factors, solved in turn with and without, and the ratio of medians.

    Two nuisance coordinates, N(0, 1) per candidate with seed 1, slopes of variance 1. The time with factors includes
    making them: `ratio` is all of it over the time without, per pass `pass_ratio`.
    """
    from curation.design.criteria.trace import make_criterion
    from curation.design.factors import pair_factor
    from curation.design.solvers.newton import newton

    rows = []
    for work in works:
        geometry, criterion = problem(*work.shape, device=device)
        nuisance = np.random.default_rng(1).standard_normal((len(geometry.features), 2))

        def solve(
            work: Work = work, geometry: Geometry = geometry, criterion: Criterion = criterion, nuisance: Any = None
        ) -> Design:
            if nuisance is not None:
                geometry = geometry.with_factor(pair_factor(geometry, nuisance=nuisance, tau2=1.0))
                criterion = make_criterion(geometry, criterion.fisher, ridge=RIDGE)
            return newton(criterion, feasible_of(geometry, work), tol=min(work.gap, work.open))

        pairs = []
        for _ in range(repeats):  # in turn, so that both see the same machine
            plain, without = timed(solve, 1, device)
            weighed, design = timed(partial(solve, nuisance=nuisance), 1, device)
            pairs.append((weighed[0], plain[0]))
        named = replace(work, name=f"{work.name}, nuisance factors")
        row = _row(named.name, named, geometry, [seconds for seconds, _ in pairs], design)
        row["plain_seconds"] = statistics.median(seconds for _, seconds in pairs)
        row["ratio"] = row["seconds_median"] / row["plain_seconds"]
        row["pass_ratio"] = row["ratio"] * without.passes / design.passes
        rows.append(row)
        say(f"{_line(row)} {row['ratio']:.2f} times without ({row['pass_ratio']:.2f} per pass)")
    return rows


def warm_rows(work: Work, *, repeats: int, device: str, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Re-solving from the last design after one change: ridge, budget, exclusions, pins."""
    from curation.design.solvers.newton import newton

    geometry, criterion = problem(*work.shape, device=device)
    last = newton(criterion, feasible_of(geometry, work), tol=1e-4)
    tenth = max(1, work.budget // 10)
    top = last.weights.topk(min(50, last.support)).indices.tolist()
    changes: dict[str, tuple[float, dict[str, Any]]] = {
        "ridge x 2": (2 * RIDGE, {}),
        "ridge / 2": (RIDGE / 2, {}),
        "budget + 10 %": (RIDGE, {"budget": work.budget + tenth}),
        "budget - 10 %": (RIDGE, {"budget": work.budget - tenth}),
        f"{len(top)} pairs excluded": (RIDGE, {"excluded": top}),
        f"{len(top) // 2} pairs pinned": (RIDGE, {"pinned": top[: len(top) // 2]}),
    }
    rows = []
    for name, (ridge, options) in changes.items():
        moved = problem(*work.shape, ridge=ridge, device=device)[1]

        def solve(moved: Criterion = moved, options: dict[str, Any] = options) -> Design:
            return newton(moved, feasible_of(geometry, work, **options), tol=1e-4, start=last.weights)

        seconds, design = timed(solve, repeats, device)
        rows.append(_row(f"{work.name}, after {name}", replace(work, open=1e-4), geometry, seconds, design))
        say(_line(rows[-1]))
    return rows


def batch_rows(works: Sequence[Work], *, repeats: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Realised f over the lower bound: `exact`, BAIT's forward-backward, the pivotal draw and the paper's."""
    from curation.design.rules.greedy import forward_backward
    from curation.design.selection.drawn import realised
    from curation.design.selection.sampling import paper, sample
    from curation.design.selection.swaps import exact
    from curation.design.solvers.newton import newton

    rows = []
    for work in works:
        geometry, criterion = problem(*work.shape)
        feasible = feasible_of(geometry, work)
        design = newton(criterion, feasible, tol=1e-6)
        bound = design.certificate.lower_bound

        def ratio(batch: Any, criterion: Any = criterion, feasible: Any = feasible, bound: float = bound) -> float:
            return realised(criterion, feasible, batch) / bound

        seconds, batch = timed(partial(exact, criterion, feasible, design.weights), repeats)
        bait_seconds, bait = timed(partial(forward_backward, criterion, feasible), 1)
        draws = [ratio(sample(feasible, design.weights, seed=k)) for k in range(10)]
        papers = [ratio(paper(feasible, design.weights, seed=k)) for k in range(10)]
        rows.append(
            {
                "labels": work.budget,
                "exact": ratio(batch),
                "exact_seconds": statistics.median(seconds),
                "bait": ratio(bait),
                "bait_seconds": bait_seconds[0],
                "sample": statistics.mean(draws),
                "paper": statistics.mean(papers),
            }
        )
        say(f"n = {work.budget:,}: exact {rows[-1]['exact']:.4f}, BAIT {rows[-1]['bait']:.4f}")
    return rows


def run(
    *, repeats: int = 5, device: str = "cpu", quick: bool = False, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Everything, on the stated generators. quick: tiny shapes, to see that it works; its figures mean nothing."""
    import torch

    from curation.device import describe_device

    works = QUICK if quick else ROWS
    solved = solver_rows(works, repeats=repeats, device=device, say=say)
    balanced = next(work for work in works if work.spread == "balanced" and work.budget != 175)
    batches = [work for work in works if work.spread == "free" and work.most == 1 and work.budget <= 2_000]
    largest = max(works, key=lambda work: work.prompts * work.candidates**2)
    small = Work("free, r = 1, n = 40", 40, "free", prompts=40, candidates=8, dim=12)
    return {
        "generator": "G: N(0, 1) k^-0.7 in coordinate k, times Gamma(2, 1) per row; seed 0; relative ridge 0.06",
        "dim": works[0].dim,
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        **solved,
        "warm": warm_rows(balanced, repeats=repeats, device=device, say=say),
        "factors": factor_rows([works[0], balanced], repeats=repeats, device=device, say=say),
        "batches": batch_rows(batches, repeats=repeats, say=say),
        "frank_wolfe": yardsticks(works[0], solved["rows"][0]["seconds_median"], limit=2.0 if quick else 60.0, say=say),
        "conic": conic(small),
        "peak_memory": {"shape": f"{largest.prompts:,} x {largest.candidates}", "gib": peak_memory(largest)},
        "extraction": extraction_rows(repeats=repeats, device=device, quick=quick, say=say),
    }
