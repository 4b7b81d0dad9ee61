"""Small random design problems, and their bounds written a second time, straight from the definitions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog

from curation.design.criteria.base import Criterion
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.sets.feasible import Feasible
from curation.design.sets.make import make_feasible


def random_geometry(
    seed: int, *, prompts: int = 6, dim: int = 4, smallest: int = 2, largest: int = 9, listed: float = 0.4
) -> Geometry:
    """Prompts of mixed size and weight; a share of them offers only a random list of its pairs."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(smallest, largest + 1, size=prompts)
    edges: list[np.ndarray | None] = []
    for size in sizes.tolist():
        every = np.stack(np.triu_indices(size, k=1), axis=1)
        few = rng.random() < listed and len(every) > 1
        kept = np.sort(rng.choice(len(every), size=rng.integers(1, len(every)), replace=False)) if few else None
        edges.append(None if kept is None else every[kept])
    rows = rng.standard_normal((int(sizes.sum()), dim)) * np.arange(1, dim + 1) ** -0.7
    rows *= rng.gamma(2.0, 1.0, size=len(rows))[:, None]
    weights = rng.uniform(0.3, 3.0, size=prompts)
    return Geometry(rows, np.concatenate([[0], np.cumsum(sizes)]), prompt_weights=weights, edges=edges)


def explicit_vectors(geometry: Geometry) -> np.ndarray:
    """z_e of every pair, (pairs, d), by plain loops over prompts and candidates."""
    rows, out = geometry.features.numpy(), []
    for x, (start, stop) in enumerate(zip(geometry.offsets[:-1], geometry.offsets[1:], strict=True)):
        size = int(stop - start)
        for i in range(size):
            out += [
                rows[start + i] - rows[start + j] for j in range(i + 1, size) if geometry.number(x, i, j) is not None
            ]
    return np.array(out).reshape(-1, geometry.dim)


def random_fisher(seed: int, dim: int) -> torch.Tensor:
    """A Fisher matrix that has nothing to do with the features."""
    half = np.random.default_rng([seed, 7]).standard_normal((dim, dim + 1))
    return torch.as_tensor(half @ half.T / dim)


def membership(geometry: Geometry) -> np.ndarray:
    """(P, pairs): 1 where the pair is the prompt's."""
    return np.repeat(np.eye(geometry.prompts), geometry.pair_counts, axis=1)


@dataclass(frozen=True)
class Case:
    """A design problem and what was asked of it."""

    geometry: Geometry
    criterion: Criterion
    feasible: Feasible
    budget: int
    r: float
    spread: Any
    pins: np.ndarray
    outs: np.ndarray


