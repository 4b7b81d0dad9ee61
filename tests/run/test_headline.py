"""What an analyst looks at first, against the same figures worked out another way; and rules reckoned afterwards."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from curation.charts.design import against_rules, allocation, frontier
from curation.design.sets.uniform import uniform_design
from curation.insight.concentration import alike, sanity, share_by
from curation.insight.length_share import LengthShare
from curation.run.headline import headline
from curation.run.report import budget_frontier, frontier_budgets, frontier_points, report
from curation.run.results import Solved
from curation.run.solve import solve
from tests.desk.going_on import BASE


@pytest.fixture(scope="module")
def solved(made: dict[str, Any]) -> Solved:
    return solve(made["prepared"], BASE, with_baselines="later")


def test_rules_reckoned_afterwards_are_those_reckoned_at_once(made: dict[str, Any]) -> None:
    later = solve(made["prepared"], BASE, with_baselines="later").baselines
    assert later.found == {}  # type: ignore[attr-defined]
    assert later["greedy"].realised
    assert list(later.found) == ["greedy"]  # type: ignore[attr-defined]
    at_once = solve(made["prepared"], BASE).baselines
    assert dict(later) == at_once
    assert list(later) == list(at_once)
    assert later.missing == ()  # type: ignore[attr-defined]
    with pytest.raises(KeyError):
        later["no such rule"]


def test_a_report_of_a_design_solved_without_its_rules_has_them_all_the_same(solved: Solved) -> None:
    assert report(solved).baselines == {name: rule.realised for name, rule in solved.baselines.items()}
    assert all(value for value in report(solved).baselines.values())


@pytest.mark.parametrize("criterion", ["trace", "determinant"])
def test_the_figures_agree_with_the_same_ones_worked_out_pair_by_pair(made: dict[str, Any], criterion: str) -> None:
    solved = solve(made["prepared"], replace(BASE, criterion=criterion), with_baselines=False)
    found, geometry = headline(solved), made["prepared"].geometry
    z = geometry.vectors(solved.batch.pairs)
    batch = (z.T * torch.as_tensor(solved.batch.copies / solved.feasible.labels)) @ z
    every = geometry.vectors(np.arange(geometry.pairs))
    uniform = (every.T * uniform_design(solved.feasible)) @ every
    mu, basis = np.linalg.eigh(made["prepared"].fisher)
    mu, basis = mu[::-1], torch.as_tensor(basis[:, ::-1].copy())
    ratio = np.array([float(u @ batch @ u) / float(u @ uniform @ u) for u in basis.T])
    matter = [k for k in range(len(mu)) if mu[k] >= mu.mean()]
    assert found.weakest == min(matter, key=lambda k: ratio[k])
    assert found.said == pytest.approx(ratio[found.weakest], rel=1e-6)
    assert found.neglected == int((ratio < 1).sum())
    none, bound = solved.criterion.value(torch.zeros_like(batch)), solved.design.certificate.lower_bound
    assert found.attained == pytest.approx((none - solved.criterion.value(batch)) / (none - bound))
    assert 0 < found.attained < 1.1
    rng = np.random.default_rng(5)
    drawn = [every[rng.choice(geometry.pairs, found.labels, replace=False)] for _ in range(300)]
    values = [solved.criterion.value((z.T @ z) / solved.feasible.labels) for z in drawn]
    spread = 3 * np.std(values) / math.sqrt(6)  # of a mean of six
    assert abs(found.uniform - (none - np.mean(values)) / (none - bound)) <= spread / (none - bound)
    assert found.uniform < found.attained
    counts = {"a": 0, "b": 0}
    for pair, copies in zip(solved.batch.pairs, solved.batch.copies, strict=True):
        counts["ab"[int(geometry.prompt_of(np.array([pair]))[0]) % 2]] += int(copies)
    assert {row.name: row.labels for row in found.strata} == counts
    assert sum(row.share for row in found.strata) == pytest.approx(1)
    assert f"these {found.labels:,} in the criterion" in found.sentence()
    assert found.certificate() in found.sentence()


def test_a_design_that_was_stopped_early_is_not_called_certified(made: dict[str, Any], solved: Solved) -> None:
    assert headline(solved).certain
    assert headline(solved).certified == pytest.approx(BASE.tol)
    early = replace(solved, design=replace(solved.design, stopped="passes"))
    assert not headline(early).certain
    assert "not certified to the end" in headline(early).sentence()


def test_costs_are_told_in_their_own_units(made: dict[str, Any]) -> None:
    found = headline(solve(made["prepared"], replace(BASE, cost="price"), with_baselines=False))
    assert found.unit == "price"
    assert found.cost is not None
    assert found.cost != found.labels


def test_frontier_points_come_one_by_one_and_take_the_design_that_is_there(
    made: dict[str, Any], solved: Solved
) -> None:
    budgets = frontier_budgets(made["prepared"], BASE)
    whole = budget_frontier(made["prepared"], BASE, budgets)
    points = frontier_points(made["prepared"], BASE, budgets, present_design=solved.design)
    assert next(points) == whole[0]
    assert [row[0] for row in points] == [row[0] for row in whole[1:]]
    drawn = frontier(whole, BASE.budget)
    mark = drawn.data[-1]
    assert (mark.x[0], mark.y[0]) == (BASE.budget, {row[0]: row[1] for row in whole}[BASE.budget])


def test_the_chart_of_rules_is_in_order_and_every_value_stands_right_of_its_line(solved: Solved) -> None:
    bound = solved.design.certificate.lower_bound
    low = solved.realised * 1.5  # a bound that batches go below
    for lower in (bound, low):
        figure = against_rules(solved.realised, lower, list(solved.baselines.values()))
        ends = [trace.x[1] for trace in figure.data]
        assert ends == sorted(ends, reverse=True), "the smallest on top"
        assert len(ends) == len(solved.baselines) + 1
        values = [note for note in figure.layout.annotations if note.text != "bound of the fractional design"]
        assert len(values) == len(ends)
        assert all(note.xanchor == "left" and note.x >= 1 for note in values)
        assert any(note.text == "bound of the fractional design" for note in figure.layout.annotations)


def test_the_allocation_shows_every_stratum_and_its_share_of_the_prompts(solved: Solved) -> None:
    found = headline(solved)
    bars, marks = allocation(found.strata).data
    assert sum(bars.x) == found.labels
    assert sum(marks.x) == pytest.approx(found.labels)


def test_a_generator_that_draws_three_times_its_share_is_named_and_an_even_design_is_sane() -> None:
    even = LengthShare(0.5, 0.5, 0.5, 0.01, 0.01)
    strata = share_by(["s", "t"], [0.5, 0.5], [0.5, 0.5])
    fair = share_by(["cedar", "ember"], [0.55, 0.45], [0.5, 0.5])
    sane, told = sanity(fair, strata, even)
    assert sane
    assert "cedar draws 1.1 times" in told
    heavy = share_by(["cedar", "ember", "tiny"], [0.6, 0.39, 0.01], [0.2, 0.799, 0.001])
    sane, told = sanity(heavy, strata, even)
    assert not sane
    assert "cedar draws 3.0 times" in told
    assert "tiny" not in told, "a hundredth of the labels says nothing"
    sane, told = sanity(fair, strata, replace(even, share=0.5))
    assert not sane
    assert "50% of what labels are chosen for" in told.split("Within")[0]


def test_numbers_that_are_all_alike_are_no_figure() -> None:
    assert alike(np.full(9, 0.24))
    assert not alike(np.array([0.24, 0.25]))
