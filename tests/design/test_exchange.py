"""Batches by exchange: whole, deterministic, locally best, and near the bound where the issue asks for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation.bench.problems import problem
from curation.design.rules.greedy import forward_backward
from curation.design.selection.drawn import realised
from curation.design.selection.sampling import sample
from curation.design.selection.swaps import exact, start
from curation.design.selection.tally import Tally
from curation.design.sets.make import make_feasible
from curation.design.sets.uniform import uniform_design
from curation.design.solvers.newton import newton


def solved(n: int, *, spread="free", r: float = 1.0):
    geometry, criterion = problem(40, 8, 12)
    feasible = make_feasible(geometry, budget=n, spread=spread, max_labels_per_pair=r)
    return geometry, criterion, feasible, newton(criterion, feasible, tol=1e-8)


def value_without(criterion, geometry, pairs, copies, n):
    return criterion.value(geometry.information_of(torch.as_tensor(pairs), torch.as_tensor(copies / n)))


@pytest.mark.parametrize("n", [15, 60])
def test_no_single_swap_lowers_the_criterion_by_plain_recomputation(n):
    geometry, criterion, feasible, design = solved(n)
    batch = exact(criterion, feasible, design.weights)
    assert batch.labels == n
    assert batch.inclusion is None
    best = realised(criterion, feasible, batch)
    rng = np.random.default_rng(0)
    outside = np.setdiff1d(np.arange(geometry.pairs), batch.pairs)
    for e in rng.choice(n, size=5, replace=False):
        for f in outside:
            pairs = np.append(np.delete(batch.pairs, e), f)
            assert value_without(criterion, geometry, pairs, np.ones(n), n) >= best * (1 - 1e-9)


@pytest.mark.parametrize(("spread", "r"), [("free", 1.0), ("free", 3.0), ("balanced", 1.0), ("capped", 1.0)])
def test_the_same_design_gives_the_same_batch_and_it_beats_a_usual_draw(spread, r):
    _, criterion, feasible, design = solved(30, spread=spread, r=r)
    first, second = (exact(criterion, feasible, design.weights) for _ in range(2))
    assert np.array_equal(first.pairs, second.pairs)
    assert np.array_equal(first.copies, second.copies)
    assert first.copies.max() <= r
    draws = [realised(criterion, feasible, sample(feasible, design.weights, seed=k)) for k in range(9)]
    assert realised(criterion, feasible, first) < np.median(draws)
    assert realised(criterion, feasible, first) >= design.certificate.lower_bound * (1 - 1e-9) or spread == "balanced"


def test_a_tally_counts_and_takes_back():
    geometry, _, feasible, design = solved(30, spread="capped")
    tally = start(feasible, design.weights)
    assert tally.labels == 30
    assert not tally.has_room(np.arange(geometry.pairs)).any()  # the budget is spent
    assert not bool(tally.open_pairs().any())
    pair = next(iter(tally.copies))
    tally.add(pair, -1)
    assert tally.has_room(np.arange(geometry.pairs)).tolist() == tally.open_pairs().tolist()
    assert tally.has_room(np.array([pair]))[0]


def test_swaps_say_what_dropping_and_adding_say():
    geometry, _, feasible, design = solved(30, spread="balanced")
    tally = start(feasible, design.weights)
    leaving = np.array(sorted(tally.copies))
    entering = np.arange(0, geometry.pairs, 7)
    allowed = tally.swaps(leaving, entering)
    for at, e in enumerate(leaving.tolist()):
        tally.add(e, -1)
        low = tally.used_prompt >= tally.prompt_low - 1e-6
        for col, f in enumerate(entering.tolist()):
            fits = bool(tally.has_room(np.array([f]))[0]) and f not in tally.copies and f != e
            tally.add(f)
            kept = bool((tally.used_prompt >= tally.prompt_low - 1e-6).all())
            tally.add(f, -1)
            if f != e:
                assert allowed[at, col] == (fits and kept), (e, f, low.all())
        tally.add(e)


def test_a_tally_starts_from_the_pins():
    geometry, _ = problem(20, 6, 8)
    feasible = make_feasible(geometry, budget=20, spread="balanced", pinned=[3, 40], max_labels_per_pair=2)
    tally = Tally(feasible, uniform_design(feasible))
    assert tally.copies == {3: 2, 40: 2}
    assert tally.used_prompt.sum() == 4
    assert tally.closed(np.array([3, 4])).tolist() == [True, False]


def test_baits_scheme_spends_the_budget_and_is_no_better():
    _, criterion, feasible, design = solved(25)
    bait = forward_backward(criterion, feasible)
    assert bait.labels == 25
    ours = realised(criterion, feasible, exact(criterion, feasible, design.weights))
    assert ours <= realised(criterion, feasible, bait) * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "bar"), [(175, 1.45), (500, 1.03), (2000, 1.005)])
def test_on_generator_g_the_batch_is_as_near_the_bound_as_promised(n, bar):
    geometry, criterion = problem(805, 19, 128)
    feasible = make_feasible(geometry, budget=n, spread="free")
    design = newton(criterion, feasible, tol=1e-6)
    batch = exact(criterion, feasible, design.weights)
    assert batch.labels == n
    assert realised(criterion, feasible, batch) / design.certificate.lower_bound <= bar
