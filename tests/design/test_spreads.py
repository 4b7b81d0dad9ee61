"""A fourth way of spreading a budget is a class: no other file knows the three there are by name."""

from __future__ import annotations

import math
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import torch
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.selection.sampling import paper, sample
from curation.design.selection.swaps import exact
from curation.design.sets.allotment import SLACK, Supply
from curation.design.sets.feasible import Bounds, Feasible, Spread
from curation.design.sets.make import make_feasible
from curation.design.sets.spreads import SPREADS
from curation.design.sets.spreads.balanced import Balanced
from curation.design.sets.uniform import uniform_design
from curation.design.solvers.newton import newton
from curation.errors import DesignError
from tests.desk.builders import explicit_vectors, membership, random_fisher, random_geometry

BUDGET = 14


def problem(seed: int) -> tuple[Geometry, Criterion]:
    geometry = random_geometry(seed, prompts=6, smallest=4, largest=8, listed=0.0)
    return geometry, make_criterion(geometry, random_fisher(seed, geometry.dim), ridge=0.1)


class Alike(Balanced):
    """Every prompt spends the same, whatever its weight in the pool."""

    name = "alike"

    def shared(self, inside: np.ndarray, total: float, weights: np.ndarray, supply: Supply, unit: float) -> np.ndarray:
        return super().shared(inside, total, np.full_like(weights, 1 / len(weights)), supply, unit)


class Anchored(Spread):
    """Prompts 0 and 2 spend two labels each, all others share the rest as is best: sums of a kind the three lack."""

    name, rank = "anchored", 9
    per_prompt, fixes = True, False
    anchors, each = (0, 2), 2.0

    def shared(self, inside: np.ndarray, total: float, weights: np.ndarray, supply: Supply, unit: float) -> np.ndarray:
        return np.where(np.isin(inside, self.anchors), self.each, math.inf)

    def bounds(self, shared: np.ndarray, supply: Supply, *, budget: float, unit: float, counted: bool) -> Bounds:
        return Bounds(self, shared / budget, shared)

    def fixed(self, feasible: Feasible) -> tuple[Tensor, Tensor]:
        sums = torch.zeros(feasible.geometry.prompts, dtype=torch.int64)
        own = torch.full((len(self.anchors),), self.each / feasible.budget, dtype=torch.float64)
        sums[list(self.anchors)] = torch.arange(1, 1 + len(own))
        return sums, torch.cat([feasible.block_totals.sum()[None] - own.sum(), own])

    def room(self, feasible: Feasible, weights: Tensor) -> tuple[np.ndarray, np.ndarray]:
        most = np.floor(feasible.prompt_labels + SLACK)
        return np.where(np.isfinite(most), most, 0.0), most


def used(geometry: Geometry, pairs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.bincount(geometry.prompt_of(pairs), weights=labels, minlength=geometry.prompts)


@pytest.mark.parametrize("seed", range(3))
def test_a_spread_of_other_shares_is_the_balanced_design_of_a_pool_with_those_weights(seed: int) -> None:
    geometry, criterion = problem(seed)
    even = Geometry(geometry.features, geometry.offsets, prompt_weights=np.ones(geometry.prompts))
    mine = make_feasible(geometry, budget=BUDGET, spread=Alike())
    theirs = make_feasible(even, budget=BUDGET, spread="balanced")
    assert mine.spread.name == "alike"
    design = newton(criterion, mine, tol=1e-7)
    assert torch.equal(design.weights, newton(criterion, theirs, tol=1e-7).weights)
    assert not torch.equal(design.weights, newton(criterion, make_feasible(geometry, budget=BUDGET), tol=1e-7).weights)
    for drawn in (sample, paper):
        batch, other = drawn(mine, design.weights, seed=seed), drawn(theirs, design.weights, seed=seed)
        assert np.array_equal(batch.pairs, other.pairs)
    assert np.array_equal(exact(criterion, mine, design.weights).pairs, exact(criterion, theirs, design.weights).pairs)


def anchored_optimum(geometry: Geometry, criterion: Criterion) -> float:
    """The best f by cvxpy and Clarabel, from what the spread is said to be."""
    z, of, pi = explicit_vectors(geometry), membership(geometry), cp.Variable(geometry.pairs)
    S = z.T @ cp.diag(pi / BUDGET) @ z + criterion.prior.numpy()
    own = [(of @ pi)[x] == Anchored.each for x in Anchored.anchors]
    goal = cp.Problem(
        cp.Minimize(cp.matrix_frac(np.linalg.cholesky(criterion.fisher.numpy()), S)),
        [pi >= 0, pi <= 1, cp.sum(pi) == BUDGET, *own],
    )
    goal.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(goal.value)


@pytest.mark.parametrize("seed", range(3))
def test_a_spread_with_sums_of_its_own_is_solved_to_its_certificate_and_drawn_with(seed: int) -> None:
    geometry, criterion = problem(seed)
    feasible = make_feasible(geometry, budget=BUDGET, spread=Anchored())
    design = newton(criterion, feasible, tol=1e-6)
    assert design.stopped == "certificate"
    assert design.certificate.objective == pytest.approx(anchored_optimum(geometry, criterion), rel=1e-5)
    anchors = list(Anchored.anchors)
    for weights in (design.weights, uniform_design(feasible)):
        labels = weights.numpy() * BUDGET
        assert labels.sum() == pytest.approx(BUDGET, abs=1e-7)
        assert used(geometry, np.arange(geometry.pairs), labels)[anchors] == pytest.approx(Anchored.each, abs=1e-6)
    drawn = [draw(feasible, design.weights, seed=seed) for draw in (sample, paper)]
    for batch in [*drawn, exact(criterion, feasible, design.weights)]:
        assert batch.labels == BUDGET
        assert used(geometry, batch.pairs, batch.copies)[anchors].tolist() == [Anchored.each] * len(anchors)


def test_the_three_spreads_are_files_and_an_unknown_one_is_refused_with_their_names() -> None:
    assert SPREADS.names() == ("balanced", "capped", "free")
    with pytest.raises(DesignError, match="spread 'even' is unknown; use balanced, capped, free"):
        make_feasible(problem(0)[0], budget=BUDGET, spread="even")


def test_a_changed_set_finds_its_uniform_design_anew() -> None:
    feasible = make_feasible(problem(0)[0], budget=BUDGET, spread="free")
    before = uniform_design(feasible)
    blocked = torch.zeros_like(feasible.blocked)
    blocked[0] = True
    other = replace(feasible, blocked=blocked)
    assert uniform_design(other)[0] == 0.0 < before[0]
    assert torch.equal(uniform_design(feasible), before)
