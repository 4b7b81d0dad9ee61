"""Frank-Wolfe, as published (the yardstick), and its fully corrective form (a start for the Newton solver)."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from curation.design.certificate import Certificate, certify, lower_bound
from curation.design.criteria.base import Criterion
from curation.design.programs.quadratic import Polytope, solve_quadratic
from curation.design.result import Design, Progress, Step
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise
from curation.design.sets.uniform import uniform_design, uniform_information


def frank_wolfe(
    criterion: Criterion,
    feasible: Feasible,
    *,
    tol: float = 1e-4,
    max_passes: int = 3000,
    max_seconds: float = 600.0,
    progress: Progress | None = None,
) -> Design:
    """HGM's algorithm with an exact line search, each pass structured as in every other solver here."""
    started = time.perf_counter()
    geometry = feasible.geometry
    weights = uniform_design(feasible).clone()
    information = uniform_information(feasible)
    uniform = criterion.value(information)
    pinned = geometry.information(feasible.pinned_weights())
    best, trace, stopped = 0.0, [], "passes"
    for passes in range(1, max_passes + 1):
        point = criterion.at(information)
        values = geometry.quadratic(point.root)
        pairs, amounts, reach = maximise(feasible, values)
        excess = reach + feasible.pinned_value(values) - float(values @ weights)
        best = max(best, lower_bound(point.value, excess))
        now = Certificate(point.value, best, uniform)
        trace.append(Step(passes, time.perf_counter() - started, now.objective, now.gap, now.open, len(pairs)))
        if progress is not None:
            progress(trace[-1])
        if now.holds(tol):
            stopped = "certificate"
            break
        if time.perf_counter() - started > max_seconds:
            stopped = "time"
            break
        vertex = geometry.information_of(pairs, amounts) + pinned
        step = _line_search(criterion, information, vertex - information)
        weights *= 1 - step
        weights.index_add_(0, pairs, amounts * step)
        weights[feasible.pinned] = feasible.held
        information = (1 - step) * information + step * vertex
    final = certify(criterion, feasible, weights)
    final = Certificate(final.objective, max(final.lower_bound, min(best, final.objective)), final.uniform)
    return Design(weights, final, len(trace) + 1, "frank-wolfe", stopped, tuple(trace))


def _line_search(criterion: Criterion, information: Tensor, direction: Tensor) -> float:
    """Exact step in [0, 1], where the slope crosses zero."""
    line = criterion.along(information, direction)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if line.slope(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def corrective_start(
    criterion: Criterion, feasible: Feasible, *, vertices: int, tol: float = 0.0
) -> tuple[Tensor, int]:
    """Design measure after a few fully corrective steps: Newton on the convex weights of the vertices seen.

    Stops early where the gap is already at most tol. Returns weights (pairs,) and the structured passes used.
    """
    geometry = feasible.geometry
    pinned = geometry.information(feasible.pinned_weights())
    information = uniform_information(feasible)
    kept: list[tuple[Tensor, Tensor]] = []
    matrices: list[Tensor] = []
    mix = torch.zeros(0, dtype=torch.float64, device=geometry.device)
    passes = 0
    for passes in range(1, vertices + 1):  # noqa: B007 (returned)
        point = criterion.at(information)
        values = geometry.quadratic(point.root, single=geometry.single)
        pairs, amounts, reach = maximise(feasible, values)
        excess = reach + feasible.pinned_value(values) - float((point.B * information).sum())
        if kept and 1 - lower_bound(point.value, excess) / point.value <= tol:
            break
        kept.append((pairs, amounts))
        matrices.append(geometry.information_of(pairs, amounts) + pinned)
        start = torch.cat([mix, mix.new_full((1,), 0.2 if len(mix) else 1.0)])
        mix = _mix(criterion, torch.stack(matrices), start / start.sum())
        information = torch.tensordot(mix, torch.stack(matrices), dims=1)
    weights = feasible.pinned_weights()
    for share, (pairs, amounts) in zip(mix.tolist(), kept, strict=True):
        weights.index_add_(0, pairs, amounts * share)
    return weights, passes


def _mix(criterion: Criterion, matrices: Tensor, mix: Tensor) -> Tensor:
    """Best convex weights (k,) of information matrices (k, d, d), by Newton steps on a k-variable program."""
    simplex = Polytope(torch.full_like(mix, torch.inf), None, None, False, 1.0)
    for _ in range(30):
        information = torch.tensordot(mix, matrices, dims=1)
        point = criterion.at(information)
        gradient, hessian = point.mixture(matrices)
        solution = solve_quadratic(hessian, gradient - hessian @ mix, simplex, mix)
        if not solution.optimal:
            break
        direction = solution.x - mix
        slope = float(gradient @ direction)
        if slope > -1e-9 * point.value:
            break
        step = 1.0
        change = torch.tensordot(direction, matrices, dims=1)
        while step > 1e-6 and criterion.value(information + step * change) > point.value + 1e-4 * step * slope:
            step /= 2
        mix = (mix + step * direction).clamp_min(0.0)
        mix = mix / mix.sum()
    return mix
