"""The certificate: never above the truth, recomputable from the design alone, and honest about what is open."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from curation.design.certificate import Certificate, certify, lower_bound
from curation.design.criteria.base import Criterion
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.result import Design
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise
from curation.design.sets.make import make_feasible
from curation.design.sets.uniform import uniform_design
from curation.design.solvers.frank_wolfe import _line_search, corrective_start, frank_wolfe
from curation.design.solvers.newton import newton
from tests.desk.builders import (
    assert_feasible,
    best_linear,
    conic_optimum,
    explicit_vectors,
    random_case,
    random_fisher,
)

SPREADS = ("free", "balanced", "capped")


def random_design(case, seed: int) -> torch.Tensor:
    """Some feasible design, neither uniform nor good: a mix of random vertices."""
    rng = np.random.default_rng(seed)
    weights = torch.zeros(case.geometry.pairs).double()
    for share in rng.dirichlet(np.ones(3)).tolist():
        pairs, amounts, _ = maximise(case.feasible, torch.as_tensor(rng.random(case.geometry.pairs)))
        weights += share * case.feasible.pinned_weights().index_add(0, pairs, amounts)
    return weights


@pytest.mark.parametrize("r", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("spread", SPREADS)
def test_the_bound_of_any_design_is_below_the_optimum_and_tighter_than_f_minus_g(spread, r):
    case = random_case(20, spread, r, prompts=4, dim=3, largest=6, ridge=0.1)
    best = conic_optimum(case)
    for seed in range(12):
        weights = random_design(case, seed)
        assert_feasible(case, weights.numpy())
        found = certify(case.criterion, case.feasible, weights)
        assert 0 < found.lower_bound <= best * (1 + 1e-7)
        assert found.objective >= best * (1 - 1e-7)
        excess = found.objective**2 / found.lower_bound - found.objective
        assert found.lower_bound >= found.objective - excess - 1e-12


@pytest.mark.parametrize("r", [1.0, 3.0, math.inf])
@pytest.mark.parametrize("spread", SPREADS)
def test_the_certificate_is_what_plain_linear_algebra_and_a_linear_program_give(spread, r):
    case = random_case(21, spread, r, prompts=5, ridge=0.2)
    weights = random_design(case, 0)
    z, M, prior = explicit_vectors(case.geometry), case.criterion.fisher.numpy(), case.criterion.prior.numpy()
    inverse = np.linalg.inv(z.T @ (z * weights.numpy()[:, None]) + prior)
    q = (z @ (inverse @ M @ inverse) * z).sum(1)
    f = np.trace(M @ inverse)
    uniform = uniform_design(case.feasible).numpy()
    expected = f * f / (f + best_linear(case, q) - q @ weights.numpy())
    found = certify(case.criterion, case.feasible, weights)
    assert found.objective == pytest.approx(f)
    assert found.lower_bound == pytest.approx(expected)
    assert found.uniform == pytest.approx(np.trace(M @ np.linalg.inv(z.T @ (z * uniform[:, None]) + prior)))


@pytest.mark.parametrize("solver", [newton, frank_wolfe])
@pytest.mark.parametrize("spread", SPREADS)
def test_what_a_solver_reports_is_recomputed_from_its_weights(spread, solver):
    case = random_case(22, spread, 1.0, prompts=10, ridge=0.5)
    design = solver(case.criterion, case.feasible, tol=1e-3)
    assert_feasible(case, design.weights.numpy())
    again = certify(case.criterion, case.feasible, design.weights)
    assert design.certificate.objective == pytest.approx(again.objective, rel=1e-12)
    assert design.certificate.lower_bound >= again.lower_bound * (1 - 1e-12)
    optimum = newton(case.criterion, case.feasible, tol=1e-9).certificate.objective
    assert design.certificate.lower_bound <= optimum * (1 + 1e-9)


def test_gap_and_open_by_hand():
    found = Certificate(objective=4.0, lower_bound=3.0, uniform=7.0)
    assert found.gap == pytest.approx(0.25)
    assert found.open == pytest.approx(0.25)
    assert found.holds(0.25)
    assert not found.holds(0.2499)
    assert not Certificate(objective=4.0, lower_bound=3.96, uniform=4.1).holds(0.1)  # gap 1 %, open 29 %
    assert lower_bound(4.0, 1.0) == pytest.approx(16 / 5)
    assert lower_bound(4.0, -1e-18) == 4.0


def test_uniform_leaves_everything_open_and_the_optimum_nothing():
    case = random_case(23, "free", 1.0, prompts=8, ridge=0.1)
    assert certify(case.criterion, case.feasible, uniform_design(case.feasible)).open == pytest.approx(1.0)
    assert newton(case.criterion, case.feasible, tol=1e-8).certificate.open <= 1e-8


def test_where_there_is_nothing_to_choose_the_gap_is_zero():
    case = random_case(24, "balanced", 1.0, prompts=3, pins=False, outs=False)
    feasible = make_feasible(case.geometry, budget=case.geometry.pairs, spread="balanced")
    found = certify(case.criterion, feasible, uniform_design(feasible))
    assert found.gap == pytest.approx(0.0, abs=1e-12)
    assert found.holds(1e-9)


def yardstick(*, r: float, spread: Any) -> tuple[Criterion, Feasible]:
    rows = np.random.default_rng(0).standard_normal((40 * 6, 8)) * np.arange(1, 9) ** -0.7
    geometry = Geometry(rows, np.arange(41) * 6)
    criterion = make_criterion(geometry, random_fisher(3, 8), ridge=0.1)
    return criterion, make_feasible(geometry, budget=50, max_labels_per_pair=r, spread=spread)


def assert_never_rising(design: Design) -> None:
    objectives = [step.objective for step in design.trace]
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(objectives))


@pytest.mark.parametrize(("spread", "r"), [("free", 1.0), ("balanced", 1.0), ("capped", 1.0), ("capped", math.inf)])
def test_frank_wolfe_ends_at_the_same_objective_in_more_passes(spread, r):
    problem = yardstick(r=r, spread=spread)
    ours, theirs = newton(*problem, tol=1e-3), frank_wolfe(*problem, tol=1e-3)
    assert ours.stopped == theirs.stopped == "certificate"
    assert ours.certificate.objective == pytest.approx(theirs.certificate.objective, rel=2e-3)
    assert theirs.passes > 2 * ours.passes
    assert (ours.solver, theirs.solver) == ("newton", "frank-wolfe")
    assert_never_rising(theirs)


def test_on_the_simplex_frank_wolfe_is_still_far_off_when_newton_is_long_done():
    problem = yardstick(r=math.inf, spread="free")
    ours, theirs = newton(*problem, tol=1e-6), frank_wolfe(*problem, tol=1e-3, max_passes=500)
    assert ours.stopped == "certificate"
    assert ours.passes < 25
    assert theirs.stopped == "passes"
    assert theirs.certificate.objective == pytest.approx(ours.certificate.objective, rel=5e-2)
    assert theirs.certificate.objective > ours.certificate.objective * (1 + 1e-3)
    assert theirs.certificate.lower_bound <= ours.certificate.objective * (1 + 1e-9)
    assert_never_rising(theirs)


@pytest.mark.parametrize("seed", range(6))
def test_the_line_search_finds_the_lowest_point_of_its_segment(seed):
    case = random_case(seed, "free", 1.0, ridge=0.01, pins=False, outs=False)
    here = case.geometry.information(random_design(case, seed))
    pairs, amounts, _ = maximise(case.feasible, case.geometry.quadratic(case.criterion.at(here).root))
    change = case.geometry.information_of(pairs, amounts) - here
    step = _line_search(case.criterion, here, change)
    lowest = minimize_scalar(lambda t: case.criterion.value(here + t * change), bounds=(0, 1), method="bounded")
    assert 0 <= step <= 1
    assert case.criterion.value(here + step * change) <= lowest.fun * (1 + 1e-12)


@pytest.mark.parametrize("spread", SPREADS)
def test_the_corrective_start_is_feasible_and_no_worse_than_its_first_vertex(spread):
    case = random_case(25, spread, 2.0, prompts=10, ridge=0.1)
    weights, passes = corrective_start(case.criterion, case.feasible, vertices=6)
    assert passes <= 6  # fewer where the gap is closed
    assert_feasible(case, weights.numpy())
    first, _ = corrective_start(case.criterion, case.feasible, vertices=1)
    values = [case.criterion.value(case.geometry.information(w)) for w in (weights, first)]
    assert values[0] <= values[1] * (1 + 1e-12)


@pytest.mark.parametrize(
    ("solver", "limits", "reason"),
    [
        (newton, {"max_passes": 1}, "passes"),
        (newton, {"max_seconds": 0.0}, "time"),
        (frank_wolfe, {"max_passes": 2}, "passes"),
        (frank_wolfe, {"max_seconds": 0.0}, "time"),
    ],
)
def test_a_design_that_stops_early_says_so_and_shows_what_is_open(solver, limits, reason):
    case = random_case(26, "free", 1.0, prompts=40, dim=8, ridge=0.02, pins=False, outs=False, budget=25)
    design = solver(case.criterion, case.feasible, tol=1e-9, **limits)
    assert design.stopped == reason
    assert design.certificate.open > 1e-9
    assert_feasible(case, design.weights.numpy())
