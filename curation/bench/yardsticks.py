"""Rivals of the performance table on the same problem, and peak memory in a process of its own."""

from __future__ import annotations

import importlib
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    pass
from curation.bench.problems import Work, feasible_of, problem, timed


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
        "import math; from curation.bench.yardsticks import own_peak; "
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
