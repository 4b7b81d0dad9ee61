"""The tables of docs/performance.md: stated generators and seeds, medians of repeated runs, rivals beside.

Every row solves on generator G. The yardsticks are Frank-Wolfe as published (given the same structured passes), cvxpy
with Clarabel where the problem is small enough for it, BAIT's forward-backward selection, and one structured pass.
"""

from __future__ import annotations

import importlib
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.bench.features import extraction_rows, extraction_table

if TYPE_CHECKING:
    from curation.design.criterion import Criterion
    from curation.design.geometry import Geometry
    from curation.design.result import Design
    from curation.design.sets.feasible import Feasible

RIDGE = 0.06  # relative
SIMPLEX = 500  # budget that the simplex rows name; it changes nothing there


@dataclass(frozen=True)
class Work:
    """One row: a shape of generator G, a feasible set and the certificate to reach. prompts x candidates, d = dim."""

    name: str
    budget: int
    spread: Any
    gap: float = 1.0
    open: float = 1.0
    most: float = 1.0
    prompts: int = 805
    candidates: int = 19
    dim: int = 128

    @property
    def shape(self) -> tuple[int, int, int]:
        """Prompts, candidates, dimensions."""
        return self.prompts, self.candidates, self.dim


def _rows() -> tuple[Work, ...]:
    free = [Work(f"free, r = 1, n = {n:,}", n, "free", gap=1e-6) for n in (175, 500, 2_000, 20_000, 68_827)]
    balanced = [Work(f"balanced, n = {n:,}", n, "balanced", open=1e-5) for n in (175, 500, 805, 2_000)]
    capped = [Work(f"capped, n = {n:,}", n, "capped", open=1e-5) for n in (175, 500, 2_000)]
    simplex = Work("free, r = inf", SIMPLEX, "free", gap=1e-6, most=math.inf)
    return (
        simplex,
        *free,
        *balanced,
        *capped,
        replace(simplex, candidates=57),
        Work("balanced, n = 805", 805, "balanced", open=1e-4, candidates=57),
        replace(simplex, candidates=227),
        Work("capped, n = 80,400", 80_400, "capped", open=1e-4, prompts=160_800, candidates=2),
    )


ROWS = _rows()
QUICK = tuple(
    replace(work, name=f"{work.spread}, n = 30", prompts=40, candidates=8, dim=12, budget=30)
    for work in ROWS
    if work.name in ("free, r = inf", "free, r = 1, n = 175", "balanced, n = 500", "capped, n = 500")
)


