"""Truths of the feasible set: linear programs, totals by the definition, and infeasible wishes named."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from curation.design.geometry import Geometry
from curation.design.sets.allotment import water_fill
from curation.design.sets.linear import maximise
from curation.design.sets.make import make_feasible, resolve_spread
from curation.design.sets.uniform import uniform_design
from curation.errors import DesignError
from tests.desk.builders import assert_feasible, best_linear, bounds_of, membership, random_case, random_geometry

SPREADS = ("free", "balanced", "capped")


def weights_of(case, pairs, amounts) -> np.ndarray:
    return case.feasible.pinned_weights().index_add(0, pairs, amounts).numpy()


@pytest.mark.parametrize("r", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("spread", SPREADS)
def test_linear_maximisation_reaches_the_linear_program_and_stays_feasible(spread, r):
    for seed in range(25):
        case = random_case(seed, spread, r, prompts=7)
        values = np.random.default_rng([seed, 1]).random(case.geometry.pairs)
        if seed % 3 == 0:
            values = np.round(values, 1)  # ties
        tensor = torch.as_tensor(values)
        pairs, amounts, reach = maximise(case.feasible, tensor)
        assert reach + case.feasible.pinned_value(tensor) == pytest.approx(best_linear(case, values), abs=1e-9), seed
        chosen = weights_of(case, pairs, amounts)
        assert_feasible(case, chosen)
        assert chosen @ values == pytest.approx(reach + case.feasible.pinned_value(tensor))


@pytest.mark.parametrize("r", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("spread", SPREADS)
def test_the_uniform_design_is_feasible_and_alike_within_each_prompt(spread, r):
    for seed in range(15):
        case = random_case(seed, spread, r, prompts=7)
        uniform = uniform_design(case.feasible).numpy()
        assert_feasible(case, uniform)
        open_pairs = np.ones(case.geometry.pairs, dtype=bool)
        open_pairs[case.pins] = False
        open_pairs[case.outs] = False
        for row in membership(case.geometry).astype(bool):
            inside = uniform[row & open_pairs]
            assert inside == pytest.approx(np.full(len(inside), inside.mean() if len(inside) else 0.0), abs=1e-12)


@pytest.mark.parametrize("spread", ["free", "capped"])
def test_uniform_gives_all_pairs_the_same_where_nothing_is_in_the_way(spread):
    geometry = Geometry(np.zeros((40, 2)), np.arange(0, 44, 4))
    uniform = uniform_design(make_feasible(geometry, budget=30, spread=spread)).numpy()
    assert uniform == pytest.approx(np.full(60, 1 / 60))


@pytest.mark.parametrize("spread", SPREADS)
def test_a_budget_of_all_pairs_leaves_one_design(spread):
    geometry = random_geometry(1)
    feasible = make_feasible(geometry, budget=geometry.pairs, spread=spread)
    everything = np.full(geometry.pairs, 1 / geometry.pairs)
    assert uniform_design(feasible).numpy() == pytest.approx(everything)
    pairs, amounts, _ = maximise(feasible, torch.rand(geometry.pairs, generator=torch.manual_seed(0)).double())
    assert torch.zeros(geometry.pairs).double().index_add(0, pairs, amounts).numpy() == pytest.approx(everything)


@pytest.mark.parametrize("spread", SPREADS)
def test_a_budget_of_pins_alone_leaves_nothing_to_choose(spread):
    geometry = random_geometry(2)
    feasible = make_feasible(geometry, budget=6, max_labels_per_pair=2, spread=spread, pinned=[0, 3, 5])
    assert feasible.remaining == 0
    pairs, amounts, reach = maximise(feasible, torch.ones(geometry.pairs).double())
    assert (len(pairs), len(amounts), reach) == (0, 0, 0.0)
    assert np.flatnonzero(uniform_design(feasible).numpy()).tolist() == [0, 3, 5]


def test_balanced_totals_follow_prompt_weight_until_pins_or_capacity_clip_them():
    geometry = Geometry(np.zeros((15, 1)), np.array([0, 2, 7, 15]), prompt_weights=np.array([4.0, 4.0, 2.0]))
    assert make_feasible(geometry, budget=2, spread="balanced").prompt_labels == pytest.approx([0.8, 0.8, 0.4])
    # the first prompt has one pair: what it cannot take is shared 2 : 1
    assert make_feasible(geometry, budget=10, spread="balanced").prompt_labels == pytest.approx([1, 6, 3])
    # six pins hold the third prompt at 6, and the first two share the last 1.5 labels
    pinned = make_feasible(geometry, budget=8, spread="balanced", pinned=range(11, 17))
    assert pinned.prompt_labels == pytest.approx([1, 1, 6])
    # nine of the second prompt's ten pairs excluded: it holds one
    outs = make_feasible(geometry, budget=10, spread="balanced", excluded=range(1, 10))
    assert outs.prompt_labels == pytest.approx([1, 1, 8])


@pytest.mark.parametrize("seed", range(20))
def test_balanced_totals_agree_with_bisection(seed):
    case = random_case(seed, "balanced", [1.0, 2.0, math.inf][seed % 3], prompts=9)
    assert case.feasible.prompt_labels == pytest.approx(bounds_of(case).totals, abs=1e-7)
    assert case.feasible.prompt_labels.sum() == pytest.approx(case.budget)


def test_caps_are_the_rounded_up_share_and_one_at_least():
    geometry = Geometry(np.zeros((40, 1)), np.arange(0, 50, 10), prompt_weights=np.array([1.0, 2.0, 3.0, 14.0]))
    assert make_feasible(geometry, budget=10, spread="capped").prompt_labels.tolist() == [1, 1, 2, 7]
    assert make_feasible(geometry, budget=3, spread="capped").prompt_labels.tolist() == [1, 1, 1, 3]
    # a pin over its prompt's cap lifts it to the pins
    lifted = make_feasible(geometry, budget=10, spread="capped", pinned=[0, 1, 2]).prompt_labels
    assert lifted.tolist() == [3, 1, 2, 7]


def test_caps_rise_until_the_capacities_suffice():
    geometry = Geometry(np.zeros((16, 1)), np.array([0, 2, 4, 16]), prompt_weights=np.array([10.0, 10.0, 1.0]))
    caps = make_feasible(geometry, budget=20, spread="capped").prompt_labels
    assert caps[:2].tolist() == [1, 1]
    assert caps.sum() >= 20
    assert caps[2] <= 20  # not raised far beyond what is needed


def test_water_filling_without_bounds_is_the_share():
    filled = water_fill(np.array([1.0, 3.0]), np.zeros(2), np.full(2, math.inf), 8.0)
    assert filled == pytest.approx([2, 6])
    assert water_fill(np.ones(3), np.zeros(3), np.full(3, 2.0), 6.0) == pytest.approx([2, 2, 2])
    assert water_fill(np.ones(3), np.full(3, 1.0), np.full(3, 2.0), 3.0) == pytest.approx([1, 1, 1])


def test_auto_balances_only_where_most_prompts_offer_three_pairs():
    def sizes(*k):
        return Geometry(np.zeros((sum(k), 1)), np.concatenate([[0], np.cumsum(k)]))

    assert resolve_spread(sizes(3, 4, 2), "auto") == "balanced"
    assert resolve_spread(sizes(3, 2), "auto") == "capped"
    assert resolve_spread(sizes(2, 2, 5), "auto") == "capped"
    assert resolve_spread(sizes(2, 2, 5), "free") == "free"


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 11}, "budget 11 exceeds the 10 pairs .* lower the budget to 10"),
        ({"budget": 21, "max_labels_per_pair": 2.0}, "budget 21 exceeds the 10 pairs .* at 2 label"),
        ({"budget": 8, "excluded": [1, 2, 9]}, "budget 8 exceeds the 7 pairs .* left after 3 exclusions"),
        ({"budget": 1, "excluded": range(10)}, "exceeds the 0 pairs"),
        ({"budget": 1, "excluded": range(10), "max_labels_per_pair": math.inf}, "exceeds the 0 pairs"),
        (
            {"budget": 3, "pinned": [4, 7], "excluded": [7]},
            "1 pairs are both pinned and excluded .first: pair number 7",
        ),
        ({"budget": 3, "pinned": [0, 1, 2, 3]}, "4 pinned pairs take 4 labels, over the budget of 3"),
        ({"budget": 3, "pinned": [0, 1], "max_labels_per_pair": 2.0}, "2 pinned pairs take 4 labels"),
        ({"budget": 3, "pinned": [0], "max_labels_per_pair": math.inf}, "pins need a finite --max-labels-per-pair"),
    ],
)
def test_an_infeasible_wish_is_named_with_its_amount(spread, options, words):
    wide = Geometry(np.zeros((9, 1)), np.array([0, 4, 7, 9]))
    assert wide.pairs == 10
    with pytest.raises(DesignError, match=words):
        make_feasible(wide, spread=spread, **options)


@pytest.mark.parametrize("spread", SPREADS)
def test_the_largest_feasible_wish_is_granted(spread):
    wide = Geometry(np.zeros((9, 1)), np.array([0, 4, 7, 9]))
    assert make_feasible(wide, budget=20, max_labels_per_pair=2.0, spread=spread).prompt_labels.min() >= 2
    assert make_feasible(wide, budget=7, excluded=[1, 2, 9], spread=spread).remaining == 1
    assert make_feasible(wide, budget=4, pinned=[0, 1, 2, 3], spread=spread).remaining == 0


def test_pins_given_twice_count_once():
    wide = Geometry(np.zeros((9, 1)), np.array([0, 4, 7, 9]))
    assert make_feasible(wide, budget=2, pinned=[3, 3, 3], spread="free").remaining == 0.5
