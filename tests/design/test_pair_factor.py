"""Truths of labels that are not worth alike: every pass, solver and figure under factors equals its definition."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from curation.design import geometry as module
from curation.design.certificate import certify
from curation.design.criteria.trace import make_criterion
from curation.design.factors import ATTENUATION, graded_information, nuisance_variance, pair_factor
from curation.design.geometry import Geometry
from curation.design.rules import farthest
from curation.design.rules.base import Problem
from curation.design.rules.greedy import Fall
from curation.design.rules.one_by_one import sequential
from curation.design.selection.swaps import exact
from curation.design.sets.make import make_feasible
from curation.design.solvers.frank_wolfe import frank_wolfe
from curation.design.solvers.newton import newton
from curation.errors import DesignError
from curation.insight.coverage import coverage
from curation.insight.explain import best_replacement, explain
from tests.desk.builders import (
    Case,
    bounds_of,
    explicit_vectors,
    membership,
    random_case,
    random_fisher,
    random_geometry,
)
from tests.desk.designs import Largest


def factors_of(geometry: Geometry, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 9]).uniform(0.1, 1.5, size=geometry.pairs)


def with_factors(case: Case, seed: int) -> tuple[Case, np.ndarray]:
    """The case with random factors, and its effective vectors (pairs, d)."""
    factor = factors_of(case.geometry, seed)
    geometry = case.geometry.with_factor(factor)
    criterion = make_criterion(geometry, case.criterion.fisher, ridge=0.1)
    feasible = replace(case.feasible, geometry=geometry)
    z = explicit_vectors(geometry) * np.sqrt(factor)[:, None]
    return replace(case, geometry=geometry, criterion=criterion, feasible=feasible), z


@pytest.mark.parametrize("listed", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_every_pass_with_factors_equals_its_explicit_sum(seed, listed):
    raw = random_geometry(seed, listed=listed)
    factor, z = factors_of(raw, seed), explicit_vectors(raw)
    geometry, rng, everything = raw.with_factor(factor), np.random.default_rng(seed), torch.arange(raw.pairs)
    root, weights = rng.standard_normal((4, 3)), rng.random(raw.pairs)
    scaled = z * np.sqrt(factor)[:, None]
    assert geometry.vectors(everything).numpy() == pytest.approx(scaled, abs=1e-12)
    assert geometry.vectors(everything.numpy()).numpy() == pytest.approx(scaled, abs=1e-12)
    assert geometry.differences(everything).numpy() == pytest.approx(z, abs=1e-12)
    expected = factor * ((z @ root) ** 2).sum(1)
    assert geometry.quadratic(torch.as_tensor(root)).numpy() == pytest.approx(expected, abs=1e-10)
    assert geometry.quadratic(torch.as_tensor(root), single=True).numpy() == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert geometry.linear(torch.as_tensor(root[:, 0])).numpy() == pytest.approx(scaled @ root[:, 0], abs=1e-10)
    total = z.T @ (z * (weights * factor)[:, None])
    assert geometry.information(torch.as_tensor(weights)).numpy() == pytest.approx(total)
    assert geometry._laplacian_information(torch.as_tensor(weights)).numpy() == pytest.approx(total)
    assert geometry.information_of(everything, torch.as_tensor(weights)).numpy() == pytest.approx(total)
    assert geometry.uniform_information().numpy() == pytest.approx(scaled.T @ scaled / len(z))
    assert geometry.plain.quadratic(torch.as_tensor(root)).numpy() == pytest.approx(expected / factor, abs=1e-10)
    value = torch.as_tensor(rng.random(len(raw.features)))
    assert torch.equal(geometry.difference(value), raw.difference(value))


def test_a_factor_given_at_birth_or_later_is_the_same_and_the_first_graph_is_untouched():
    raw = random_geometry(0, listed=0)
    factor = factors_of(raw, 0)
    born = Geometry(raw.features, raw.offsets, factor=factor)
    root = random_fisher(0, 4)
    before = raw.quadratic(root)
    later = raw.with_factor(factor)
    assert torch.equal(born.quadratic(root), later.quadratic(root))
    assert torch.equal(raw.quadratic(root), before)
    assert later.features is raw.features
    assert later.with_factor(None).factor is None


@pytest.mark.parametrize("seed", range(4))
def test_minus_q_with_factors_is_the_gradient(seed):
    geometry = random_geometry(seed, prompts=3, largest=5)
    geometry = geometry.with_factor(factors_of(geometry, seed))
    criterion = make_criterion(geometry, random_fisher(seed, 4), ridge=0.2)
    weights = torch.as_tensor(np.random.default_rng(seed).dirichlet(np.full(geometry.pairs, 3.0)))
    q = geometry.quadratic(criterion.at(geometry.information(weights)).root)
    for pair in range(geometry.pairs):
        step = torch.zeros_like(weights)
        step[pair] = 1e-5
        up, down = (criterion.value(geometry.information(weights + sign * step)) for sign in (1, -1))
        assert (up - down) / 2e-5 == pytest.approx(-float(q[pair]), rel=1e-5)


def conic(case: Case, z: np.ndarray) -> float:
    """The best f by cvxpy, over vectors that hold the factors."""
    import cvxpy as cp

    limits, of = bounds_of(case), membership(case.geometry)
    pi = cp.Variable(case.geometry.pairs)
    wanted = [pi >= limits.low, pi <= limits.high]
    wanted += [cp.sum(pi) == case.budget] if limits.totals is None else [of @ pi == limits.totals]
    wanted += [] if limits.caps is None else [of @ pi <= limits.caps]
    scale = np.trace(z.T @ z / len(z)) / case.geometry.dim
    S = z.T @ cp.diag(pi / case.budget) @ z + 0.1 * scale * np.eye(case.geometry.dim)
    goal = cp.Problem(cp.Minimize(cp.matrix_frac(np.linalg.cholesky(case.criterion.fisher.numpy()), S)), wanted)
    goal.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(goal.value)


@pytest.mark.parametrize("spread", ["free", "balanced", "capped"])
@pytest.mark.parametrize("r", [1.0, math.inf])
@pytest.mark.parametrize("seed", range(4))
def test_the_solver_reaches_the_conic_optimum_with_factors_and_its_certificate_holds(seed, spread, r):
    case, z = with_factors(random_case(seed, spread, r), seed)
    best = conic(case, z)
    design = newton(case.criterion, case.feasible, tol=1e-8)
    assert design.certificate.objective == pytest.approx(best, rel=1e-6)
    assert design.certificate.lower_bound <= best * (1 + 1e-7)
    assert design.certificate.gap <= 1e-6
    rough = frank_wolfe(case.criterion, case.feasible, tol=1e-2, max_passes=400)
    assert certify(case.criterion, case.feasible, rough.weights).lower_bound <= best * (1 + 1e-7)
    assert rough.certificate.gap <= 5e-2


def test_passes_in_float32_end_at_the_same_design():
    case, _ = with_factors(random_case(1, "balanced", 1.0, prompts=12), 1)
    double = newton(case.criterion, case.feasible, tol=1e-7)
    case.geometry.single = True
    single = newton(case.criterion, replace(case.feasible), tol=1e-7)
    assert single.certificate.objective == pytest.approx(double.certificate.objective, rel=1e-6)
    assert single.certificate.gap <= 1e-7


def test_a_factor_alike_for_all_changes_no_design():
    case = random_case(2, "capped", 1.0)
    geometry = case.geometry.with_factor(np.full(case.geometry.pairs, 0.25))
    criterion = make_criterion(geometry, case.criterion.fisher, ridge=0.1)
    one = newton(case.criterion, case.feasible, tol=1e-9).certificate.objective
    other = newton(criterion, replace(case.feasible, geometry=geometry), tol=1e-9).certificate.objective
    assert other == pytest.approx(4 * one, rel=1e-8)


@pytest.mark.parametrize("solver", [newton, frank_wolfe])
def test_no_array_of_pairs_by_dimensions_is_ever_made_with_factors(solver, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 50_000)
    rng = np.random.default_rng(0)
    geometry = Geometry(rng.standard_normal((40 * 40, 24)) * np.arange(1, 25) ** -0.7, np.arange(41) * 40)
    with Largest() as largest:
        factor = pair_factor(
            geometry, theta=rng.standard_normal(24), nuisance=rng.standard_normal((1600, 3)), tau2=0.5,
            thresholds=(-1.0, 0.0, 1.0),
        )  # fmt: skip
        weighed = geometry.with_factor(factor)
        criterion = make_criterion(weighed, random_fisher(0, 24), ridge=0.1)
        solver(criterion, make_feasible(weighed, budget=60, spread="capped"), tol=1e-3, max_passes=40)
    assert geometry.pairs <= largest.entries < geometry.pairs * geometry.dim / 3


@pytest.mark.parametrize("seed", range(3))
def test_prices_and_replacements_with_factors_equal_a_refit(seed):
    case, z = with_factors(random_case(seed, "free", 1.0, pins=False, outs=False, budget=12), seed)
    design = newton(case.criterion, case.feasible, tol=1e-6)
    batch = exact(case.criterion, case.feasible, design.weights)
    n, prior = case.feasible.labels, case.criterion.prior.numpy()

    def value(pairs: list[int]) -> float:
        S = z[pairs].T @ z[pairs] / n + prior
        return float(np.trace(case.criterion.fisher.numpy() @ np.linalg.inv(S)))

    chosen = batch.pairs.tolist()
    information = case.geometry.information_of(torch.as_tensor(batch.pairs), torch.full((12,), 1 / n).double())
    told = explain(case.criterion, case.feasible, design, information, batch.pairs)
    whole = value(chosen)
    assert whole == pytest.approx(case.criterion.value(information))
    for m, pair in enumerate(chosen):
        assert told.drop_cost[m] == pytest.approx(value([p for p in chosen if p != pair]) / whole - 1)
    raw = explicit_vectors(case.geometry)
    assert told.feature_distance == pytest.approx(np.linalg.norm(raw[chosen], axis=1))
    other = best_replacement(case.criterion, case.feasible, information, batch.pairs, chosen[0])
    assert other is not None
    left = chosen[1:]
    tried = {p: value([*left, p]) for p in range(case.geometry.pairs) if p not in chosen}
    assert tried[other.pair] == pytest.approx(min(tried.values()))
    assert other.net == pytest.approx(tried[other.pair] / whole - 1)
    swaps = [value([*(p for p in chosen if p != out), into]) for out in chosen for into in tried]
    assert min(swaps) >= whole * (1 - 1e-6)  # no exchange is left


def test_one_by_one_picks_with_factors_are_the_best_next_label_each():
    case, z = with_factors(random_case(3, "free", 1.0, pins=False, outs=False, budget=6), 3)
    n, M = case.feasible.labels, case.criterion.fisher.numpy()
    S, picked = case.criterion.prior.numpy(), []
    for _ in range(6):
        tried = [
            math.inf if e in picked else float(np.trace(M @ np.linalg.inv(S + np.outer(v, v) / n)))
            for e, v in enumerate(z)
        ]
        picked.append(int(np.argmin(tried)))
        S = S + np.outer(z[picked[-1]], z[picked[-1]]) / n
    found = sequential(case.criterion, case.feasible, Fall)
    assert found.pairs.tolist() == sorted(picked)


def test_ceilings_count_factors_and_the_farthest_rule_does_not():
    case, z = with_factors(random_case(4, "free", 1.0, pins=False, outs=False, budget=5), 4)
    design = newton(case.criterion, case.feasible, tol=1e-6)
    information = case.geometry.information(design.weights)
    told = coverage(case.criterion, case.feasible, information, information)
    top = np.linalg.eigh(case.criterion.fisher.numpy())[1][:, -1]
    assert told.ceiling[0] == pytest.approx(np.sort((z @ top) ** 2)[-5:].sum() / 5)
    p = np.ones(len(case.geometry.features))
    far = farthest.weights(Problem(case.criterion, case.feasible, p))
    plain = replace(case.feasible, geometry=case.geometry.plain)
    assert torch.equal(far, farthest.weights(Problem(case.criterion, plain, p)))


def label_information(eta: float, s2: float, thresholds: tuple[float, ...]) -> float:
    """sum_k p_k'^2 / p_k with p_k averaged over a normal effect of variance s2, by quadrature and differences."""
    nodes, mass = np.polynomial.hermite_e.hermegauss(200)
    mass = mass / mass.sum()

    def chances(at: float) -> np.ndarray:
        F = expit(np.asarray(thresholds)[:, None] - at - math.sqrt(s2) * nodes) @ mass
        return np.diff(np.concatenate([[0.0], F, [1.0]]))

    slope = (chances(eta + 1e-4) - chances(eta - 1e-4)) / 2e-4
    return float((slope**2 / chances(eta)).sum())


