"""Going on from an earlier design, and passes in float32: fewer passes, the same optimum, the same certificate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from curation.bench.problems import generator, problem
from curation.design.certificate import certify
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.sets.limits import Limits
from curation.design.sets.make import make_feasible
from curation.design.sets.uniform import uniform_design
from curation.design.solvers.newton import newton
from curation.design.solvers.warm import adapted

SPREADS = ("free", "balanced", "capped")


def changed(name: str, top: list[int]) -> dict[str, Any]:
    return {
        "more labels": {"budget": 33},
        "fewer labels": {"budget": 27},
        "excluded": {"excluded": top[:6]},
        "pinned": {"pinned": top[-4:]},
        "all at once": {"budget": 34, "excluded": top[:6], "pinned": top[-4:]},
    }[name]


@pytest.mark.parametrize("name", ["more labels", "fewer labels", "excluded", "pinned", "all at once"])
@pytest.mark.parametrize("spread", SPREADS)
def test_a_start_from_the_last_design_is_feasible_and_ends_at_the_same_optimum(spread, name):
    geometry, criterion = problem(40, 8, 12)
    last = newton(criterion, make_feasible(geometry, budget=30, spread=spread), tol=1e-6)
    top = last.weights.topk(20).indices.tolist()
    feasible = make_feasible(geometry, **({"budget": 30, "spread": spread} | changed(name, top)))
    begun = adapted(criterion, feasible, last.weights)
    assert begun is not None
    assert float(begun.sum()) == pytest.approx(1.0, abs=1e-9)
    assert float(begun.min()) >= 0.0
    assert float(begun.max()) <= feasible.upper * (1 + 1e-12)
    owner = torch.as_tensor(geometry.prompt_of(np.arange(geometry.pairs)))
    by_prompt = torch.zeros(40).double().index_add(0, owner, begun) * feasible.labels
    if spread == "balanced":
        assert by_prompt.numpy() == pytest.approx(feasible.prompt_labels, abs=1e-7)
    if spread == "capped":
        assert np.all(by_prompt.numpy() <= feasible.prompt_labels + 1e-7)
    warm = newton(criterion, feasible, tol=1e-8, start=last.weights)
    cold = newton(criterion, feasible, tol=1e-8)
    assert warm.certificate.objective == pytest.approx(cold.certificate.objective, rel=1e-7)
    assert warm.passes <= cold.passes


def test_a_changed_ridge_goes_on_in_fewer_passes():
    geometry, criterion = problem(60, 8, 12)
    feasible = make_feasible(geometry, budget=50, spread="balanced")
    last = newton(criterion, feasible, tol=1e-4)
    moved = make_criterion(geometry, criterion.fisher, ridge=0.12)
    assert newton(moved, feasible, tol=1e-4, start=last.weights).passes < newton(moved, feasible, tol=1e-4).passes


def test_a_start_that_cannot_be_used_is_left_aside():
    geometry, criterion = problem(20, 6, 8)
    feasible = make_feasible(geometry, budget=20, limits=Limits(generators=np.arange(120) % 3, generator_share=0.6))
    assert adapted(criterion, feasible, uniform_design(feasible)) is None  # sums overlap
    other = make_feasible(geometry, budget=20)
    assert adapted(criterion, other, torch.ones(5).double()) is None  # another pool's
    assert newton(criterion, other, tol=1e-6, start=torch.ones(5).double()).stopped == "certificate"


@pytest.mark.parametrize(("spread", "r"), [("free", math.inf), ("free", 1.0), ("balanced", 1.0), ("capped", 1.0)])
def test_passes_in_float32_end_at_the_same_optimum_with_a_float64_certificate(spread, r):
    rows = generator(60, 9, 12)
    plain, single = (Geometry(rows, np.arange(61) * 9, single=flag) for flag in (False, True))
    assert not plain.single
    criterion = make_criterion(plain, torch.eye(12).double(), ridge=0.06)
    designs = []
    for geometry in (plain, single):
        feasible = make_feasible(geometry, budget=40, spread=spread, max_labels_per_pair=r)
        designs.append(newton(criterion, feasible, tol=1e-7))
        assert designs[-1].stopped == "certificate"
        again = certify(criterion, feasible, designs[-1].weights)
        assert again.gap <= 1e-6  # the bound kept may be that of an earlier point
        assert designs[-1].certificate.lower_bound >= again.lower_bound * (1 - 1e-12)
    ours, theirs = (design.certificate for design in designs)
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-6)
    assert ours.lower_bound <= theirs.objective
    assert theirs.lower_bound <= ours.objective


def test_a_float32_pass_is_near_the_float64_one_and_returns_float64():
    geometry, criterion = problem(30, 7, 10)
    root = criterion.at(geometry.uniform_information()).root
    exact, rough = geometry.quadratic(root), geometry.quadratic(root, single=True)
    assert rough.dtype == torch.float64
    assert 0 < float((rough - exact).abs().max()) < 1e-4 * float(exact.max())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("spread", SPREADS)
def test_cuda_agrees_with_the_cpu(spread):
    values = []
    for device in ("cpu", "cuda"):
        geometry, criterion = problem(60, 9, 12, device=device)
        feasible = make_feasible(geometry, budget=40, spread=spread)
        values.append(newton(criterion, feasible, tol=1e-7).certificate.objective)
    assert values[0] == pytest.approx(values[1], rel=1e-6)
