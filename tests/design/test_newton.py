"""The solver against a conic solver on every combination of constraints, and to its certificate in awkward corners."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.sets.make import make_feasible
from curation.design.sets.thresholds import multipliers_at
from curation.design.solvers.newton import newton
from tests.desk.builders import assert_feasible, conic_optimum, random_case, random_fisher, random_geometry

SPREADS = ("free", "balanced", "capped")
SETTINGS = [
    (spread, r, pins, outs, listed)
    for spread in SPREADS
    for r in (1.0, 2.0, math.inf)
    for pins in (False, True)
    for outs in (False, True)
    for listed in (0.0, 0.5)
    if not (pins and math.isinf(r))
]


@pytest.mark.parametrize(("spread", "r", "pins", "outs", "listed"), SETTINGS)
def test_the_objective_equals_the_conic_solvers_under_every_combination(spread, r, pins, outs, listed):
    number = SETTINGS.index((spread, r, pins, outs, listed))
    ridge = (0.01, 0.3, 10.0)[number % 3]
    case = random_case(number, spread, r, ridge=ridge, pins=pins, outs=outs, listed=listed, prompts=4, dim=3, largest=6)
    design = newton(case.criterion, case.feasible, tol=1e-7)
    best = conic_optimum(case)
    assert design.certificate.objective == pytest.approx(best, rel=1e-6)
    assert design.certificate.lower_bound <= best * (1 + 1e-7)
    assert_feasible(case, design.weights.numpy())


def test_the_combinations_above_are_sixty():
    assert len(SETTINGS) == 60


@pytest.mark.parametrize("r", [1.0, 3.0, math.inf])
@pytest.mark.parametrize("spread", SPREADS)
def test_every_design_is_feasible_and_certified_to_a_tight_tolerance(spread, r):
    for seed in range(12):
        case = random_case(100 + seed, spread, r, ridge=10.0 ** (seed % 4 - 2), prompts=12, dim=1 + seed % 7)
        design = newton(case.criterion, case.feasible, tol=1e-6)
        assert design.stopped == "certificate", (seed, design.certificate)
        assert_feasible(case, design.weights.numpy())


@pytest.mark.parametrize("spread", SPREADS)
def test_no_pair_left_out_is_worth_more_than_a_pair_chosen_in_part(spread):
    case = random_case({"free": 5, "balanced": 5, "capped": 8}[spread], spread, 1.0, ridge=0.05, prompts=15, dim=5)
    design = newton(case.criterion, case.feasible, tol=1e-10)
    w = design.weights
    q = case.geometry.quadratic(case.criterion.at(case.geometry.information(w)).root)
    own = multipliers_at(case.feasible, w, q).threshold(case.feasible)
    open_pairs = ~case.feasible.blocked
    out, whole = open_pairs & (w <= 1e-12), open_pairs & (w >= case.feasible.upper * (1 - 1e-9))
    inside = open_pairs & ~out & ~whole
    assert int(out.sum())
    assert int(inside.sum())
    assert bool((q[out] <= own[out] * (1 + 1e-3)).all())
    assert bool((q[whole] >= own[whole] * (1 - 1e-3)).all())
    assert q[inside].numpy() == pytest.approx(own[inside].numpy(), rel=1e-3)


def corner(name: str) -> tuple[Geometry, int, float]:
    """Geometry, budget and r of an awkward problem."""
    rng = np.random.default_rng(0)
    sizes, dim, budget, r = [4, 6, 3, 5, 2, 7], 5, 6, 1.0
    if name == "one prompt":
        sizes, budget = [9], 8
    if name == "one pair":
        sizes, budget = [2], 1
    if name == "one edge each":
        sizes, budget = [2] * 30, 12
    if name == "one edge each, weighted":
        sizes, budget = [2] * 30, 29
    if name == "few pairs, many dimensions":
        sizes, dim, budget = [3, 2], 12, 2
    if name == "unbounded copies":
        r, budget = math.inf, 3
    rows = rng.standard_normal((sum(sizes), dim))
    if name == "duplicates":
        rows[1], rows[5], rows[6], rows[-1] = rows[0], rows[4], rows[4], rows[-2]
    if name == "one prompt all alike":
        rows[4:10] = rows[4]
    if name == "rank two":
        rows[:, 2:] = 0.0
    if name == "one giant":
        rows[3] *= 1e3
    weights = rng.uniform(0.1, 5, len(sizes)) if "weighted" in name else None
    geometry = Geometry(rows, np.concatenate([[0], np.cumsum(sizes)]), prompt_weights=weights)
    if name == "every pair bought":
        budget = geometry.pairs
    if name == "all but one bought":
        budget = geometry.pairs - 1
    if name == "every pair bought twice":
        budget, r = 2 * geometry.pairs, 2.0
    return geometry, budget, r


CORNERS = (
    "one prompt",
    "one pair",
    "one edge each",
    "one edge each, weighted",
    "few pairs, many dimensions",
    "unbounded copies",
    "duplicates",
    "one prompt all alike",
    "rank two",
    "one giant",
    "every pair bought",
    "all but one bought",
    "every pair bought twice",
)


@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 1e2, 1e6])
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("name", CORNERS)
def test_awkward_corners_end_with_a_certificate(name, spread, ridge):
    geometry, budget, r = corner(name)
    criterion = make_criterion(geometry, random_fisher(1, geometry.dim), ridge=ridge)
    feasible = make_feasible(geometry, budget=budget, max_labels_per_pair=r, spread=spread)
    design = newton(criterion, feasible, tol=1e-4)
    found = design.certificate
    if found.uniform - found.lower_bound > 2e-8 * found.objective:
        assert design.stopped == "certificate", found
        assert found.holds(1e-4)
    else:  # all that could be gained drowns in the rounding of f: the gap closes, the open share need not
        assert found.gap <= 1e-8
        assert found.holds(1e-4) or design.stopped == "no further progress in double precision"
    assert float(design.weights.sum()) == pytest.approx(1.0, abs=1e-9)
    assert float(design.weights.max()) <= r / budget * (1 + 1e-9)


@pytest.mark.parametrize("spread", SPREADS)
def test_pins_that_take_the_whole_budget_are_the_design(spread):
    geometry = random_geometry(2)
    criterion = make_criterion(geometry, random_fisher(2, 4), ridge=0.1)
    feasible = make_feasible(geometry, budget=3, spread=spread, pinned=[1, 4, 8])
    design = newton(criterion, feasible)
    assert np.flatnonzero(design.weights.numpy()).tolist() == [1, 4, 8]
    assert design.stopped == "certificate"


def test_relaxing_a_constraint_never_raises_the_optimum():
    geometry = random_geometry(3, prompts=10)
    criterion = make_criterion(geometry, random_fisher(3, 4), ridge=0.1)

    def best(**options) -> float:
        return newton(criterion, make_feasible(geometry, budget=12, **options), tol=1e-8).certificate.objective

    free, capped = best(spread="free"), best(spread="capped")
    slack = 1 + 1e-7
    assert free <= capped * slack
    assert best(spread="free", max_labels_per_pair=2.0) <= free * slack
    assert best(spread="free", max_labels_per_pair=math.inf) <= best(spread="free", max_labels_per_pair=2.0) * slack
    assert free <= best(spread="free", excluded=[0, 5, 9]) * slack
    assert free <= best(spread="free", pinned=[0, 5, 9]) * slack


def test_the_trace_never_rises_and_counts_its_passes():
    case = random_case(4, "capped", 1.0, prompts=20, dim=6, ridge=0.02)
    seen = []
    design = newton(case.criterion, case.feasible, tol=1e-7, progress=seen.append)
    assert [step.passes for step in design.trace] == [step.passes for step in seen]
    assert design.passes == seen[-1].passes + 1
    for before, after in zip(design.trace[:-1], design.trace[1:], strict=True):
        assert after.objective <= before.objective
        assert after.gap <= before.gap + 1e-15
        assert after.passes == before.passes + 1


def test_the_same_problem_gives_the_same_weights():
    case = random_case(6, "capped", 1.0, prompts=20, dim=6, ridge=0.02)
    one, other = (newton(case.criterion, case.feasible, tol=1e-6).weights for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("spread", SPREADS)
def test_cuda_agrees_with_the_cpu(spread):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    objectives = []
    for device in ("cpu", "cuda"):
        cpu = random_geometry(7, listed=0, prompts=12)
        geometry = Geometry(cpu.features, cpu.offsets, prompt_weights=cpu.prompt_weights, device=device)
        criterion = make_criterion(geometry, random_fisher(7, 4), ridge=0.1)
        for r in (1.0, math.inf):
            feasible = make_feasible(geometry, budget=15, max_labels_per_pair=r, spread=spread)
            objectives.append(newton(criterion, feasible, tol=1e-8).certificate.objective)
    assert objectives[:2] == pytest.approx(objectives[2:], rel=1e-7)
