"""What settings and pool together demand of a batch: hand-worked costs, strata and generators; errors that name names."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from curation.design.geometry import Geometry
from curation.errors import CurationError, DesignError, PoolError
from curation.pool.limits import cost_parts, generator_groups, stratum_groups
from curation.pool.schema import Pool, Prompt, Response
from curation.run.constraints import pool_limits
from curation.setting_rules import parse_quota, parse_quotas
from curation.settings import DesignSettings


def response(key: str, text: str, generator: str | None = None, **meta: Any) -> Response:
    return Response(key, text, generator=generator, meta=meta)


def hand_pool() -> Pool:
    """Three prompts: all pairs of three, one listed pair of three, all pairs of two; seven responses priced."""
    first = (response("a", "x" * 100, "m2", min=1), response("b", "y" * 200, "m1", min=2.5), response("c", "", min=4))
    second = (response("a", "z" * 50, "m1"), response("b", "z", "m2"), response("c", "z" * 950, "m2"))
    third = (response("a", "u", min=0.5), response("b", "vv", "m3", min=0.25))
    return Pool(
        (
            Prompt("p1", "?", first, stratum="law", meta={"fee": 3}),
            Prompt("p2", "?", second, pairs=((0, 2), (1, 2)), meta={"fee": 7.5, "min": 10}),
            Prompt("p3", "?", third, stratum="chat", meta={"fee": 1}),
        )
    )


def geometry_of(pool: Pool) -> Geometry:
    rng = np.random.default_rng(0)
    return Geometry(rng.standard_normal((pool.n_responses, 3)), pool.offsets(), edges=pool.edges())


def limits_of(pool: Pool | None = None, **asked: Any):
    pool = pool or hand_pool()
    return pool_limits(pool, geometry_of(pool), DesignSettings(budget=4, **asked))


def with_meta(pool: Pool, prompt: int, candidate: int | None, **meta: Any) -> Pool:
    """The pool with the meta of a prompt, or of one of its candidates, replaced."""
    entry = pool.prompts[prompt]
    if candidate is None:
        entry = replace(entry, meta=meta)
    else:
        kept = list(entry.responses)
        kept[candidate] = replace(kept[candidate], meta=meta)
        entry = replace(entry, responses=tuple(kept))
    prompts = [entry if x == prompt else other for x, other in enumerate(pool.prompts)]
    return Pool(tuple(prompts))


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        ("fee", [3, 3, 3, 7.5, 7.5, 1]),  # the prompt's alone
        ("min", [3.5, 5, 6.5, 10, 10, 0.75]),  # p2 names it on the prompt, the others on responses
        ("characters", [0.3, 0.1, 0.2, 1.0, 0.951, 0.003]),
    ],
)
def test_a_pair_costs_what_prompt_and_responses_name(cost, expected):
    np.testing.assert_allclose(limits_of(cost=cost).costs, expected, rtol=1e-12)


def test_prompt_and_response_costs_add_up_on_every_pair_of_a_random_pool():
    rng = np.random.default_rng(3)
    prompts = []
    for x in range(12):
        size = int(rng.integers(2, 7))
        every = [(i, j) for i in range(size) for j in range(i + 1, size)]
        keep = sorted(rng.permutation(len(every))[: rng.integers(1, len(every) + 1)].tolist())
        meta = {"c": float(rng.uniform(1, 2))} if rng.random() < 0.7 else {}
        answers = tuple(response(f"r{k}", "t", c=float(rng.uniform(0, 1))) for k in range(size))
        pairs = tuple(every[k] for k in keep) if rng.random() < 0.5 else None
        prompts.append(Prompt(f"p{x}", "?", answers, pairs=pairs, meta=meta))
    pool = Pool(tuple(prompts))
    expected = [
        p.meta.get("c", 0.0) + p.responses[i].meta["c"] + p.responses[j].meta["c"]
        for p in prompts
        for i in range(len(p.responses))
        for j in range(i + 1, len(p.responses))
        if p.pairs is None or (i, j) in p.pairs
    ]
    np.testing.assert_allclose(limits_of(pool, cost="c").costs, expected, rtol=1e-12)


@pytest.mark.parametrize("value", ["3", True, [1], math.inf, math.nan, 10**400])
def test_a_cost_that_is_not_a_finite_number_is_named_with_its_place(value):
    pool = with_meta(hand_pool(), 2, 1, min=value)
    with pytest.raises(PoolError, match="prompt 'p3', response 'b'") as told:
        limits_of(pool, cost="min")
    assert repr(value)[:20] in str(told.value)
    with pytest.raises(PoolError, match="prompt 'p1': cost 'fee'"):
        limits_of(with_meta(hand_pool(), 0, None, fee=value), cost="fee")


def test_a_pair_without_a_cost_or_with_none_above_zero_is_named():
    bare = with_meta(with_meta(hand_pool(), 2, 0), 2, 1)
    with pytest.raises(PoolError, match=r"'p3', responses 'a' and 'b': no 'min' is given \(1 of 6"):
        limits_of(bare, cost="min")
    with pytest.raises(PoolError, match=r"no 'euros' is given \(6 of 6"):
        limits_of(cost="euros")
    with pytest.raises(PoolError, match=re.escape("'p3', responses 'a' and 'b': 'min' sums to -1.5, not above 0")):
        limits_of(with_meta(hand_pool(), 2, 0, min=-1.75), cost="min")
    below = with_meta(hand_pool(), 1, 0, min=-9.5)  # a rebate on one response leaves its pairs above zero
    np.testing.assert_allclose(limits_of(below, cost="min").costs[3:5], [0.5, 10])


def test_a_cost_of_one_side_only_is_what_the_pair_costs():
    pool = with_meta(hand_pool(), 2, 1)
    assert limits_of(pool, cost="min").costs[5] == 0.5


def test_strata_and_generators_are_numbered_by_name():
    pool = hand_pool()
    strata, generators = stratum_groups(pool), generator_groups(pool)
    assert strata.names == ("(none)", "chat", "law")
    assert strata.numbers.tolist() == [2, 0, 1]
    assert generators.names == ("m1", "m2", "m3")
    assert generators.numbers.tolist() == [1, 0, -1, 0, 1, 1, -1, 2]
    limits = limits_of(quotas=(("law", 1.0, 2.0), ("(none)", 0.0, math.inf)), generator_share=0.5, per_prompt=2)
    assert limits.quotas == {2: (1.0, 2.0), 0: (0.0, math.inf)}
    assert limits.stratum_names == strata.names
    assert limits.generator_names == generators.names
    assert (limits.generator_share, limits.per_prompt, limits.costs) == (0.5, 2, None)
    np.testing.assert_array_equal(limits.strata, strata.numbers)
    np.testing.assert_array_equal(limits.generators, generators.numbers)


def test_a_quota_of_an_unknown_stratum_lists_those_there_are():
    with pytest.raises(DesignError, match=re.escape("quota of poems: no prompt of this pool has that stratum")) as told:
        limits_of(quotas=(("poems", 1.0, 2.0),))
    assert "(none), chat, law" in str(told.value)


def test_what_is_missing_is_nan_until_it_is_added():
    prompts, responses = cost_parts(hand_pool(), "min")
    np.testing.assert_array_equal(prompts, [math.nan, 10, math.nan])
    np.testing.assert_array_equal(responses, [1, 2.5, 4, math.nan, math.nan, math.nan, 0.5, 0.25])


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("law=1..5", ("law", 1.0, 5.0)),
        (" law = 1 .. 5 ", ("law", 1.0, 5.0)),
        ("law=..9", ("law", 0.0, 9.0)),
        ("law=2.5..", ("law", 2.5, math.inf)),
        ("a=b=1..2", ("a=b", 1.0, 2.0)),
    ],
)
def test_a_quota_is_read_as_written(text, quota):
    assert parse_quota(text) == quota


@pytest.mark.parametrize("text", ["law", "law=5", "=1..2", "law=x..5", "1..5", "law=1-5"])
def test_a_quota_of_another_form_is_refused_with_the_form(text):
    with pytest.raises(DesignError, match=re.escape(repr(text))) as told:
        parse_quotas(f"chat=1..2;{text}")
    assert "LO..HI" in str(told.value)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"quotas": (("a", 5.0, 1.0),)}, "quota a=5..1 is not a range"),
        ({"quotas": (("a", -1.0, 1.0),)}, "quota a=-1..1 is not a range"),
        ({"quotas": (("a", math.nan, 1.0),)}, "quota a=nan..1 is not a range"),
        ({"quotas": (("a", math.inf, math.inf),)}, "not a range"),
        ({"quotas": (("a", 0.0, 1.0), ("a", 1.0, 2.0))}, "quota a is given twice"),
        ({"per_prompt": 0}, "--per-prompt 0 is below 1"),
        ({"generator_share": 0.0}, "--generator-share 0 is outside"),
        ({"generator_share": 1.01}, "--generator-share 1.01 is outside"),
        ({"generator_share": math.nan}, "--generator-share nan is outside"),
        ({"cost": " "}, "--cost is empty"),
        ({"budget": 2.5}, "2.5 is not a whole number of labels"),
        ({"budget": math.nan}, "nan is not a whole number"),
        ({"budget": 0}, "budget 0 is below 1"),
        ({"budget": 0.0, "cost": "min"}, "budget 0 is not a positive number"),
        ({"budget": math.inf, "cost": "min"}, "budget inf is not a positive number"),
    ],
)
def test_settings_out_of_range_are_refused_with_value_and_rule(asked, words):
    with pytest.raises(CurationError, match=re.escape(words)):
        DesignSettings(**{"budget": 4, **asked})


def test_a_budget_may_be_a_fraction_where_there_is_a_cost():
    assert DesignSettings(budget=0.5, cost="min").budget == 0.5
