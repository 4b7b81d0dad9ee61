"""Batches under constraints: drawn ones meet them in every draw and on average, exact ones are near the best."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from curation.design.criteria.trace import make_criterion
from curation.design.selection.sampling import Batch, sample
from curation.design.selection.swaps import exact
from curation.design.sets.limits import Limits
from curation.design.sets.uniform import uniform_design
from curation.design.solvers.newton import newton
from tests.desk.builders import membership, random_fisher, random_geometry
from tests.desk.constrained_cases import (
    ConstrainedCase,
    assert_feasible_constrained,
    constrained_case,
    generator_rows,
    polytope_of,
    some_design_exists,
    whole_batch_exists,
)


def medium_case(seed: int, *, budget: float, r: float = 1.0, spread: str = "capped", **limits: Any) -> ConstrainedCase:
    """Eight prompts of three to six responses in two strata."""
    geometry = random_geometry(seed, prompts=8, smallest=3, largest=6, listed=0.2)
    fisher = random_fisher(seed, geometry.dim)
    settings = {"budget": budget, "max_labels_per_pair": r, "spread": spread, "pinned": [], "excluded": []}
    asked = Limits(strata=np.arange(8) % 2, stratum_names=("even", "odd"), **limits)
    case = ConstrainedCase(geometry, make_criterion(geometry, fisher, ridge=0.1), settings, asked)
    assert some_design_exists(case)
    return case


def blend(case: ConstrainedCase) -> torch.Tensor:
    """A design with most pairs left to chance: half the optimum, half uniform."""
    feasible = case.feasible()
    weights = (newton(case.criterion, feasible, tol=1e-6).weights + uniform_design(feasible)) / 2
    assert_feasible_constrained(case, weights.numpy())
    return weights


def labels_of(case: ConstrainedCase, batch: Batch) -> np.ndarray:
    """(pairs,) labels of each pair."""
    out = np.zeros(case.geometry.pairs)
    out[batch.pairs] = batch.copies
    assert np.all(np.diff(batch.pairs) > 0)
    assert np.all(batch.copies > 0)
    return out


def assert_batch_kept(case: ConstrainedCase, labels: np.ndarray, said: str) -> None:
    """n labels; strata exactly; every cap, pin and exclusion; `balanced` prompts to the label below or above."""
    at, of = polytope_of(case), membership(case.geometry)
    assert labels.sum() == case.settings["budget"], said
    assert np.all(labels >= at.low), said
    assert np.all(labels <= at.high), said
    assert (np.eye(len(at.blocks))[at.strata].T @ of @ labels).tolist() == at.blocks.tolist(), said
    for row, cap, kind in zip(at.A_ub, at.b_ub, at.kinds, strict=True):
        assert row @ labels <= cap + 1e-7, f"{kind} over its cap of {cap:g}: {said}"
    if at.totals is not None:
        assert_near(of @ labels, at.totals, said)


def assert_near(labels: np.ndarray, expected: np.ndarray, said: str) -> None:
    """The label below or above."""
    assert np.all(labels >= np.floor(expected + 1e-7)), said
    assert np.all(labels <= np.ceil(expected - 1e-7)), said


def assert_drawn_as_asked(case: ConstrainedCase, draws: int) -> None:
    """Every draw keeps the constraints, prompts come to the label below or above, and frequencies agree with pi."""
    weights, feasible = blend(case), case.feasible()
    pi, of = weights.numpy() * case.labels, membership(case.geometry)
    total = np.zeros(case.geometry.pairs)
    for seed in range(draws):
        batch = sample(feasible, weights, seed=seed)
        labels = labels_of(case, batch)
        assert_batch_kept(case, labels, f"draw {seed}, {case.words()}")
        assert_near(of @ labels, of @ pi, f"draw {seed}, {case.words()}")
        assert_near(labels, pi, f"draw {seed}, {case.words()}")
        total += labels
    assert batch.inclusion == pytest.approx(pi[batch.pairs], abs=1e-12)
    assert_frequencies(pi, total / draws, draws)


def assert_frequencies(pi: np.ndarray, frequency: np.ndarray, draws: int) -> None:
    chance = pi - np.floor(pi + 1e-9)
    open_pairs = (chance > 1e-8) & (chance < 1 - 1e-8)
    assert frequency[~open_pairs] == pytest.approx(pi[~open_pairs], abs=1e-6)
    spread = chance[open_pairs] * (1 - chance[open_pairs]) / draws
    difference = frequency[open_pairs] - pi[open_pairs]
    usual = spread * draws**2 > 5  # of rarer events too few are seen for a normal deviate
    assert usual.sum() >= 15  # there is something to draw
    assert np.abs(difference[usual] / np.sqrt(spread[usual])).max() < 5
    assert chi2.sf(float((difference[usual] ** 2 / spread[usual]).sum()), int(usual.sum())) > 1e-4


OWN = np.array([2.0, 3.0, 1.0, math.inf, 2.0, 2.0, 3.0, 2.0])


def constrained(name: str) -> ConstrainedCase:
    """The designs whose draws are counted."""
    if name == "own caps and quotas, capped":
        return medium_case(1, budget=15, per_prompt=OWN, quotas={0: (6, 9), 1: (8, 9)})
    if name == "own caps and quotas, capped, r 2":
        return medium_case(2, budget=17, r=2.0, per_prompt=OWN + 1, quotas={0: (9, 9)})
    if name == "own caps and quotas, free, r inf":
        return medium_case(3, budget=12, r=math.inf, spread="free", per_prompt=OWN, quotas={1: (0, 5)})
    if name == "balanced, fractional totals":
        return medium_case(4, budget=13, spread="balanced")
    if name == "balanced, fractional totals, quotas":
        return medium_case(5, budget=13, r=2.0, spread="balanced", per_prompt=OWN + 1, quotas={0: (5, 6)})
    seed, spread, quotas = {
        "one generator capped, capped": (6, "capped", {}),
        "one generator capped, balanced": (7, "balanced", {}),
        "one generator capped, free, quotas": (8, "free", {0: (4, 6)}),
    }[name]
    drafted = random_geometry(seed, prompts=8, smallest=3, largest=6, listed=0.2)
    generators = np.random.default_rng(seed).integers(0, 3, size=len(drafted.features))
    return medium_case(
        seed, budget=14, spread=spread, quotas=quotas, per_prompt=3.0, generators=generators, generator_share={1: 0.3}
    )


NAMES = (
    "own caps and quotas, capped",
    "own caps and quotas, capped, r 2",
    "own caps and quotas, free, r inf",
    "balanced, fractional totals",
    "balanced, fractional totals, quotas",
    "one generator capped, capped",
    "one generator capped, balanced",
    "one generator capped, free, quotas",
)


WALKED = [name for name in NAMES if name.startswith("one generator")]  # sums that overlap: a slower draw
PIVOTED = [name for name in NAMES if name not in WALKED]


@pytest.mark.parametrize(("name", "draws"), [*((name, 800) for name in PIVOTED), *((name, 250) for name in WALKED)])
def test_frequencies_are_the_inclusions_and_every_draw_keeps_the_constraints(name, draws):
    assert_drawn_as_asked(constrained(name), draws)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "draws"), [*((name, 10_000) for name in PIVOTED), *((name, 3_000) for name in WALKED)]
)
def test_many_draws_agree_with_the_inclusions(name, draws):
    assert_drawn_as_asked(constrained(name), draws)


def test_the_capped_generator_would_be_exceeded_by_draws_that_do_not_know_of_it():
    """The tests of generator caps can fail: drawing the same weights without the cap breaks it."""
    case = constrained("one generator capped, capped")
    weights, row = blend(case), generator_rows(case)[1]
    cap = math.floor(0.3 * case.labels)
    assert row @ weights.numpy() * case.labels > cap - 0.5
    ignorant = replace(case, limits=replace(case.asked, generator_share=None)).feasible()
    over = [row @ labels_of(case, sample(ignorant, weights, seed=seed)) > cap for seed in range(200)]
    assert sum(over) > 10


@pytest.mark.parametrize("seed", range(20))
def test_any_draw_of_any_design_keeps_every_constraint(seed):
    """Generator caps of all generators at once included."""
    case = constrained_case(seed, costs=False, wanted=whole_batch_exists)
    feasible = case.feasible()
    for weights in (newton(case.criterion, feasible, tol=1e-6).weights, uniform_design(feasible)):
        for draw in range(25):
            assert_batch_kept(case, labels_of(case, sample(feasible, weights, seed=draw)), case.words())


@pytest.mark.parametrize("seed", range(4))
def test_the_same_seed_draws_the_same_batch(seed):
    case = constrained_case(seed, costs=False, wanted=whole_batch_exists)
    weights = uniform_design(case.feasible())
    first, again = (sample(case.feasible(), weights, seed=5) for _ in range(2))
    assert first.pairs.tolist() == again.pairs.tolist()
    assert first.copies.tolist() == again.copies.tolist()


@pytest.mark.parametrize("spread", ["free", "balanced", "capped"])
def test_a_cost_budget_is_spent_in_expectation_and_caps_hold_in_every_draw(spread):
    costs = np.random.default_rng(9).uniform(0.5, 2.0, size=len(random_geometry_pairs(9)))
    case = medium_case(9, budget=15.0, spread=spread, per_prompt=3.0, costs=costs)
    weights, feasible, at = blend(case), case.feasible(), polytope_of(case)
    pi, draws = weights.numpy() * case.labels, 2_000
    drawn = np.array([labels_of(case, sample(feasible, weights, seed=seed)) for seed in range(draws)])
    caps = [kind != "budget" for kind, _ in at.kinds]  # which is met in expectation, below
    assert np.all(drawn @ at.A_ub[caps].T <= at.b_ub[caps] + 1e-7)
    assert np.all(drawn <= at.high)
    spent = drawn @ costs
    assert pi @ costs <= 15.0 + 1e-7
    assert abs(spent.mean() - pi @ costs) < 5 * spent.std() / math.sqrt(draws)
    assert_frequencies(pi, drawn.mean(0), draws)
    assert np.all(np.abs(drawn.sum(1) - pi.sum()) < 1 + 1e-7)  # labels to the one below or above


def random_geometry_pairs(seed: int) -> range:
    return range(random_geometry(seed, prompts=8, smallest=3, largest=6, listed=0.2).pairs)


def value_of(case: ConstrainedCase, labels: np.ndarray) -> float:
    """f of a batch."""
    return case.criterion.value(case.geometry.information(torch.as_tensor(labels / case.labels)))


@pytest.mark.parametrize("r", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(20))
def test_the_exact_batch_keeps_every_constraint_and_is_no_worse_than_a_usual_draw(seed, r):
    case = constrained_case(seed, costs=False, r=r, wanted=whole_batch_exists)
    feasible = case.feasible()
    weights = newton(case.criterion, feasible, tol=1e-6).weights
    batch = exact(case.criterion, feasible, weights)
    assert batch.inclusion is None
    assert batch.labels == case.settings["budget"]
    labels = labels_of(case, batch)
    assert_batch_kept(case, labels, case.words())
    draws = [value_of(case, labels_of(case, sample(feasible, weights, seed=k))) for k in range(5)]
    assert value_of(case, labels) <= np.median(draws) * (1 + 1e-9), case.words()
    again = exact(case.criterion, feasible, weights)
    assert again.pairs.tolist() == batch.pairs.tolist()
    assert again.copies.tolist() == batch.copies.tolist()


@pytest.mark.parametrize("seed", range(30))
def test_the_exact_batch_stays_within_its_cost_and_leaves_nothing_affordable(seed):
    """Strata stay within their part of the budget; prompts of a balanced spread get no label beyond the one above."""
    case = constrained_case(seed, costs=True, r=float(1 + seed % 2))
    feasible, at, of = case.feasible(), polytope_of(case), membership(case.geometry)
    weights = newton(case.criterion, feasible, tol=1e-6).weights
    batch = exact(case.criterion, feasible, weights)
    assert batch.inclusion is None
    labels, within = labels_of(case, batch), np.eye(len(at.blocks))[at.strata].T @ of * case.costs
    highest = np.full(case.geometry.prompts, math.inf)
    if case.settings["spread"] == "balanced":
        highest = np.ceil(of @ weights.numpy() * case.labels - 1e-6)

    def kept(labels: np.ndarray, slack: float) -> bool:
        spent = within @ labels
        return bool(
            np.all(labels >= at.low)
            and np.all(labels <= at.high)
            and np.all(at.A_ub @ labels <= at.b_ub + 1e-7)
            and np.all(of @ labels <= highest)
            and np.all(spent <= at.blocks * (1 + slack))
            and spent.sum() <= case.settings["budget"] * (1 + slack)
        )

    assert kept(labels, 1e-9), case.words()
    for e in range(case.geometry.pairs):
        assert not kept(labels + np.eye(case.geometry.pairs)[e], -1e-9), f"pair {e} fits: {case.words()}"