def generator(prompts: int, candidates: int, dim: int, *, seed: int = 0) -> np.ndarray:
    """Generator G: N(0, 1) times k^-0.7 in coordinate k, times Gamma(2, 1) per row. Returns (N, dim)."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((prompts * candidates, dim)) * np.arange(1, dim + 1) ** -0.7
    scaled: np.ndarray = rows * rng.gamma(2.0, 1.0, size=len(rows))[:, None]
    return scaled


def problem(
    prompts: int, candidates: int, dim: int, *, ridge: float = RIDGE, device: str = "cpu"
) -> tuple[Geometry, Criterion]:
    """Geometry and criterion (uniform Fisher) of generator G, seed 0."""
    import torch

    from curation.design.criterion import make_criterion
    from curation.design.geometry import Geometry

    rows = generator(prompts, candidates, dim)
    geometry = Geometry(rows, np.arange(prompts + 1) * candidates, device=device)
    blocks = rows.reshape(prompts, candidates, dim)
    centred = (blocks - blocks.mean(1, keepdims=True)).reshape(-1, dim)
    return geometry, make_criterion(geometry, torch.as_tensor(centred.T @ centred / len(rows)), ridge=ridge)


def feasible_of(geometry: Geometry, work: Work, **changes: Any) -> Feasible:
    """The feasible set of a row."""
    from curation.design.sets.feasible import make_feasible

    given = {"budget": work.budget, "max_labels_per_pair": work.most, "spread": work.spread}
    return make_feasible(geometry, **(given | changes))


def timed(call: Callable[[], Any], repeats: int, device: str = "cpu") -> tuple[list[float], Any]:
    """Seconds of every call, and the last result."""
    import torch

    seconds, result = [], None
    for _ in range(repeats):
        started = time.perf_counter()
        result = call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds, result


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
    from curation.design.criterion import make_criterion
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
    from curation.design.rules import forward_backward, realised
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


def yardsticks(work: Work, newton_seconds: float, *, limit: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Frank-Wolfe as published on a row, for `limit` seconds, and both ways to the optimum over time."""
    from curation.design.solvers.frank_wolfe import frank_wolfe
    from curation.design.solvers.newton import newton

    geometry, criterion = problem(*work.shape)
    feasible = feasible_of(geometry, work)
    ours = newton(criterion, feasible, tol=1e-9)
    started = time.perf_counter()
    theirs = frank_wolfe(criterion, feasible, tol=1e-2, max_passes=10_000_000, max_seconds=limit)
    seconds = time.perf_counter() - started
    say(f"Frank-Wolfe: gap {theirs.certificate.gap:.1e} after {seconds:.0f} s")
    step = max(1, len(theirs.trace) // 400)
    return {
        "seconds": seconds,
        "passes": theirs.passes,
        "gap": theirs.certificate.gap,
        "stopped": theirs.stopped,
        "times_newton": seconds / newton_seconds,
        "newton_trace": [(s.seconds, s.gap) for s in ours.trace],
        "frank_wolfe_trace": [(s.seconds, s.gap) for s in theirs.trace[::step]],
    }


def conic(work: Work) -> dict[str, Any]:
    """cvxpy with Clarabel on a problem it can do, and ours on the same."""
    try:
        cp: Any = importlib.import_module("cvxpy")
    except ImportError:
        return {"note": "cvxpy is not installed (it is a test requirement)"}
    from curation.design.solvers.newton import newton

    geometry, criterion = problem(*work.shape)
    feasible = feasible_of(geometry, work)
    seconds, ours = timed(lambda: newton(criterion, feasible, tol=1e-8), 5)
    z = geometry.vectors(np.arange(geometry.pairs)).numpy()
    pi = cp.Variable(geometry.pairs, nonneg=True)
    S = z.T @ cp.diag(pi / work.budget) @ z + criterion.prior.numpy()
    goal = cp.Problem(
        cp.Minimize(cp.matrix_frac(criterion.root.numpy(), S)), [cp.sum(pi) == work.budget, pi <= work.most]
    )
    started = time.perf_counter()
    goal.solve(solver=cp.CLARABEL)
    return {
        "pairs": geometry.pairs,
        "dim": work.dim,
        "conic_seconds": time.perf_counter() - started,
        "newton_seconds": statistics.median(seconds),
        "relative_difference": float(ours.certificate.objective / goal.value - 1),
    }


def peak_memory(work: Work) -> float:
    """GiB that a solve of this row takes at its peak beyond the imports, in a process of its own."""
    code = (
        "import sys; from curation.bench.solvers import Work, own_peak; import math; "
        f"print(own_peak({work.budget}, {work.spread!r}, {min(work.gap, work.open)}, "
        f"{'math.inf' if math.isinf(work.most) else work.most}, {work.shape}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def own_peak(budget: int, spread: Any, tol: float, most: float, shape: tuple[int, int, int]) -> float:
    """Peak of this process while it makes and solves one problem, in GiB, less what imports take."""
    from curation.design.solvers.newton import newton

    before = _high_water()
    geometry, criterion = problem(*shape)
    newton(criterion, feasible_of(geometry, Work("", budget, spread, most=most)), tol=tol)
    return (_high_water() - before) / 2**20


def _high_water() -> int:
    """KiB this process has held at most. Not ru_maxrss where /proc is there: that one starts at the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


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
