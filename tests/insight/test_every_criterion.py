"""Explanations under every criterion: each figure against f evaluated again, and no share where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from curation.design.criteria.base import Criterion
from curation.design.geometry import Geometry
from curation.design.result import Design
from curation.design.selection.sampling import Batch, sample
from curation.design.sets.feasible import Feasible
from curation.design.sets.make import make_feasible
from curation.design.solvers.newton import newton
from curation.insight.coverage import coverage, direction_pairs
from curation.insight.efficiency import label_equivalent
from curation.insight.explain import UNDIVIDED, best_replacement, explain, scores
from tests.desk.builders import random_geometry
from tests.desk.criteria import NAMES, criterion_named


@dataclass(frozen=True)
class Solved:
    name: str
    geometry: Geometry
    criterion: Criterion
    feasible: Feasible
    design: Design
    batch: Batch

    def information(self, *, without: int | None = None, plus: int | None = None) -> torch.Tensor:
        """Of the batch, with a label moved."""
        copies = np.zeros(self.geometry.pairs)
        copies[self.batch.pairs] = self.batch.copies
        for pair, change in ((without, -1.0), (plus, 1.0)):
            if pair is not None:
                copies[pair] += change
        return self.geometry.information(torch.as_tensor(copies / self.feasible.labels))

    def f(self, **moved: int | None) -> float:
        return self.criterion.value(self.information(**moved))


@pytest.fixture(params=[(name, spread) for name in NAMES for spread in ("capped", "balanced")], ids=str)
def solved(request: Any) -> Solved:
    name, spread = request.param
    geometry = random_geometry(1, prompts=8, largest=6)
    criterion = criterion_named(name, geometry, 1)
    feasible = make_feasible(geometry, budget=11, spread=spread)
    design = newton(criterion, feasible, tol=1e-7)
    return Solved(name, geometry, criterion, feasible, design, sample(feasible, design.weights, seed=0))


def test_what_a_label_is_worth_is_f_without_it(solved: Solved) -> None:
    told = explain(solved.criterion, solved.feasible, solved.design, solved.information(), solved.batch.pairs)
    for m, pair in enumerate(solved.batch.pairs.tolist()):
        assert told.drop_cost[m] == pytest.approx(solved.f(without=pair) / solved.f() - 1, rel=1e-9)
    support = np.flatnonzero(solved.design.weights.numpy() > 0)
    score, _ = scores(solved.criterion, solved.feasible, solved.design, support)
    assert float(score @ solved.design.weights.numpy()[support]) == pytest.approx(1.0)


def test_directions_are_named_where_f_divides_over_them_and_else_it_is_said(solved: Solved) -> None:
    told = explain(solved.criterion, solved.feasible, solved.design, solved.information(), solved.batch.pairs)
    divides = solved.name == "trace"
    assert told.directions.shape == told.shares.shape == (len(solved.batch.pairs), 3 if divides else 0)
    assert ("about Fisher direction" in told.rationale(0)) == divides
    assert told.rationale(0).endswith(UNDIVIDED) != divides
    assert f"{told.drop_cost[0]:.2%} worse." in told.rationale(0)
    design_information = solved.geometry.information(solved.design.weights)
    seen = coverage(solved.criterion, solved.feasible, design_information, solved.information())
    for share, information in ((seen.batch_share, solved.information()), (seen.design_share, design_information)):
        assert (share is not None) == divides
        assert share is None or share.sum() == pytest.approx(solved.criterion.value(information))
    assert (seen.design <= seen.ceiling * (1 + 1e-9)).all()
    assert ("% of the batch's criterion" in seen.out_of_reach()) == (divides and len(seen.unteachable) > 0)
    assert ("% of uniform's criterion" in seen.finding()) == (divides and len(seen.less) > 0)
    assert len(direction_pairs(solved.criterion, solved.geometry, solved.information(), 0).positive)


def test_the_best_replacement_beats_every_other_that_fits(solved: Solved) -> None:
    for dropped in solved.batch.pairs[:3].tolist():
        found = best_replacement(
            solved.criterion, solved.feasible, solved.information(), solved.batch.pairs, dropped,
            copies=solved.batch.copies,
        )  # fmt: skip
        own = int(solved.geometry.prompt_of(np.array([dropped]))[0])
        used = np.bincount(solved.geometry.prompt_of(solved.batch.pairs), minlength=solved.geometry.prompts)
        used[own] -= 1
        tried = {}
        for pair in set(range(solved.geometry.pairs)) - set(solved.batch.pairs.tolist()):
            prompt = int(solved.geometry.prompt_of(np.array([pair]))[0])
            if (
                prompt == own
                if solved.feasible.spread == "balanced"
                else used[prompt] + 1 <= round(float(solved.feasible.prompt_labels[prompt]))
            ):
                tried[pair] = solved.f(without=dropped, plus=pair)
        if found is None:
            assert not tried
            continue
        assert tried[found.pair] == pytest.approx(min(tried.values()), rel=1e-12)
        assert found.net == pytest.approx(tried[found.pair] / solved.f() - 1, abs=1e-10)
        assert found.gain == pytest.approx((solved.f(without=dropped) - tried[found.pair]) / solved.f(), abs=1e-10)


def test_uniform_labels_are_worth_themselves_and_more_information_more(solved: Solved) -> None:
    uniform = solved.geometry.uniform_information()
    same = label_equivalent(solved.criterion, solved.geometry, uniform, 40, draws=0)
    assert same.labels == pytest.approx(40, rel=1e-6)
    twice = label_equivalent(solved.criterion, solved.geometry, uniform * 2, 40, draws=0)
    assert twice.labels == pytest.approx(80, rel=1e-6)
    every = solved.geometry.information(torch.full((solved.geometry.pairs,), 1 / solved.geometry.pairs).double())
    whole = label_equivalent(solved.criterion, solved.geometry, every, solved.geometry.pairs, draws=3)
    assert whole.labels == pytest.approx(solved.geometry.pairs, rel=1e-6)
