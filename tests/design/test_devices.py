"""Every solver and selection on a device that is not the CPU: no CPU tensor meets one of its, and the answers agree."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curation.design.certificate import certify
from curation.design.criteria.determinant import Determinant
from curation.design.criteria.hedged import Hedged
from curation.design.criteria.trace import make_criterion
from curation.design.rules.compare import baselines
from curation.design.rules.greedy import forward_backward
from curation.design.selection.drawn import batch_information
from curation.design.selection.sampling import paper, sample, with_overlap
from curation.design.selection.swaps import exact
from curation.design.sets.limits import Limits
from curation.design.sets.make import make_feasible
from curation.design.solvers.frank_wolfe import frank_wolfe
from curation.design.solvers.newton import newton
from curation.insight.coverage import coverage, direction_pairs
from curation.insight.efficiency import label_equivalent
from curation.insight.explain import best_replacement, explain
from tests.desk.builders import random_fisher
from tests.desk.device_cases import BUDGET, DIM, PROMPTS, SIZE, geometry_on, problem
from tests.desk.pretend_device import DEVICE, NAME, Away, DeviceError, pretended


def weights_of(found: Any) -> np.ndarray:
    weights = found.weights
    return np.asarray((weights.inner if isinstance(weights, Away) else weights).numpy())


def both(work: Callable[[str], Any]) -> tuple[Any, Any]:
    """The answer on the CPU and on the pretended device."""
    here = work("cpu")
    with pretended():
        there = work(NAME)
    return here, there


PROBLEMS = [
    *((spread, r, "plain") for spread in ("free", "capped", "balanced") for r in (1.0, 2.0, math.inf)),
    *((spread, 1.0, name) for spread in ("free", "capped", "balanced") for name in ("costs", "caps", "shares", "mean length")),
    ("capped", 1.0, "quotas"), ("free", 2.0, "quotas"), ("capped", 1.0, "costs and caps"), ("capped", 1.0, "all"),
    ("free", math.inf, "shares"), ("free", math.inf, "costs"),
]  # fmt: skip


FAST = {
    ("free", math.inf, "plain"), ("balanced", 2.0, "plain"), ("capped", 1.0, "all"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("spread", "r", "name"), [one if one in FAST else pytest.param(*one, marks=pytest.mark.slow) for one in PROBLEMS]
)
def test_newton_and_every_selection_stay_on_their_device(spread: Any, r: float, name: str) -> None:
    def work(device: str) -> Any:
        criterion, feasible = problem(device, spread, r, name)
        design = newton(criterion, feasible, tol=1e-4)
        drawn = with_overlap(sample(feasible, design.weights, seed=0), 2, seed=0)
        chosen = exact(criterion, feasible, design.weights)
        certify(criterion, feasible, design.weights)
        return design, drawn, chosen, float(criterion.value(batch_information(feasible, drawn)))

    here, there = both(work)
    assert np.abs(weights_of(here[0]) - weights_of(there[0])).max() < 1e-9
    assert isinstance(there[0].weights, Away)
    for k in (1, 2):
        assert here[k].pairs.tolist() == there[k].pairs.tolist()
        assert here[k].copies.tolist() == there[k].copies.tolist()
    assert here[3] == pytest.approx(there[3])


@pytest.mark.parametrize(
    ("spread", "r", "name"),
    [("free", math.inf, "plain"), ("capped", 1.0, "plain"), ("balanced", 2.0, "plain"), ("capped", 1.0, "shares")],
)
def test_frank_wolfe_a_warm_start_and_sequential_draws_stay_on_their_device(spread: Any, r: float, name: str) -> None:
    def work(device: str) -> Any:
        criterion, feasible = problem(device, spread, r, name)
        design = frank_wolfe(criterion, feasible, max_passes=6)
        warm = newton(criterion, feasible, tol=1e-4, start=design.weights)
        return design, warm, paper(feasible, design.weights, seed=1)

    here, there = both(work)
    assert np.abs(weights_of(here[1]) - weights_of(there[1])).max() < 1e-9
    assert here[2].pairs.tolist() == there[2].pairs.tolist()


@pytest.mark.parametrize(
    ("spread", "name", "factor"), [("capped", "plain", True), ("balanced", "plain", False), ("free", "shares", True)]
)
def test_baselines_explanations_and_what_the_pages_show_stay_on_their_device(
    spread: Any, name: str, factor: bool
) -> None:
    def work(device: str) -> Any:
        criterion, feasible = problem(device, spread, 1.0, name, pins=name == "plain", factor=factor)
        design = newton(criterion, feasible, tol=1e-4)
        drawn = sample(feasible, design.weights, seed=0)
        information = batch_information(feasible, drawn)
        p = np.full(PROMPTS * SIZE, 1 / SIZE)
        rules = baselines(criterion, feasible, p, seed=0)
        told = explain(criterion, feasible, design, information, drawn.pairs)
        seen = coverage(criterion, feasible, feasible.geometry.information(design.weights), information)
        direction_pairs(criterion, feasible.geometry, information, 0)
        found = best_replacement(
            criterion, feasible, information, drawn.pairs, int(drawn.pairs[-1]), copies=drawn.copies
        )
        worth = label_equivalent(criterion, feasible.geometry, information, BUDGET, draws=4)
        return {rule: one.realised for rule, one in rules.items()}, told, seen, found, worth

    here, there = both(work)
    for rule, value in here[0].items():
        assert there[0][rule] == pytest.approx(value)
    assert here[3] == there[3]


def test_hedged_designs_and_baits_batches_stay_on_their_device() -> None:
    def work(device: str) -> Any:
        criterion, feasible = problem(device, "capped", 1.0, "plain")
        other = make_criterion(feasible.geometry, random_fisher(3, DIM), ridge=0.3)
        mixed = Hedged(Hedged(criterion, other), Determinant(other.fisher, other.prior))
        drawn = exact(mixed, feasible, newton(mixed, feasible, tol=1e-3).weights)
        information = batch_information(feasible, drawn)
        best_replacement(mixed, feasible, information, drawn.pairs, int(drawn.pairs[-1]), copies=drawn.copies)
        label_equivalent(mixed, feasible.geometry, information, BUDGET, draws=0)
        design = newton(Hedged(criterion, other), feasible, tol=1e-3)
        forward_backward(*problem(device, "free", 1.0, "plain", pins=False))
        return design

    here, there = both(work)
    assert np.abs(weights_of(here) - weights_of(there)).max() < 1e-9


def test_the_pretended_device_refuses_what_an_accelerator_refuses() -> None:
    with pretended():
        away = torch.zeros(3, dtype=torch.float64, device=DEVICE)
        for wrong in (
            lambda: away + torch.zeros(3, dtype=torch.float64),
            lambda: torch.cat([away, torch.zeros(1, dtype=torch.float64)]),
            lambda: torch.zeros(3, dtype=torch.float64)[away.argsort()],
            lambda: away.numpy(),
            lambda: np.asarray(away),
            lambda: away.index_add_(0, torch.arange(3), away.clone()),
        ):
            with pytest.raises(DeviceError):
                wrong()
        away[torch.arange(2)] = 1.0
        assert away.tolist() == [1.0, 1.0, 0.0]
        assert (away * torch.tensor(2.0)).cpu().tolist() == [2.0, 2.0, 0.0]


MAKERS = {"zeros": 1, "ones": 1, "empty": 1, "full": 2, "tensor": 1, "eye": 1, "linspace": 3, "rand": 1, "randn": 1}


def test_every_tensor_of_the_design_is_made_with_its_dtype() -> None:
    """float32 is torch's default; the d x d algebra is float64."""
    wrong = []
    for path in sorted((Path(__file__).parents[2] / "curation" / "design").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MAKERS):
                continue
            if (
                isinstance(node.func.value, ast.Name)
                and node.func.value.id == "torch"
                and not any(k.arg == "dtype" for k in node.keywords)
            ):
                wrong.append(f"{path.name}:{node.lineno} torch.{node.func.attr}")
    assert not wrong


def test_the_bound_of_a_stratum_with_pins_and_costs_is_exact_in_double_precision() -> None:
    from curation.design.selection.tally import Tally

    geometry = geometry_on("cpu")
    costs = np.random.default_rng(2).uniform(0.5, 2.0, geometry.pairs)
    limits = Limits(costs=costs, strata=np.arange(PROMPTS) % 2, quotas={0: (4.1, 7.3)})
    feasible = make_feasible(
        geometry,
        budget=14.7,
        max_labels_per_pair=3,
        spread="capped",
        pinned=geometry.pair_offsets[:3].tolist(),
        limits=limits,
    )
    assert Tally(feasible, feasible.pinned_weights()).block_high.sum() == pytest.approx(14.7, rel=1e-13)
