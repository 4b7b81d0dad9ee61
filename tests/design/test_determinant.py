"""Truths of D-optimality: derivatives, the bound, cvxpy's optimum, and the equivalence theorem of Kiefer and Wolfowitz."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from curation.design.certificate import certify, lower_bound
from curation.design.criteria.determinant import Determinant
from curation.design.geometry import Geometry
from curation.design.sets.make import make_feasible
from curation.design.solvers.frank_wolfe import frank_wolfe
from curation.design.solvers.newton import newton
from curation.errors import DesignError
from tests.desk.builders import explicit_vectors, random_fisher, random_geometry
from tests.desk.derivatives import assert_derivatives


def of(geometry: Geometry, ridge: float = 0.05) -> Determinant:
    return Determinant(random_fisher(1, geometry.dim), ridge * torch.eye(geometry.dim, dtype=torch.float64))


def explicit(criterion: Determinant, z: np.ndarray, w: np.ndarray) -> float:
    S = z.T @ (z * w[:, None]) + criterion.prior.numpy()
    return float(np.linalg.det(S) ** (-1 / len(S)))


@pytest.mark.parametrize("seed", range(3))
def test_value_gradient_and_hessian_are_those_of_the_determinant(seed: int) -> None:
    geometry = random_geometry(seed, prompts=3, largest=5)
    assert_derivatives(of(geometry), explicit, geometry, seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_is_never_above_what_can_be_reached(seed: int) -> None:
    geometry = random_geometry(seed, prompts=4, largest=5)
    criterion, rng = of(geometry), np.random.default_rng(seed)
    feasible = make_feasible(geometry, budget=1, max_labels_per_pair=math.inf, spread="free")
    best = newton(criterion, feasible, tol=1e-9).certificate.objective
    for w in rng.dirichlet(np.full(geometry.pairs, 0.2), size=20):
        information = geometry.information(torch.as_tensor(w))
        q = geometry.quadratic(criterion.at(information).root).numpy()
        f = criterion.value(information)
        assert f >= best * (1 - 1e-9)
        assert lower_bound(f, float(q.max() - q @ w)) <= best * (1 + 1e-9)


@pytest.mark.parametrize("spread", ["free", "capped", "balanced"])
def test_the_optimum_is_that_of_cvxpy(spread: Any) -> None:
    cp = pytest.importorskip("cvxpy")
    geometry = random_geometry(7, prompts=5, largest=4)
    criterion, z = of(geometry), explicit_vectors(geometry)
    feasible = make_feasible(geometry, budget=7, max_labels_per_pair=1, spread=spread)
    found = newton(criterion, feasible, tol=1e-9)
    w = cp.Variable(geometry.pairs, nonneg=True)
    rules = [w <= feasible.upper, cp.sum(w) == 1]
    owner = np.repeat(np.arange(geometry.prompts), geometry.pair_counts)
    totals = feasible.totals.numpy()
    for x in range(geometry.prompts) if spread != "free" else ():
        inside = cp.sum(w[np.flatnonzero(owner == x)])
        rules.append(inside == totals[x] if spread == "balanced" else inside <= totals[x])
    S = z.T @ cp.diag(w) @ z + criterion.prior.numpy()
    problem = cp.Problem(cp.Maximize(cp.log_det(S)), rules)
    problem.solve(solver="CLARABEL")
    assert found.certificate.objective == pytest.approx(math.exp(-problem.value / geometry.dim), rel=1e-6)
    assert certify(criterion, feasible, found.weights).gap <= 1e-6


def test_without_a_prior_no_leverage_is_above_the_dimension() -> None:
    geometry = random_geometry(3, prompts=8, largest=5)
    criterion = of(geometry, 1e-10)
    feasible = make_feasible(geometry, budget=1, max_labels_per_pair=math.inf, spread="free")
    found = newton(criterion, feasible, tol=1e-10)
    S = geometry.information(found.weights).numpy()
    z = explicit_vectors(geometry)
    leverage = np.einsum("ed,df,ef->e", z, np.linalg.inv(S), z)
    assert leverage.max() == pytest.approx(geometry.dim, rel=1e-4)
    assert (leverage[found.weights.numpy() > 1e-4] > geometry.dim * 0.999).all()


def test_frank_wolfe_takes_it_too_and_a_singular_matrix_is_refused() -> None:
    geometry = random_geometry(2, prompts=4, largest=4)
    feasible = make_feasible(geometry, budget=1, max_labels_per_pair=math.inf, spread="free")
    best = newton(of(geometry), feasible, tol=1e-8).certificate
    slow = frank_wolfe(of(geometry), feasible, tol=1e-2, max_passes=3000).certificate
    assert best.objective <= slow.objective <= best.objective * 1.02
    with pytest.raises(DesignError, match="singular"):
        of(geometry, 0.0).value(torch.zeros(geometry.dim, geometry.dim, dtype=torch.float64))
