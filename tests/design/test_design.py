"""Truths of geometry, criterion and feasible sets: explicit sums, finite differences, linear programs, hand-worked designs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.programs.quadratic import Polytope, solve_quadratic
from curation.design.rules.base import RULES
from curation.design.rules.compare import baselines
from curation.design.selection.drawn import realised
from curation.design.selection.sampling import paper, sample, with_overlap
from curation.design.sets.allotment import water_fill
from curation.design.sets.linear import maximise
from curation.design.sets.make import make_feasible, resolve_spread
from curation.design.sets.uniform import uniform_design
from curation.design.solvers.newton import newton
from curation.errors import DesignError
from tests.desk.designs import fisher_of, graph


@pytest.mark.parametrize("seed", range(5))
def test_structured_passes_equal_explicit_sums(seed):
    geometry = graph(seed)
    z = geometry.vectors(np.arange(geometry.pairs)).numpy()
    rng = np.random.default_rng(seed)
    root, weights = rng.standard_normal((4, 3)), rng.random(geometry.pairs)
    assert geometry.quadratic(torch.as_tensor(root)).numpy() == pytest.approx(((z @ root) ** 2).sum(1))
    assert geometry.linear(torch.as_tensor(root[:, 0])).numpy() == pytest.approx(z @ root[:, 0])
    explicit = z.T @ (z * weights[:, None])
    assert geometry._laplacian_information(torch.as_tensor(weights)).numpy() == pytest.approx(explicit)
    assert geometry.information_of(torch.arange(geometry.pairs), torch.as_tensor(weights)).numpy() == pytest.approx(
        explicit
    )


@pytest.mark.parametrize("size", [2, 3, 7, 200])
def test_pair_numbers_and_endpoints_are_inverse(size):
    geometry = Geometry(np.arange(2 * size, dtype=float)[:, None], np.array([0, size, 2 * size]))
    first, second = geometry.endpoints(np.arange(geometry.pairs))
    assert np.all(first < second)
    for pair in np.random.default_rng(0).integers(0, geometry.pairs, size=50).tolist():
        prompt = int(geometry.prompt_of(np.array([pair]))[0])
        base = int(geometry.offsets[prompt])
        assert geometry.number(prompt, int(first[pair]) - base, int(second[pair]) - base) == pair


def test_no_array_of_all_pair_vectors_is_ever_built(monkeypatch):
    rng = np.random.default_rng(0)
    geometry = Geometry(rng.standard_normal((60 * 12, 8)), np.arange(61) * 12)
    asked = []
    vectors = Geometry.vectors
    monkeypatch.setattr(Geometry, "vectors", lambda self, pairs: asked.append(len(pairs)) or vectors(self, pairs))
    criterion = make_criterion(geometry, fisher_of(geometry), ridge=0.1)
    for spread in ("free", "balanced", "capped"):
        newton(criterion, make_feasible(geometry, budget=40, spread=spread))
    assert max(asked) < geometry.pairs / 3


def test_the_gradient_of_the_criterion_is_minus_q():
    geometry = graph(1)
    criterion = make_criterion(geometry, fisher_of(geometry), ridge=0.2)
    weights = torch.full((geometry.pairs,), 1.0 / geometry.pairs, dtype=torch.float64)
    q = geometry.quadratic(criterion.at(geometry.information(weights)).root)
    for pair in range(0, geometry.pairs, 3):
        step = torch.zeros_like(weights)
        step[pair] = 1e-6
        up, down = (criterion.value(geometry.information(weights + sign * step)) for sign in (1, -1))
        assert (up - down) / 2e-6 == pytest.approx(-float(q[pair]), rel=1e-6)


def test_the_masters_hessian_is_the_second_derivative():
    geometry = graph(2)
    criterion = make_criterion(geometry, fisher_of(geometry), ridge=0.2)
    weights = torch.full((geometry.pairs,), 1.0 / geometry.pairs, dtype=torch.float64)
    A = geometry.vectors(np.arange(geometry.pairs))
    point = criterion.at(geometry.information(weights))
    half = torch.linalg.solve_triangular(point.factor, A.T, upper=False).T
    hessian = 2 * (half @ half.T) * (A @ point.B @ A.T)
    step = torch.zeros_like(weights)
    step[3] = 1e-6
    gradients = [-geometry.quadratic(criterion.at(geometry.information(weights + s * step)).root) for s in (1, -1)]
    assert ((gradients[0] - gradients[1]) / 2e-6).numpy() == pytest.approx(hessian[:, 3].numpy(), rel=1e-5)


def test_trace_weights_are_invariant_to_rotating_and_scaling_the_features():
    geometry = graph(3, listed=0)
    Q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))
    turned = Geometry(10 * geometry.features.numpy() @ Q, geometry.offsets, prompt_weights=geometry.prompt_weights)
    M = fisher_of(geometry)
    designs = []
    for g, fisher in ((geometry, M), (turned, 100 * torch.as_tensor(Q.T) @ M @ torch.as_tensor(Q))):
        designs.append(newton(make_criterion(g, fisher, ridge=0.1), make_feasible(g, budget=4), tol=1e-10))
    assert designs[0].certificate.objective == pytest.approx(designs[1].certificate.objective, rel=1e-8)
    assert designs[0].weights.numpy() == pytest.approx(designs[1].weights.numpy(), abs=1e-4)


def test_orthogonal_prompts_get_weights_as_root_mu_over_length():
    lengths, mu = np.array([1.0, 2.0, 0.5]), np.array([1.0, 4.0, 9.0])
    rows = np.zeros((6, 3))
    for k in range(3):
        rows[2 * k, k] = lengths[k]
    geometry = Geometry(rows, np.array([0, 2, 4, 6]))
    criterion = make_criterion(geometry, torch.diag(torch.as_tensor(mu)), ridge=1e-10)
    feasible = make_feasible(geometry, budget=1, max_labels_per_pair=math.inf, spread="free")
    expected = np.sqrt(mu) / lengths
    found = newton(criterion, feasible, tol=1e-9).weights.numpy()
    assert found == pytest.approx(expected / expected.sum(), abs=1e-5)


def test_candidates_on_axes_with_equal_fisher_share_alike():
    geometry = Geometry(np.eye(4), np.array([0, 4]))
    criterion = make_criterion(geometry, torch.eye(4).double(), ridge=0.01)
    feasible = make_feasible(geometry, budget=1, max_labels_per_pair=math.inf, spread="free")
    assert newton(criterion, feasible, tol=1e-10).weights.numpy() == pytest.approx(np.full(6, 1 / 6), abs=1e-6)


def test_in_one_dimension_all_weight_goes_to_the_farthest_pair():
    geometry = Geometry(np.array([[0.0], [1.0], [5.0]]), np.array([0, 3]))
    criterion = make_criterion(geometry, torch.ones(1, 1).double(), ridge=0.5)
    design = newton(criterion, make_feasible(geometry, budget=1, max_labels_per_pair=math.inf, spread="free"))
    assert design.weights.tolist() == pytest.approx([0.0, 1.0, 0.0])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from(["free", "balanced", "capped"]), st.sampled_from([1.0, 2.0]), st.booleans()
)
def test_linear_maximisation_equals_a_linear_program(seed, spread, most, constrained):
    geometry = graph(seed)
    rng = np.random.default_rng(seed)
    pins = [0] if constrained else []
    outs = [geometry.pairs - 1] if constrained and geometry.pairs > 4 else []
    budget = int(rng.integers(len(pins) * most or 1, max(2, int((geometry.pairs - len(outs)) * most))))
    feasible = make_feasible(
        geometry, budget=budget, max_labels_per_pair=most, spread=spread, pinned=pins, excluded=outs
    )
    values = torch.as_tensor(rng.random(geometry.pairs))
    pairs, amounts, reach = maximise(feasible, values)
    owner = geometry.prompt_of(np.arange(geometry.pairs))
    rows = (owner[None, :] == np.arange(geometry.prompts)[:, None]).astype(float)
    totals = feasible.totals.numpy()
    bounds = [(0.0, 0.0 if e in pins or e in outs else feasible.upper) for e in range(geometry.pairs)]
    total = {"A_eq": np.ones((1, geometry.pairs)), "b_eq": [feasible.remaining]}
    if spread == "balanced":
        total = {"A_eq": rows, "b_eq": totals}
    bound = np.isfinite(totals)  # caps that the pairs' own bounds keep anyway are not held
    caps = {"A_ub": rows[bound], "b_ub": totals[bound]} if spread == "capped" and bound.any() else {}
    answer = linprog(-values.numpy(), bounds=bounds, **total, **caps)
    assert answer.status == 0
    assert reach == pytest.approx(-answer.fun, abs=1e-9)
    assert float(amounts.sum()) == pytest.approx(feasible.remaining, abs=1e-12)
    assert len(set(pairs.tolist())) == len(pairs)
    uniform = uniform_design(feasible).numpy()
    assert uniform.sum() == pytest.approx(1.0)
    assert np.all(uniform <= feasible.upper + 1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_water_filling_meets_the_total_and_is_proportional_where_unclipped(seed):
    rng = np.random.default_rng(seed)
    rates, low = rng.uniform(0.1, 3, 7), rng.choice([0.0, 0.5], 7)
    high = low + rng.uniform(0.1, 4, 7)
    total = rng.uniform(low.sum(), high.sum())
    filled = water_fill(rates, low, high, total)
    assert filled.sum() == pytest.approx(total)
    inside = (filled > low + 1e-9) & (filled < np.minimum(high, total) - 1e-9)
    if inside.any():
        tau = filled[inside] / rates[inside]
        assert tau == pytest.approx(np.full(inside.sum(), tau[0]))


def test_caps_are_the_rounded_share_and_at_least_one():
    geometry = Geometry(np.random.default_rng(0).standard_normal((805 * 4, 2)), np.arange(806) * 4)
    assert set(make_feasible(geometry, budget=175, spread="capped").prompt_labels) == {1.0}
    assert set(make_feasible(geometry, budget=2000, spread="capped").prompt_labels) == {3.0}
    assert resolve_spread(geometry, "auto") == "balanced"
    edges = Geometry(np.zeros((6, 1)), np.array([0, 2, 4, 6]))
    assert resolve_spread(edges, "auto") == "capped"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 7}, "budget 7 exceeds the 6 pairs"),
        ({"budget": 13, "max_labels_per_pair": 2.0}, "budget 13 exceeds the 6 pairs"),
        ({"budget": 6, "excluded": [0]}, "left after 1 exclusions"),
        ({"budget": 2, "pinned": [0], "excluded": [0]}, "both pinned and excluded"),
        ({"budget": 2, "pinned": [0, 1, 2]}, "3 pinned pairs take 3 labels"),
        ({"budget": 2, "pinned": [0], "max_labels_per_pair": math.inf}, "pins need a finite"),
    ],
)
def test_what_cannot_be_met_is_named_with_its_amount(options, words):
    geometry = Geometry(np.eye(4), np.array([0, 4]))
    with pytest.raises(DesignError, match=words):
        make_feasible(geometry, spread="free", **options)


def quadratic_program(seed: int, *, equality: bool, bounded: bool):
    """A random program with ill-conditioned H, binding caps and starts on the boundary."""
    rng = np.random.default_rng(seed)
    m, k = 12, 4
    L = rng.standard_normal((m, rng.integers(3, m + 4)))
    H, c = L @ L.T + 1e-3 * np.eye(m), rng.standard_normal(m)
    group = np.concatenate([np.arange(k), rng.integers(0, k, m - k)])
    start = rng.random(m) * (rng.random(m) < 0.7)
    totals = np.bincount(group, weights=start, minlength=k)
    totals = totals if equality else totals + rng.choice([0.0, 0.3], k)
    upper = np.full(m, 1.0 if bounded else np.inf)
    return H, c, group, totals, upper, start


@pytest.mark.parametrize("equality", [True, False])
@pytest.mark.parametrize("bounded", [True, False])
def test_block_pivoting_solves_degenerate_quadratic_programs(equality, bounded):
    import cvxpy as cp

    solved = 0
    for seed in range(100):
        H, c, group, totals, upper, start = quadratic_program(seed, equality=equality, bounded=bounded)
        total = None if equality else float(start.sum())
        tensors = [torch.as_tensor(array) for array in (H, c, upper, group, totals, start)]
        polytope = Polytope(tensors[2], tensors[3], tensors[4], equality, total)
        found = solve_quadratic(tensors[0], tensors[1], polytope, tensors[5])
        if not found.optimal:  # the master then falls back on a vertex direction; it has to be rare
            continue
        solved += 1
        x = cp.Variable(12)
        rows = (group[None, :] == np.arange(4)[:, None]).astype(float)
        limits = [x >= 0] + ([x <= 1] if bounded else [])
        limits += [rows @ x == totals] if equality else [rows @ x <= totals, cp.sum(x) == total]
        problem = cp.Problem(cp.Minimize(0.5 * cp.quad_form(x, cp.psd_wrap(H)) + c @ x), limits)
        problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        y = found.x.numpy()
        assert 0.5 * y @ H @ y + c @ y == pytest.approx(problem.value, abs=1e-6), seed
        assert np.all(np.bincount(group, weights=y, minlength=4) <= totals + 1e-8), seed
    assert solved >= 99


def test_inclusion_frequencies_agree_with_pi_and_every_count_is_met():
    geometry = graph(11, prompts=5, listed=0)
    criterion = make_criterion(geometry, fisher_of(geometry), ridge=0.05)
    feasible = make_feasible(geometry, budget=7, spread="balanced")
    design = newton(criterion, feasible)
    pi = design.weights.numpy() * 7
    totals = np.bincount(geometry.prompt_of(np.arange(geometry.pairs)), weights=pi)
    draws, hits = 10_000, np.zeros(geometry.pairs)
    for seed in range(draws):
        batch = sample(feasible, design.weights, seed=seed)
        assert batch.labels == 7
        assert np.all(batch.copies == 1)
        drawn = np.bincount(geometry.prompt_of(batch.pairs), minlength=5)
        assert np.all((drawn >= np.floor(totals + 1e-9)) & (drawn <= np.ceil(totals - 1e-9)))
        hits[batch.pairs] += 1
    assert np.all(hits[pi < 1e-12] == 0)
    partial = (pi > 1e-9) & (pi < 1 - 1e-9)
    chi = ((hits[partial] - draws * pi[partial]) ** 2 / (draws * pi[partial] * (1 - pi[partial]))).sum()
    assert chi < partial.sum() + 5 * math.sqrt(2 * partial.sum())
    assert np.all(hits[pi > 1 - 1e-9] == draws)


def test_copies_hold_the_whole_part_of_pi():
    geometry = graph(4)
    criterion = make_criterion(geometry, fisher_of(geometry), ridge=0.05)
    feasible = make_feasible(geometry, budget=9, max_labels_per_pair=3.0, spread="free")
    design = newton(criterion, feasible)
    pi = design.weights.numpy() * 9
    batch = sample(feasible, design.weights, seed=0)
    assert batch.labels == 9
    assert np.all(np.abs(batch.copies - pi[batch.pairs]) < 1)


def test_the_same_seed_draws_the_same_batch_and_the_papers_draws_have_no_inclusion():
    geometry = graph(5, prompts=12)
    criterion = make_criterion(geometry, fisher_of(geometry), ridge=0.05)
    feasible = make_feasible(geometry, budget=10, spread="capped")
    weights = newton(criterion, feasible).weights
    assert np.array_equal(sample(feasible, weights, seed=3).pairs, sample(feasible, weights, seed=3).pairs)
    assert len({tuple(sample(feasible, weights, seed=s).pairs) for s in range(8)}) > 1
    drawn = paper(feasible, weights, seed=0)
    assert drawn.inclusion is None
    assert drawn.labels == 10
    assert np.bincount(geometry.prompt_of(drawn.pairs)).max() <= feasible.prompt_labels.max()
    repeated = with_overlap(drawn, 3, seed=0)
    assert repeated.labels == 13
    assert np.all(repeated.copies <= 2)


@pytest.mark.parametrize("spread", ["balanced", "capped", "free"])
def test_every_simple_rule_spends_the_budget_and_none_beats_the_bound_under_fixed_totals(spread):
    geometry = graph(6, prompts=10)
    criterion = make_criterion(geometry, fisher_of(geometry), ridge=0.3)
    feasible = make_feasible(geometry, budget=10, spread=spread, pinned=[0], excluded=[2])
    design = newton(criterion, feasible, tol=1e-6)
    alike = np.concatenate([np.full(k, 1 / k) for k in geometry.sizes])
    rules = baselines(criterion, feasible, alike, seed=0)
    assert tuple(rules) == RULES.names()
    assert all(math.isfinite(rule.realised) for rule in rules.values())
    if spread != "balanced":  # under balanced a batch settles fractions of a label, which the bound does not allow for
        assert all(rule.realised >= design.certificate.lower_bound - 1e-9 for rule in rules.values())
        assert realised(criterion, feasible, sample(feasible, design.weights, seed=0)) >= design.certificate.lower_bound