@pytest.mark.parametrize("thresholds", [(0.0,), (-1.5, 0.0, 1.5), (-2.0, -0.5, 0.5, 2.0)])
@pytest.mark.parametrize("eta", [-3.0, -0.4, 0.0, 1.7])
def test_graded_information_equals_its_definition(eta, thresholds):
    found = graded_information(torch.tensor([eta]).double(), thresholds)
    assert float(found) == pytest.approx(label_information(eta, 0.0, thresholds), rel=1e-6)


def test_two_answers_tell_the_logistic_slope_and_many_tell_a_third():
    eta = torch.linspace(-30, 30, 61).double()
    binary = graded_information(eta, (0.0,))
    assert binary.numpy() == pytest.approx(expit(eta.numpy()) * expit(-eta.numpy()), rel=1e-12)
    many = graded_information(torch.tensor([0.0, 1.0, 3.0]).double(), np.linspace(-25, 25, 400).tolist())
    assert many.numpy() == pytest.approx([1 / 3] * 3, rel=1e-3)


def test_a_step_between_answers_never_loses_information():
    eta = torch.linspace(-4, 4, 17).double()
    assert bool((graded_information(eta, (-1.0, 0.0, 1.0)) > graded_information(eta, (0.0,))).all())


@pytest.mark.parametrize("s2", [0.0, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("eta", [0.0, 0.8, 2.0])
@pytest.mark.parametrize("thresholds", [(0.0,), (-1.5, 0.0, 1.5)])
def test_the_factor_is_the_information_of_a_label_averaged_over_the_nuisance(s2, eta, thresholds):
    rows = np.array([[eta, 0.0], [0.0, 0.0]])
    factor = pair_factor(
        Geometry(rows, np.array([0, 2])), theta=[1.0, 0.0], nuisance=[math.sqrt(s2), 0.0], tau2=1.0,
        thresholds=thresholds,
    )  # fmt: skip
    assert float(factor) == pytest.approx(4 * label_information(eta, s2, thresholds), rel=0.15)  # of the approximation


def test_a_binary_label_without_theta_or_nuisance_counts_exactly_one():
    geometry = random_geometry(0)
    assert bool((pair_factor(geometry) == 1.0).all())
    nuisance = np.random.default_rng(0).standard_normal((len(geometry.features), 2))
    assert bool((pair_factor(geometry, nuisance=nuisance, tau2=0.0) == 1.0).all())
    assert bool((pair_factor(geometry, theta=np.zeros(4)) == 1.0).all())


@pytest.mark.parametrize("seed", range(3))
def test_the_factor_is_a_number_of_each_pairs_two_candidates(seed):
    geometry = random_geometry(seed)
    rng = np.random.default_rng(seed)
    u, theta, tau2 = rng.standard_normal((len(geometry.features), 2)), rng.standard_normal(4), np.array([0.3, 2.0])
    i, j = geometry.endpoints(np.arange(geometry.pairs))
    variance = ((u[i] - u[j]) ** 2) @ tau2
    assert nuisance_variance(geometry, u, tau2).numpy() == pytest.approx(variance)
    s = np.sqrt(1 + 0.34584 * variance)
    eta = explicit_vectors(geometry) @ theta / s
    weighed = geometry.with_factor(factors_of(geometry, seed))  # factors it already has do not count twice
    for graph in (geometry, weighed):
        found = pair_factor(graph, theta=theta, nuisance=u, tau2=tau2).numpy()
        assert found == pytest.approx(4 * expit(eta) * expit(-eta) / s**2, rel=1e-4)
    assert abs(ATTENUATION - 0.3458) < 1e-4


def test_a_certain_answer_keeps_a_positive_factor():
    geometry = Geometry(np.array([[1e4], [0.0]]), np.array([0, 2]))
    assert 0 < float(pair_factor(geometry, theta=[1.0])) <= 1e-12
    assert geometry.with_factor(pair_factor(geometry, theta=[1.0])).factor is not None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda g: g.with_factor(np.ones((g.pairs, g.dim))), "one per pair"),
        (lambda g: g.with_factor(np.ones(g.pairs + 1)), "one per pair"),
        (lambda g: g.with_factor(np.zeros(g.pairs)), "positive"),
        (lambda g: g.with_factor(np.full(g.pairs, math.nan)), "positive and finite"),
        (lambda g: g.over(np.ones((3, 2))), "candidates"),
        (lambda g: pair_factor(g, theta=np.ones(7)), "needs 4"),
        (lambda g: pair_factor(g, nuisance=np.ones(len(g.features)), tau2=-1.0), "not negative"),
        (lambda g: pair_factor(g, nuisance=np.ones(len(g.features)), tau2=[1.0, 2.0]), "2 nuisance variances"),
        (lambda g: pair_factor(g, nuisance=np.full(len(g.features), math.inf), tau2=1.0), "finite"),
        (lambda g: pair_factor(g, thresholds=(0.5, 0.5)), "rising"),
        (lambda g: pair_factor(g, thresholds=()), "rising"),
    ],
)
def test_what_is_no_factor_is_refused_in_words(call, words):
    with pytest.raises(DesignError, match=words):
        call(random_geometry(0))
