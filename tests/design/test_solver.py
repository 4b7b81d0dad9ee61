"""The solver against an open conic solver, and its certificate against the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from curation.bench.problems import problem
from curation.design.certificate import certify
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.sets.make import make_feasible
from curation.design.solvers.frank_wolfe import frank_wolfe
from curation.design.solvers.newton import newton
from tests.desk.designs import fisher_of, graph


def totals_by_bisection(rates, low, high, total):
    """m = clip(tau rates, low, high) summing to total: docs/method.md section 4, written a second time."""
    lo, hi = 0.0, 1e9
    for _ in range(200):
        tau = (lo + hi) / 2
        lo, hi = (tau, hi) if np.clip(tau * rates, low, high).sum() < total else (lo, tau)
    return np.clip(lo * rates, low, high)


def best_by_cvxpy(geometry, criterion, budget, r, spread, pins, outs):
    """The optimum of the same problem, its constraints written from the definition, in labels pi."""
    import cvxpy as cp

    z = geometry.vectors(np.arange(geometry.pairs)).numpy()
    owner = geometry.prompt_of(np.arange(geometry.pairs))
    rows = (owner[None, :] == np.arange(geometry.prompts)[:, None]).astype(float)
    free = np.ones(geometry.pairs)
    free[outs] = 0
    pi = cp.Variable(geometry.pairs, nonneg=True)
    limits = [cp.sum(pi) == budget]
    limits += [pi[outs] == 0] if outs else []
    if math.isfinite(r):
        limits += [pi <= r]
        limits += [pi[pins] == r] if pins else []
    capacity = rows @ free * (r if math.isfinite(r) else budget)
    pinned = rows[:, pins].sum(1) * r if pins else np.zeros(geometry.prompts)
    if spread == "balanced":
        limits += [
            rows @ pi == totals_by_bisection(geometry.prompt_weights, pinned, np.maximum(capacity, pinned), budget)
        ]
    if spread == "capped":
        tau = float(budget)
        while True:
            caps = np.maximum(
                np.minimum(np.maximum(np.ceil(tau * geometry.prompt_weights - 1e-9), 1), capacity), pinned
            )
            if caps.sum() >= budget - 1e-9:
                break
            tau *= 1.1
        limits += [rows @ pi <= caps]
    S = sum_of_outer(z, pi / budget) + criterion.prior.numpy()
    goal = cp.Problem(cp.Minimize(cp.matrix_frac(criterion.root.numpy(), S)), limits)
    goal.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert goal.status in ("optimal", "optimal_inaccurate"), goal.status
    return goal.value


def sum_of_outer(z, weights):
    import cvxpy as cp

    return z.T @ cp.diag(weights) @ z


INSTANCES = [
    (seed, spread, r, constrained)
    for seed in range(8)
    for spread in ("free", "balanced", "capped")
    for r, constrained in ((1.0, False), (2.0, True), (math.inf, False))
]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "spread", "r", "constrained"), INSTANCES)
def test_the_objective_equals_the_conic_solvers(seed, spread, r, constrained):
    geometry = graph(seed, prompts=5, dim=3, largest=5)
    rng = np.random.default_rng(1000 + seed)
    pins, outs = ([1], [geometry.pairs - 1]) if constrained else ([], [])
    top = int((geometry.pairs - len(outs)) * (r if math.isfinite(r) else 2))
    budget = int(rng.integers(2 + len(pins) * 2, max(4 + len(pins) * 2, top)))
    criterion = make_criterion(geometry, fisher_of(geometry), ridge=float(10 ** rng.uniform(-2, 1)))
    feasible = make_feasible(geometry, budget=budget, max_labels_per_pair=r, spread=spread, pinned=pins, excluded=outs)
    design = newton(criterion, feasible, tol=1e-8)
    best = best_by_cvxpy(geometry, criterion, budget, r, spread, pins, outs)
    assert design.certificate.objective == pytest.approx(best, rel=1e-6)
    assert design.certificate.lower_bound <= best * (1 + 1e-7)
    pi = design.weights.numpy() * budget
    assert pi.sum() == pytest.approx(budget)
    assert pi.min() >= -1e-12
    assert np.all(pi[outs] == 0)
    assert np.all(pi[pins] == pytest.approx(r))
    if math.isfinite(r):
        assert pi.max() <= r + 1e-9


@pytest.mark.parametrize("spread", ["free", "balanced", "capped"])
@pytest.mark.parametrize("ridge", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("shape", ["pairs only", "all pairs bought", "one prompt", "duplicates", "flat"])
def test_edge_cases_end_with_a_certificate(spread, ridge, shape):
    rng = np.random.default_rng(0)
    sizes, dim, budget, r = [4, 6, 3, 5, 7, 4], 5, 6, 1.0
    if shape == "pairs only":
        sizes, budget = [2] * 30, 12
    if shape == "one prompt":
        sizes, budget = [9], 8
    rows = rng.standard_normal((sum(sizes), dim))
    if shape == "duplicates":
        rows[1], rows[5], rows[6] = rows[0], rows[4], rows[4]
    if shape == "flat":
        rows[:, 2:] = 0.0  # rank 2 in five dimensions
    geometry = Geometry(rows, np.concatenate([[0], np.cumsum(sizes)]))
    if shape == "all pairs bought":
        budget = geometry.pairs
    criterion = make_criterion(geometry, fisher_of(geometry), ridge=ridge)
    feasible = make_feasible(geometry, budget=budget, max_labels_per_pair=r, spread=spread)
    design = newton(criterion, feasible, tol=1e-4)
    assert design.stopped == "certificate", design.certificate
    assert certify(criterion, feasible, design.weights).gap <= 1e-4


@pytest.mark.slow
def test_frank_wolfe_agrees_and_needs_many_more_passes():
    geometry, criterion = problem(60, 8, 12, ridge=0.06)
    feasible = make_feasible(geometry, budget=50, max_labels_per_pair=math.inf, spread="free")
    ours, theirs = newton(criterion, feasible, tol=1e-6), frank_wolfe(criterion, feasible, tol=1e-2)
    assert theirs.certificate.objective == pytest.approx(ours.certificate.objective, rel=2e-2)
    assert theirs.certificate.objective >= ours.certificate.lower_bound
    assert theirs.passes > 5 * ours.passes


def test_a_solver_that_stops_early_says_so():
    geometry, criterion = problem(40, 8, 12, ridge=0.06)
    feasible = make_feasible(geometry, budget=20, spread="free")
    assert frank_wolfe(criterion, feasible, tol=1e-9, max_passes=3).stopped == "passes"
    assert newton(criterion, feasible, tol=1e-6, max_passes=10).stopped in ("passes", "certificate")
    assert newton(criterion, feasible, tol=1e-6, max_seconds=0.0).stopped == "time"


def test_prices_split_chosen_from_left_out():
    geometry = graph(9, prompts=20, dim=6)
    criterion = make_criterion(geometry, fisher_of(geometry), ridge=0.1)
    feasible = make_feasible(geometry, budget=12, spread="balanced")
    design = newton(criterion, feasible, tol=1e-9)
    from curation.design.sets.thresholds import multipliers_at

    q = geometry.quadratic(criterion.at(geometry.information(design.weights)).root)
    threshold = multipliers_at(feasible, design.weights, q).threshold(feasible)
    out = design.weights == 0
    assert bool((q[out] <= threshold[out] * (1 + 1e-3)).all())


@pytest.mark.slow
def test_generator_g_reaches_its_tolerances_in_few_passes():
    geometry, criterion = problem(805, 19, 128, ridge=0.06)
    assert geometry.pairs == 137_655
    simplex = newton(
        criterion, make_feasible(geometry, budget=500, max_labels_per_pair=math.inf, spread="free"), tol=1e-6
    )
    assert simplex.certificate.gap <= 1e-6
    assert simplex.passes <= 20
    balanced = newton(criterion, make_feasible(geometry, budget=500, spread="balanced"), tol=1e-4)
    assert balanced.certificate.open <= 1e-4
    assert balanced.passes <= 20
