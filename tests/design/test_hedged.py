"""Truths of two criteria hedged: derivatives, the bound, and the optimum against cvxpy and brute force."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from curation.design.certificate import certify, lower_bound
from curation.design.criteria.hedged import Hedged
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.sets.make import make_feasible
from curation.design.solvers.frank_wolfe import frank_wolfe
from curation.design.solvers.newton import newton
from curation.errors import DesignError
from tests.desk.builders import explicit_vectors, random_case, random_fisher, random_geometry
from tests.desk.derivatives import assert_derivatives


def hedge(geometry: Geometry, seed: int, share: float = 0.3) -> Hedged:
    """A light ridge and a heavy one, and two Fisher matrices."""
    return Hedged(
        make_criterion(geometry, random_fisher(seed, geometry.dim), ridge=0.05),
        make_criterion(geometry, random_fisher(seed + 100, geometry.dim), ridge=3.0),
        share,
    )


def explicit(criterion: Hedged, z: np.ndarray, w: np.ndarray) -> float:
    parts = [
        np.trace(part.fisher.numpy() @ np.linalg.inv(z.T @ (z * w[:, None]) + part.prior.numpy()))
        for part in (criterion.first, criterion.second)
    ]
    return float(parts[0] ** criterion.share * parts[1] ** (1 - criterion.share))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_value_gradient_and_hessian_are_those_of_the_geometric_mean(seed, share):
    geometry = random_geometry(seed, prompts=3, largest=5)
    assert_derivatives(hedge(geometry, seed, share), explicit, geometry, seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_the_inverse_is_concave_along_every_segment_and_the_bound_never_above_what_can_be_reached(seed):
    geometry = random_geometry(seed, prompts=4, largest=5)
    criterion, rng = hedge(geometry, seed), np.random.default_rng(seed)
    ends = rng.dirichlet(np.full(geometry.pairs, 0.2), size=40)
    values = [criterion.value(geometry.information(torch.as_tensor(w))) for w in ends]
    feasible = make_feasible(geometry, budget=1, max_labels_per_pair=math.inf, spread="free")
    best = newton(criterion, feasible, tol=1e-9).certificate.objective
    for k in range(0, 40, 2):
        middle = criterion.value(geometry.information(torch.as_tensor((ends[k] + ends[k + 1]) / 2)))
        assert 1 / middle >= (1 / values[k] + 1 / values[k + 1]) / 2 * (1 - 1e-12)
        q = geometry.quadratic(criterion.at(geometry.information(torch.as_tensor(ends[k]))).root).numpy()
        assert lower_bound(values[k], float(q.max() - q @ ends[k])) <= best * (1 + 1e-9)
    assert best <= min(values)


def conic(criterion: Hedged, z: np.ndarray, budget: int, r: float) -> float:
    """The best f by cvxpy: the largest geometric mean of t_i with t_i tr(M_i S_i^-1) <= 1, by s_i = 1/t_i."""
    import cvxpy as cp

    pi = cp.Variable(len(z), nonneg=True)
    logs = []
    for part in (criterion.first, criterion.second):
        S = z.T @ cp.diag(pi / budget) @ z + part.prior.numpy()
        logs.append((S, np.linalg.cholesky(part.fisher.numpy())))
    # f1^a f2^b = min over c > 0 of a c f1 + b c^(-a/b) f2: for fixed c a conic program, c by golden section on log c
    a, b = criterion.share, 1 - criterion.share
    c = cp.Parameter(nonneg=True)
    d = cp.Parameter(nonneg=True)
    goal = a * c * cp.matrix_frac(logs[0][1], logs[0][0]) + b * d * cp.matrix_frac(logs[1][1], logs[1][0])
    limits = [cp.sum(pi) == budget] + ([pi <= r] if math.isfinite(r) else [])
    problem = cp.Problem(cp.Minimize(goal), limits)

    def best(log: float) -> float:
        c.value, d.value = math.exp(log), math.exp(-log * a / b)
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
        return float(problem.value)

    low, high, ratio = -4.0, 4.0, (math.sqrt(5) - 1) / 2
    for _ in range(40):
        x, y = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, y) if best(x) < best(y) else (x, high)
    return best((low + high) / 2)


@pytest.mark.parametrize(("seed", "r"), [(0, math.inf), (1, 1.0)])
def test_the_solver_reaches_the_conic_optimum_of_the_geometric_mean(seed, r):
    geometry = random_geometry(seed, prompts=3, dim=3, largest=4)
    criterion = hedge(geometry, seed, 0.4)
    feasible = make_feasible(geometry, budget=3, max_labels_per_pair=r, spread="free")
    design = newton(criterion, feasible, tol=1e-9)
    assert design.certificate.objective == pytest.approx(conic(criterion, explicit_vectors(geometry), 3, r), rel=1e-6)
    assert design.certificate.gap <= 1e-9


@pytest.mark.parametrize("spread", ["free", "balanced", "capped"])
@pytest.mark.parametrize("seed", range(3))
def test_newton_and_frank_wolfe_agree_under_every_spread_and_the_certificate_holds(seed, spread):
    case = random_case(seed, spread, 1.0)
    criterion = hedge(case.geometry, seed)
    design = newton(criterion, case.feasible, tol=1e-8)
    assert design.certificate.gap <= 1e-8
    assert design.stopped == "certificate"
    rough = frank_wolfe(criterion, replace(case.feasible), tol=1e-3, max_passes=500)
    assert design.certificate.objective <= rough.certificate.objective * (1 + 1e-12)
    assert certify(criterion, case.feasible, rough.weights).lower_bound <= design.certificate.objective * (1 + 1e-12)


def test_one_criterion_hedged_with_itself_is_itself_and_the_hedge_lies_between():
    case = random_case(4, "free", 1.0)
    same = Hedged(case.criterion, case.criterion, 0.3)
    alone = newton(case.criterion, case.feasible, tol=1e-9)
    assert newton(same, case.feasible, tol=1e-9).certificate.objective == pytest.approx(
        alone.certificate.objective, rel=1e-8
    )
    criterion = hedge(case.geometry, 4, 0.5)
    weights = newton(criterion, case.feasible, tol=1e-9).weights
    for part in (criterion.first, criterion.second):
        best = newton(part, case.feasible, tol=1e-9)
        other = newton(criterion.second if part is criterion.first else criterion.first, case.feasible, tol=1e-9)
        here = part.value(case.geometry.information(weights))
        assert best.certificate.objective <= here * (1 + 1e-9)
        assert here <= part.value(case.geometry.information(other.weights)) * (1 + 1e-9)


def test_what_cannot_be_hedged_is_refused():
    geometry, smaller = random_geometry(0), random_geometry(0, dim=3)
    one, two = hedge(geometry, 0).first, hedge(smaller, 0).first
    with pytest.raises(DesignError, match="hedges nothing"):
        Hedged(one, one, 1.0)
    with pytest.raises(DesignError, match="4 and 3 dimensions"):
        Hedged(one, two)