def random_case(
    seed: int,
    spread: Any,
    r: float,
    *,
    ridge: float = 0.1,
    pins: bool = True,
    outs: bool = True,
    budget: int | None = None,
    **shape: Any,
) -> Case:
    """A feasible problem with a budget (random unless given), and some pairs pinned (r finite) and excluded."""
    geometry = random_geometry(seed, **shape)
    rng = np.random.default_rng([seed, 3])
    order = rng.permutation(geometry.pairs)
    out = order[: rng.integers(1, 1 + geometry.pairs // 5)] if outs else order[:0]
    pin = order[len(out) :][: rng.integers(1, 1 + geometry.pairs // 8)] if pins and math.isfinite(r) else order[:0]
    least = max(2, round(len(pin) * r) if len(pin) else 0)
    most = int((geometry.pairs - len(out)) * r) if math.isfinite(r) else 2 * geometry.pairs
    budget = int(rng.integers(least, most + 1)) if budget is None else budget
    return Case(
        geometry=geometry,
        criterion=make_criterion(geometry, random_fisher(seed, geometry.dim), ridge=ridge),
        feasible=make_feasible(geometry, budget=budget, max_labels_per_pair=r, spread=spread, pinned=pin, excluded=out),
        budget=budget,
        r=r,
        spread=spread,
        pins=pin,
        outs=out,
    )


@dataclass(frozen=True)
class Bounds:
    """docs/method.md section 4 in labels: low <= pi <= high per pair, and the prompts' totals or caps (None: none)."""

    low: np.ndarray
    high: np.ndarray
    totals: np.ndarray | None
    caps: np.ndarray | None


def bounds_of(case: Case) -> Bounds:
    """The constraints of a case, from its settings alone (nothing of curation.design.sets.feasible is used)."""
    geometry, n = case.geometry, case.budget
    low, high = np.zeros(geometry.pairs), np.full(geometry.pairs, min(case.r, float(n)))
    low[case.pins] = case.r
    high[case.outs] = 0.0
    of = membership(geometry)
    pinned, capacity, omega = of @ low, of @ high, geometry.prompt_weights
    if math.isinf(case.r):
        capacity = np.where(capacity > 0, n, 0.0)
    if case.spread == "balanced":
        small, large = 0.0, 1.0
        while np.clip(large * omega, pinned, capacity).sum() < n - 1e-9 * n and large < 1e12:
            large *= 2
        for _ in range(200):
            tau = (small + large) / 2
            small, large = (tau, large) if np.clip(tau * omega, pinned, capacity).sum() < n else (small, tau)
        return Bounds(low, high, np.clip(large * omega, pinned, capacity), None)
    if case.spread == "capped":
        tau = float(n)
        while True:
            caps = np.minimum(np.maximum(np.ceil(tau * omega - 1e-9), 1.0), capacity)
            caps = np.maximum(caps, pinned)
            if caps.sum() >= n - 1e-9:
                return Bounds(low, high, None, caps)
            tau *= 1.1
    return Bounds(low, high, None, None)


def best_linear(case: Case, values: np.ndarray) -> float:
    """max <w, values> over the feasible designs by linear programming, pins included, in measure units."""
    limits, of = bounds_of(case), membership(case.geometry)
    equal, right = np.ones((1, len(values))), np.array([float(case.budget)])
    if limits.totals is not None:
        equal, right = of, limits.totals
    answer = linprog(
        -values / case.budget,
        A_eq=equal,
        b_eq=right,
        A_ub=None if limits.caps is None else of,
        b_ub=limits.caps,
        bounds=np.stack([limits.low, limits.high], axis=1),
    )
    assert answer.status == 0, answer.message
    return -float(answer.fun)


def conic_optimum(case: Case) -> float:
    """The best f of a case by cvxpy and Clarabel."""
    import cvxpy as cp

    z, limits, of = explicit_vectors(case.geometry), bounds_of(case), membership(case.geometry)
    pi = cp.Variable(case.geometry.pairs)
    wanted = [pi >= limits.low, pi <= limits.high]
    wanted += [cp.sum(pi) == case.budget] if limits.totals is None else [of @ pi == limits.totals]
    wanted += [] if limits.caps is None else [of @ pi <= limits.caps]
    prior = case.criterion.prior.numpy()
    S = z.T @ cp.diag(pi / case.budget) @ z + prior
    goal = cp.Problem(cp.Minimize(cp.matrix_frac(np.linalg.cholesky(case.criterion.fisher.numpy()), S)), wanted)
    goal.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert goal.status in ("optimal", "optimal_inaccurate"), goal.status
    return float(goal.value)


def assert_feasible(case: Case, weights: np.ndarray) -> None:
    """The design keeps every constraint, to rounding."""
    pi, limits, of = weights * case.budget, bounds_of(case), membership(case.geometry)
    assert abs(pi.sum() - case.budget) < 1e-8 * case.budget
    assert np.all(pi >= limits.low - 1e-9)
    assert np.all(pi <= limits.high + 1e-9)
    if limits.totals is not None:
        assert np.abs(of @ pi - limits.totals).max() < 1e-7
    if limits.caps is not None:
        assert np.all(of @ pi <= limits.caps + 1e-7)


# Every constraint together (docs/method.md section 4): caps, quotas, shares, costs, pins, exclusions, earlier labels
