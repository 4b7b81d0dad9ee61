"""Truths of every constraint, alone and together: cvxpy, linear programs, and impossible wishes named."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.sets.limits import Limits
from curation.design.sets.linear import maximise
from curation.design.sets.make import make_feasible
from curation.design.sets.multipliers import generator_toll
from curation.design.sets.uniform import uniform_design
from curation.design.solvers.newton import newton
from curation.errors import DesignError
from tests.desk.constrained_cases import (
    ConstrainedCase,
    assert_feasible_constrained,
    best_linear_constrained,
    conic_optimum_constrained,
    constrained_case,
    generator_rows,
    polytope_of,
    prior_of,
    some_design_exists,
)


def assert_solved(seed: int) -> None:
    case = constrained_case(seed)
    best = conic_optimum_constrained(case)
    design = newton(case.criterion, case.feasible(), tol=1e-8)
    said = f"seed {seed} ({design.stopped}, {design.passes} passes): {case.words()}"
    assert_feasible_constrained(case, design.weights.numpy())
    assert design.certificate.objective == pytest.approx(best, rel=1e-6), said
    assert design.certificate.lower_bound <= best * (1 + 1e-7), said
    assert design.certificate.gap <= 1e-6, said


@pytest.mark.parametrize("seed", [*range(12), 81, 105, 190])  # the last: own caps of some prompts only, r infinite
def test_the_solver_reaches_the_conic_optimum_under_any_constraints(seed):
    assert_solved(seed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("seed", range(12, 200))
def test_the_solver_reaches_the_conic_optimum_under_any_constraints_at_length(seed):
    assert_solved(seed)


@pytest.mark.slow
def test_the_random_problems_cover_every_constraint_in_company():
    cases = [constrained_case(seed) for seed in range(200)]
    on = np.array(
        [
            [
                case.asked.per_prompt is not None,
                case.asked.generator_share is not None,
                bool(case.asked.quotas),
                case.asked.costs is not None,
                len(case.settings["pinned"]) > 0,
                len(case.settings["excluded"]) > 0,
                case.previous is not None,
            ]
            for case in cases
        ]
    ).astype(int)
    together = on.T @ on
    assert together.min() >= 10  # any two constraints meet in ten problems or more
    for spread in ("free", "balanced", "capped"):
        assert on[[case.settings["spread"] == spread for case in cases]].sum(0).min() >= 10


@pytest.mark.parametrize("seed", range(60))
def test_linear_maximisation_reaches_the_linear_program_and_stays_feasible(seed):
    case = constrained_case(seed)
    feasible = case.feasible()
    for trial in range(3):
        values = np.random.default_rng([seed, trial]).random(case.geometry.pairs)
        values = np.round(values, 1) if trial == 1 else values  # ties
        tensor = torch.as_tensor(values)
        pairs, amounts, reach = maximise(feasible, tensor)
        expected = best_linear_constrained(case, values)
        assert reach + feasible.pinned_value(tensor) == pytest.approx(expected, abs=1e-8), case.words()
        chosen = feasible.pinned_weights().index_add(0, pairs, amounts).numpy()
        assert_feasible_constrained(case, chosen)
        assert chosen @ values == pytest.approx(expected, abs=1e-8), case.words()


@pytest.mark.parametrize("seed", range(60))
def test_the_uniform_design_is_feasible(seed):
    case = constrained_case(seed)
    assert_feasible_constrained(case, uniform_design(case.feasible()).numpy())


@pytest.mark.parametrize("seed", range(20))
def test_labels_are_the_budget_or_the_budget_at_mean_cost(seed):
    for costs in (False, True):
        case = constrained_case(seed, costs=costs)
        feasible = case.feasible()
        assert feasible.budget == pytest.approx(case.settings["budget"])
        assert feasible.labels == pytest.approx(case.labels)


@pytest.mark.parametrize("seed", range(6))
def test_earlier_labels_enter_the_prior_per_label_of_this_design(seed):
    case = constrained_case(seed, previous=True)
    found = make_criterion(
        case.geometry, case.criterion.fisher, ridge=case.ridge, previous=torch.as_tensor(case.previous) / case.labels
    )
    assert found.prior.numpy() == pytest.approx(prior_of(case), rel=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_what_was_learnt_before_never_raises_the_optimum(seed):
    case = constrained_case(seed, previous=True)
    ignorant = replace(case, previous=None)
    ignorant = replace(ignorant, criterion=replace(case.criterion, prior=torch.as_tensor(prior_of(ignorant))))
    assert optimum(case) <= optimum(ignorant) * (1 + 1e-7)


def optimum(case: ConstrainedCase) -> float:
    return newton(case.criterion, case.feasible(), tol=1e-8).certificate.objective


def without(case: ConstrainedCase, **changes) -> ConstrainedCase:
    """The case with fields of its limits, or settings, changed."""
    settings = {name: changes.pop(name) for name in list(changes) if name in case.settings}
    return replace(case, settings={**case.settings, **settings}, limits=replace(case.asked, **changes))


def relaxations(case: ConstrainedCase) -> dict[str, ConstrainedCase]:
    """The case with one constraint less, where by definition that only adds designs.

    Own caps, pins and exclusions move the split over strata and prompts, so they are only dropped without either.
    """
    limits, settings, out = case.asked, case.settings, {}
    if limits.generator_share is not None:
        out["generator share"] = without(case, generator_share=None)
    if settings["spread"] != "free":
        out["spread"] = without(case, spread="free")
        return out
    if limits.quotas:
        out["quotas"] = without(case, quotas={})
        return out
    if limits.per_prompt is not None:
        out["own caps"] = without(case, per_prompt=None)
    if len(settings["pinned"]):
        out["pins"] = without(case, pinned=[])
    elif case.r == 1:
        out["r"] = without(case, max_labels_per_pair=2.0)
    if len(settings["excluded"]):
        out["exclusions"] = without(case, excluded=[])
    return out


@pytest.mark.parametrize(
    ("fixed", "dropped"),
    [
        ({"spread": "free", "r": 1.0, "quotas": False, "pins": True, "outs": True}, {"pins", "exclusions"}),
        ({"spread": "free", "r": 1.0, "quotas": False, "pins": False, "caps": True}, {"own caps", "r"}),
        ({"spread": "free", "quotas": True, "generators": True}, {"quotas", "generator share"}),
        ({"spread": "balanced", "generators": True}, {"spread", "generator share"}),
        ({"spread": "capped", "generators": True}, {"spread", "generator share"}),
    ],
)
@pytest.mark.parametrize("seed", range(6))
def test_no_constraint_less_ever_raises_the_optimum(seed, fixed, dropped):
    case = constrained_case(seed, **fixed)
    value, less = optimum(case), relaxations(case)
    assert dropped <= set(less)
    for name, relaxed in less.items():
        assert optimum(relaxed) <= value * (1 + 1e-7), f"without {name}: {case.words()}"


def wide() -> Geometry:
    """Ten pairs: six of the first prompt (0-5), three of the second (6-8), one of the third (9)."""
    rows = np.random.default_rng(0).standard_normal((9, 2))
    return Geometry(rows, np.array([0, 4, 7, 9]))


STRATA = {"strata": np.array([0, 1, 1]), "stratum_names": ("maths", "law")}
ONE_OF_ALL = {"generators": np.zeros(9, dtype=int), "generator_names": ("alpha",)}
# generator 0 answers twice for the first prompt, once for the others: 5 of 6, 2 of 3 and 1 of 1 pairs are its own
MIXED = {"generators": np.array([0, 0, 1, 2, 0, 1, 2, 0, 1]), "generator_names": ("alpha", "beta", "gamma")}


@pytest.mark.parametrize("spread", ["free", "balanced", "capped"])
@pytest.mark.parametrize(
    ("options", "limits", "words"),
    [
        ({"budget": 11}, {}, ["budget 11", "10"]),
        ({"budget": 6}, {"per_prompt": 2}, ["--per-prompt", "budget 6", "5"]),
        ({"budget": 6}, {"per_prompt": np.array([2.0, 2.0, math.inf])}, ["--per-prompt", "6", "5"]),
        ({"budget": 2}, {"per_prompt": -1}, ["--per-prompt", "-1", "negative"]),
        ({"budget": 2, "pinned": [0, 1]}, {"per_prompt": 1}, ["pinned", "--per-prompt", "2", "1"]),
        (
            {"budget": 4, "pinned": [0], "max_labels_per_pair": 2.0},
            {"per_prompt": np.array([1.0, 9.0, 9.0])},
            ["pinned", "--per-prompt", "2", "1"],
        ),
        ({"budget": 5}, {**STRATA, "quotas": {0: (3, math.inf), 1: (4, math.inf)}}, ["quota", "7", "5"]),
        ({"budget": 5}, {**STRATA, "quotas": {0: (0, 2), 1: (0, 2)}}, ["quota", "4", "5"]),
        ({"budget": 8}, {**STRATA, "quotas": {1: (5, 6)}}, ["quota", "law", "5", "4"]),
        ({"budget": 8}, {**STRATA, "quotas": {0: (0, 2)}}, ["quota", "6", "8"]),
        ({"budget": 5, "excluded": [9]}, {**STRATA, "quotas": {1: (4, 4)}}, ["quota", "law", "4", "3"]),
        ({"budget": 5}, {**STRATA, "quotas": {1: (4, 3)}}, ["quota", "law", "4", "3"]),
        ({"budget": 5, "pinned": [0, 1, 2]}, {**STRATA, "quotas": {0: (0, 2)}}, ["pinned", "quota", "maths", "3", "2"]),
        ({"budget": 5}, {"quotas": {0: (1, 2)}}, ["quota", "strat"]),
        ({"budget": 3}, {"per_prompt": 1, **STRATA, "quotas": {0: (2, 3)}}, ["maths", "2", "1"]),
        ({"budget": 5}, {**ONE_OF_ALL, "generator_share": 0.5}, ["generator", "0.5|50|2"]),
        ({"budget": 9}, {**MIXED, "generator_share": {0: 0.3}}, ["generator", "alpha", "0.3|30|2"]),
        (
            {"budget": 5, "pinned": [0, 1, 3]},
            {**MIXED, "generator_share": {0: 0.5}},
            ["pinned", "generator", "alpha", "3", "2"],
        ),
        ({"budget": 5}, {"generator_share": 0.5}, ["generator"]),
        ({"budget": 5}, {**MIXED, "generator_share": 0.0}, ["generator", "0"]),
        ({"budget": 5}, {**MIXED, "generator_share": 1.5}, ["generator", "1.5"]),
        ({"budget": 5}, {"costs": np.array([1.0] * 9 + [0.0])}, ["cost", "0"]),
        ({"budget": 5}, {"costs": np.array([1.0] * 9 + [-2.0])}, ["cost", "-2"]),
        ({"budget": 5}, {"costs": np.array([1.0] * 9 + [math.nan])}, ["cost", "nan"]),
        ({"budget": 5}, {"costs": np.ones(7)}, ["cost", "7", "10"]),
        ({"budget": 21.0}, {"costs": np.full(10, 2.0)}, ["budget 21", "20"]),
        ({"budget": 9.0}, {"costs": np.full(10, 2.0), "per_prompt": 1}, ["--per-prompt", "9", "6"]),
        ({"budget": 5.0, "pinned": [0, 1, 2]}, {"costs": np.full(10, 2.0)}, ["pinned", "6", "5"]),
        (
            {"budget": 8.0},
            {"costs": np.full(10, 2.0), **STRATA, "quotas": {1: (8.5, 9.0)}},
            ["quota", "law|8.5", "8"],
        ),
    ],
)
def test_an_infeasible_constraint_is_named_with_its_amount(spread, options, limits, words):
    with pytest.raises(DesignError) as caught:
        make_feasible(wide(), spread=spread, **options, limits=Limits(**limits))
    for word in words:
        assert any(part in str(caught.value) for part in word.split("|")), f"{word!r} not in {caught.value}"


@pytest.mark.parametrize("spread", ["free", "balanced", "capped"])
@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({"budget": 5}, {"per_prompt": 2}),
        ({"budget": 2, "pinned": [0, 1]}, {"per_prompt": 2}),
        ({"budget": 7}, {**STRATA, "quotas": {0: (3, math.inf), 1: (4, math.inf)}}),
        ({"budget": 4}, {**STRATA, "quotas": {0: (0, 2), 1: (0, 2)}}),
        ({"budget": 8}, {**STRATA, "quotas": {1: (4, 4)}}),
        ({"budget": 5, "pinned": [0, 1, 2]}, {**STRATA, "quotas": {0: (0, 3)}}),
        ({"budget": 5}, {**ONE_OF_ALL, "generator_share": 1.0}),
        ({"budget": 10}, {**MIXED, "generator_share": {0: 0.8}}),
        ({"budget": 20.0}, {"costs": np.full(10, 2.0)}),
        ({"budget": 6.0}, {"costs": np.full(10, 2.0), "per_prompt": 1}),
    ],
)
def test_the_largest_feasible_wish_is_granted(spread, options, limits):
    settings = {"max_labels_per_pair": 1.0, "pinned": [], "excluded": [], "spread": spread, **options}
    criterion = make_criterion(wide(), torch.eye(2).double(), ridge=0.1)
    case = ConstrainedCase(wide(), criterion, settings, Limits(**limits))
    assert some_design_exists(case)
    design = newton(case.criterion, case.feasible(), tol=1e-6)
    assert_feasible_constrained(case, design.weights.numpy())
    assert_feasible_constrained(case, uniform_design(case.feasible()).numpy())


@pytest.mark.parametrize("seed", range(40))
def test_what_no_linear_program_can_meet_is_refused_and_what_one_can_is_not(seed):
    """The amounts of a feasible problem pushed one label past, and one short of, what the others allow."""
    case = constrained_case(seed, generators=True)
    rng = np.random.default_rng([seed, 5])
    for share in rng.uniform(0.05, 0.9, size=4).tolist():
        tried = without(case, generator_share=share)
        if some_design_exists(tried):
            tried.feasible()
        else:
            with pytest.raises(DesignError, match=r"generator"):
                tried.feasible()


def test_quotas_split_the_budget_by_weight_clip_it_and_make_it_whole():
    geometry = Geometry(np.eye(12)[:, :3], np.arange(0, 15, 3), prompt_weights=np.array([1.0, 1.0, 1.0, 3.0]))
    strata = np.array([0, 1, 1, 2])

    def blocks(budget: int, quotas: dict[int, tuple[float, float]]) -> list[float]:
        limits = Limits(strata=strata, quotas=quotas)
        feasible = make_feasible(geometry, budget=budget, max_labels_per_pair=math.inf, spread="free", limits=limits)
        pi = uniform_design(feasible).numpy() * feasible.labels
        return [
            float(pi[geometry.pair_offsets[a] : geometry.pair_offsets[b]].sum()) for a, b in ((0, 1), (1, 3), (3, 4))
        ]

    assert blocks(12, {0: (0, math.inf)}) == pytest.approx([2, 4, 6])  # 1 : 2 : 3
    assert blocks(12, {0: (4, 5)}) == pytest.approx([4, 3, 5])  # 8 left at 2 : 3, 3.2 and 4.8 made whole
    assert blocks(12, {2: (0, 3)}) == pytest.approx([3, 6, 3])
    assert blocks(7, {1: (0, math.inf)}) == pytest.approx([1, 2, 4])  # 1.17, 2.33, 3.5
    assert blocks(3, {1: (0, math.inf)}) == pytest.approx([1, 1, 1])  # 0.5, 1, 1.5: a tie to the lower number


def test_a_pair_within_one_generator_counts_once():
    geometry = Geometry(np.random.default_rng(1).standard_normal((3, 2)), np.array([0, 3]))
    limits = Limits(generators=np.array([0, 0, 1]), generator_share={1: 0.5})
    feasible = make_feasible(geometry, budget=2, spread="free", limits=limits)
    pairs, amounts, _ = maximise(feasible, torch.tensor([0.0, 1.0, 2.0]).double())
    weights = torch.zeros(3).double().index_add(0, pairs, amounts)
    assert weights.tolist() == pytest.approx([0.5, 0.0, 0.5])  # one label within generator 0, one with generator 1
    with pytest.raises(DesignError, match="generator"):
        make_feasible(geometry, budget=2, spread="free", limits=replace(limits, generator_share={0: 0.5}))


def test_the_price_of_a_generator_falls_on_each_of_its_pairs_once_and_in_full_precision():
    case = constrained_case(39)
    prices = {g: 1 / (3 + g) for g in generator_rows(case)}
    expected = sum(prices[g] * row for g, row in generator_rows(case).items())
    assert generator_toll(case.feasible(), prices).numpy() == pytest.approx(expected, rel=1e-14)


def test_responses_of_unknown_generator_are_never_capped():
    geometry = Geometry(np.random.default_rng(2).standard_normal((4, 2)), np.array([0, 4]))
    limits = Limits(generators=np.array([-1, -1, -1, 0]), generator_share=0.34)
    case_pairs = maximise(
        make_feasible(geometry, budget=3, spread="free", limits=limits),
        torch.tensor([0.0, 0.0, 9.0, 0.0, 9.0, 9.0]).double(),
    )
    weights = torch.zeros(6).double().index_add(0, case_pairs[0], case_pairs[1])
    assert float(weights[[2, 4, 5]].sum() * 3) == pytest.approx(1.0)  # floor(0.34 x 3) of generator 0


def test_a_budget_in_cost_units_is_spent_to_the_last():
    geometry = Geometry(np.random.default_rng(3).standard_normal((5, 2)), np.array([0, 3, 5]))
    costs = np.array([1.0, 2.0, 4.0, 3.0])
    feasible = make_feasible(geometry, budget=5.0, spread="free", limits=Limits(costs=costs))
    assert feasible.labels == pytest.approx(2.0)  # 5 over a mean of 2.5
    pairs, amounts, reach = maximise(feasible, torch.tensor([1.0, 1.0, 1.0, 1.0]).double())
    pi = torch.zeros(4).double().index_add(0, pairs, amounts).numpy() * feasible.labels
    assert pi == pytest.approx([1, 1, 0, 2 / 3])  # the cheapest first
    assert reach * feasible.labels == pytest.approx(8 / 3)
    assert pi @ costs == pytest.approx(5)


@pytest.mark.parametrize("spread", ["free", "balanced", "capped"])
def test_limits_that_bind_nothing_change_nothing(spread):
    case = constrained_case(
        3, spread=spread, r=1.0, caps=False, generators=False, quotas=False, costs=False, previous=False
    )
    loose = Limits(
        per_prompt=math.inf,
        strata=np.zeros(case.geometry.prompts, dtype=int),
        quotas={0: (0.0, math.inf)},
        generators=np.zeros(len(case.geometry.features), dtype=int),
        generator_share=1.0,
        costs=np.ones(case.geometry.pairs),
    )
    bound = replace(case, limits=loose)
    assert polytope_of(bound).low == pytest.approx(polytope_of(case).low)
    weights = [newton(c.criterion, c.feasible(), tol=1e-9).weights.numpy() for c in (case, bound)]
    values = [case.criterion.value(case.geometry.information(torch.as_tensor(w))) for w in weights]
    assert values[1] == pytest.approx(values[0], rel=1e-7)
    assert_feasible_constrained(case, weights[1])


@pytest.mark.parametrize("spread", ["free", "balanced", "capped"])
def test_doubling_every_price_and_the_budget_changes_nothing(spread):
    case = constrained_case(4, spread=spread, costs=True, quotas=False)
    dear = without(case, budget=2 * case.settings["budget"], costs=2 * case.costs)
    assert dear.labels == pytest.approx(case.labels)
    assert optimum(dear) == pytest.approx(optimum(case), rel=1e-7)
