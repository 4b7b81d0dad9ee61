"""Truths of the criterion: its value, its derivatives, its invariances, and designs that can be worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from curation.design.criteria.base import Criterion, matrix_root
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.sets.make import make_feasible
from curation.design.solvers.newton import newton
from curation.errors import DesignError
from tests.desk.builders import explicit_vectors, random_fisher, random_geometry


def explicit_value(criterion: Criterion, z: np.ndarray, weights: np.ndarray) -> float:
    S = z.T @ (z * weights[:, None]) + criterion.prior.numpy()
    return float(np.trace(criterion.fisher.numpy() @ np.linalg.inv(S)))


def interior(seed: int) -> tuple[Geometry, Criterion, torch.Tensor]:
    """A problem and a design measure with every weight positive."""
    geometry = random_geometry(seed, prompts=3, largest=5)
    weights = torch.as_tensor(np.random.default_rng(seed).dirichlet(np.full(geometry.pairs, 3.0)))
    return geometry, make_criterion(geometry, random_fisher(seed, 4), ridge=0.2), weights


def simplex(geometry: Geometry):
    return make_feasible(geometry, budget=1, max_labels_per_pair=math.inf, spread="free")


@pytest.mark.parametrize("seed", range(5))
def test_the_value_is_the_trace_of_fisher_times_the_inverse_information(seed):
    geometry, criterion, weights = interior(seed)
    expected = explicit_value(criterion, explicit_vectors(geometry), weights.numpy())
    information = geometry.information(weights)
    assert criterion.value(information) == pytest.approx(expected)
    assert criterion.at(information).value == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_minus_q_is_the_gradient(seed):
    geometry, criterion, weights = interior(seed)
    z = explicit_vectors(geometry)
    q = geometry.quadratic(criterion.at(geometry.information(weights)).root)
    for pair in range(geometry.pairs):
        step = np.zeros(geometry.pairs)
        step[pair] = 1e-5
        up, down = (explicit_value(criterion, z, weights.numpy() + sign * step) for sign in (1, -1))
        assert (up - down) / 2e-5 == pytest.approx(-float(q[pair]), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_masters_hessian_is_the_second_derivative_of_every_two_weights(seed):
    geometry, criterion, weights = interior(seed)
    point = criterion.at(geometry.information(weights))
    A = torch.as_tensor(explicit_vectors(geometry))
    hessian = 2 * (A @ torch.cholesky_inverse(point.factor) @ A.T) * (A @ point.B @ A.T)
    for pair in range(geometry.pairs):
        step = torch.zeros_like(weights)
        step[pair] = 1e-5
        gradients = [-geometry.quadratic(criterion.at(geometry.information(weights + s * step)).root) for s in (1, -1)]
        column = (gradients[0] - gradients[1]) / 2e-5
        assert column.numpy() == pytest.approx(hessian[:, pair].numpy(), rel=1e-4, abs=1e-6 * float(hessian.max()))
    assert float(torch.linalg.eigvalsh(hessian)[0]) > -1e-9 * float(hessian.max())  # f is convex


def test_dropping_or_adding_one_label_moves_f_by_the_rank_one_formula():
    geometry, criterion, weights = interior(8)
    point = criterion.at(geometry.information(weights))
    z = torch.as_tensor(explicit_vectors(geometry))[5]
    q, leverage = (
        float((point.root.T @ z).square().sum()),
        float(z @ torch.cholesky_solve(z[:, None], point.factor)[:, 0]),
    )
    for t in (0.05, -0.02):
        moved = criterion.value(geometry.information(weights) + t * torch.outer(z, z))
        assert moved - point.value == pytest.approx(-t * q / (1 + t * leverage))


def test_the_relative_ridge_is_in_units_of_an_average_direction_of_a_uniform_label():
    geometry = random_geometry(3)
    z = explicit_vectors(geometry)
    fisher = random_fisher(3, 4)
    relative = make_criterion(geometry, fisher, ridge=2.5)
    assert relative.prior.numpy() == pytest.approx(2.5 * (z**2).sum(1).mean() / 4 * np.eye(4))
    absolute = make_criterion(geometry, fisher, ridge=1e-3, kind="absolute")
    assert absolute.prior.numpy() == pytest.approx(1e-3 * np.eye(4))


def test_trace_weights_are_invariant_to_rotating_the_features():
    geometry = random_geometry(4, listed=0)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    turned = Geometry(geometry.features.numpy() @ Q, geometry.offsets)
    M = random_fisher(4, 4)
    one = newton(make_criterion(geometry, M, ridge=0.1), simplex(geometry), tol=1e-11)
    other = newton(
        make_criterion(turned, torch.as_tensor(Q.T) @ M @ torch.as_tensor(Q), ridge=0.1), simplex(turned), tol=1e-11
    )
    assert one.certificate.objective == pytest.approx(other.certificate.objective, rel=1e-10)
    assert one.weights.numpy() == pytest.approx(other.weights.numpy(), abs=1e-5)


def test_under_a_relative_ridge_scaling_the_features_leaves_the_weights_and_under_an_absolute_it_does_not():
    geometry = random_geometry(5, listed=0)
    scaled = Geometry(10 * geometry.features.numpy(), geometry.offsets)
    M = random_fisher(5, 4)

    def weights(g: Geometry, kind: str) -> np.ndarray:
        return newton(make_criterion(g, M, ridge=0.5, kind=kind), simplex(g), tol=1e-11).weights.numpy()

    assert weights(geometry, "relative") == pytest.approx(weights(scaled, "relative"), abs=1e-5)
    assert np.abs(weights(geometry, "absolute") - weights(scaled, "absolute")).max() > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_orthogonal_prompts_share_by_root_mu_over_length(seed):
    rng = np.random.default_rng(seed)
    lengths, mu = rng.uniform(0.3, 3.0, 5), rng.uniform(0.1, 5.0, 5)
    rows = np.zeros((10, 5))
    rows[np.arange(0, 10, 2), np.arange(5)] = lengths  # prompt k: one candidate at the origin, one along axis k
    geometry = Geometry(rows, np.arange(0, 12, 2))
    criterion = make_criterion(geometry, torch.diag(torch.as_tensor(mu)), ridge=1e-11)
    share = np.sqrt(mu) / lengths
    design = newton(criterion, simplex(geometry), tol=1e-9)
    assert design.weights.numpy() == pytest.approx(share / share.sum(), abs=1e-5)
    assert design.certificate.objective == pytest.approx(share.sum() ** 2, rel=1e-6)


def test_a_ridge_that_is_felt_moves_weight_as_the_multiplier_says():
    # f = sum mu_k / (w_k l_k^2 + rho): at the optimum mu_k l_k^2 / (w_k l_k^2 + rho)^2 is alike where w_k > 0
    lengths, mu, rho = np.array([1.0, 2.0]), np.array([1.0, 3.0]), 0.3
    geometry = Geometry(np.array([[1.0, 0], [0, 0], [0, 2.0], [0, 0]]), np.array([0, 2, 4]))
    criterion = make_criterion(geometry, torch.diag(torch.as_tensor(mu)), ridge=rho, kind="absolute")
    w = newton(criterion, simplex(geometry), tol=1e-10).weights.numpy()
    # sqrt(mu) l / (w l^2 + rho) = c with w_1 + w_2 = 1, solved by hand for c
    c = (np.sqrt(mu) / lengths).sum() / (1 + (rho / lengths**2).sum())
    assert w == pytest.approx((np.sqrt(mu) * lengths / c - rho) / lengths**2, abs=1e-6)


@pytest.mark.parametrize("size", [3, 4, 6])
def test_alike_candidates_share_alike(size):
    geometry = Geometry(np.eye(size), np.array([0, size]))
    criterion = make_criterion(geometry, torch.eye(size).double(), ridge=0.05)
    pairs = size * (size - 1) // 2
    design = newton(criterion, simplex(geometry), tol=1e-10)
    assert design.weights.numpy() == pytest.approx(np.full(pairs, 1 / pairs), abs=1e-6)
    # Sigma = 2 / (K (K - 1)) times (K I - 1 1'): eigenvalue 2 / (K - 1) in K - 1 directions, 0 along 1
    rho = float(criterion.prior[0, 0])
    assert design.certificate.objective == pytest.approx((size - 1) / (2 / (size - 1) + rho) + 1 / rho, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_in_one_dimension_the_farthest_pair_takes_everything(seed):
    rows = np.random.default_rng(seed).standard_normal((12, 1))
    geometry = Geometry(rows, np.array([0, 5, 12]))
    criterion = make_criterion(geometry, torch.ones(1, 1).double(), ridge=1.0)
    w = newton(criterion, simplex(geometry), tol=1e-9).weights.numpy()
    farthest = int((explicit_vectors(geometry)[:, 0] ** 2).argmax())
    assert w[farthest] == pytest.approx(1.0)
    assert w.sum() == pytest.approx(1.0)


def test_with_one_label_per_pair_one_dimension_takes_the_n_farthest():
    rows = np.random.default_rng(9).standard_normal((12, 1))
    geometry = Geometry(rows, np.array([0, 5, 12]))
    criterion = make_criterion(geometry, torch.ones(1, 1).double(), ridge=1.0)
    w = newton(criterion, make_feasible(geometry, budget=6, spread="free"), tol=1e-9).weights.numpy()
    order = np.argsort(-(explicit_vectors(geometry)[:, 0] ** 2))
    assert w[order[:6]] == pytest.approx(np.full(6, 1 / 6))
    assert np.all(w[order[6:]] == 0)


def test_a_heavy_ridge_takes_the_pairs_of_largest_fisher_length():
    geometry = random_geometry(6)
    M = random_fisher(6, 4)
    z = explicit_vectors(geometry)
    length = (z @ M.numpy() * z).sum(1)
    feasible = make_feasible(geometry, budget=5, spread="free")
    design = newton(make_criterion(geometry, M, ridge=1e5), feasible, tol=1e-4)
    assert set(np.flatnonzero(design.weights.numpy() > 0.1).tolist()) == set(np.argsort(-length)[:5].tolist())


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_root_gives_back_a_matrix_of_any_rank(rank):
    half = np.random.default_rng(rank).standard_normal((4, rank))
    matrix = torch.as_tensor(half @ half.T)
    root = matrix_root(matrix)
    assert root.shape == (4, rank)
    assert (root @ root.T).numpy() == pytest.approx(matrix.numpy(), abs=1e-12)


def test_what_has_no_solution_is_refused_by_name():
    geometry = random_geometry(7)
    with pytest.raises(DesignError, match=r"ridge 0\.0 is not positive"):
        make_criterion(geometry, torch.eye(4).double(), ridge=0.0)
    with pytest.raises(DesignError, match="ridge nan is not positive"):
        make_criterion(geometry, torch.eye(4).double(), ridge=math.nan)
    with pytest.raises(DesignError, match="Fisher matrix is zero"):
        make_criterion(geometry, torch.zeros(4, 4).double(), ridge=1.0)
    with pytest.raises(DesignError, match="all pairs have zero difference"):
        make_criterion(Geometry(np.ones((3, 4)), np.array([0, 3])), torch.eye(4).double(), ridge=1.0)
    criterion = make_criterion(geometry, torch.eye(4).double(), ridge=1.0)
    with pytest.raises(DesignError, match="raise --ridge or lower --dim"):
        criterion.value(-2 * criterion.prior)


def test_a_power_of_the_prior_is_that_power_of_the_fisher_matrix_and_keeps_its_trace() -> None:
    geometry = random_geometry(0, dim=4)
    fisher = random_fisher(0, 4)
    plain = make_criterion(geometry, fisher, ridge=0.3)
    for power in (0.5, 1.0):
        prior = make_criterion(geometry, fisher, ridge=0.3, power=power).prior
        assert float(torch.trace(prior)) == pytest.approx(float(torch.trace(plain.prior)))
        shape = torch.as_tensor(scipy.linalg.fractional_matrix_power(fisher.numpy(), power).real)
        torch.testing.assert_close(prior / torch.trace(prior), shape / torch.trace(shape), rtol=1e-8, atol=1e-12)


def test_with_power_one_the_units_of_single_features_do_not_matter() -> None:
    """f = tr(M S^-1) with Lambda ~ M is the same in any basis, so the design is; with power 0 it is not."""
    geometry = random_geometry(1, dim=3, listed=0.0)
    units = torch.tensor([1.0, 30.0, 0.05], dtype=torch.float64)
    scaled = Geometry(geometry.features * units, geometry.offsets, prompt_weights=geometry.prompt_weights)
    fisher = random_fisher(1, 3)
    found = {}
    for power in (0.0, 1.0):
        for name, g, m in (("plain", geometry, fisher), ("scaled", scaled, units[:, None] * fisher * units)):
            # the relative scale s depends on units: an absolute ridge on M scaled to trace d, times its trace
            ridge = 0.1 * float(torch.trace(m)) / 3 if power else 0.1
            criterion = make_criterion(g, m, ridge=ridge, kind="absolute", power=power)
            weights = g.quadratic(criterion.at(g.uniform_information()).root)
            found[power, name] = (criterion.value(g.uniform_information()), weights)
    assert found[1.0, "plain"][0] == pytest.approx(found[1.0, "scaled"][0])
    torch.testing.assert_close(found[1.0, "plain"][1], found[1.0, "scaled"][1])
    assert found[0.0, "plain"][0] != pytest.approx(found[0.0, "scaled"][0], rel=0.05)
