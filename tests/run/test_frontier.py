"""The budget frontier is of the design that is shown: pins, exclusions and overlap count; and what Ctrl-C leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from curation.cli import app as cli
from curation.run.report import budget_frontier, frontier_budgets
from curation.run.solve import solve
from tests.desk.going_on import BASE
from tests.desk.outputs import commands


@pytest.mark.parametrize("overlap", [0.0, 0.25])
@pytest.mark.parametrize("cost", [None, "price"])
def test_the_marked_point_of_the_frontier_is_the_design_shown(cost: Any, overlap: float, made: dict[str, Any]) -> None:
    pool = made["pool"]
    pinned = [(x, 0, 1) for x in range(8)]
    excluded = [(x, 2, 3) for x in range(len(pool.prompts))]
    settings = replace(BASE, cost=cost, budget=30)
    shown = solve(made["prepared"], settings, overlap=overlap, pinned=pinned, excluded=excluded, with_baselines=False)
    budgets = frontier_budgets(made["prepared"], settings)
    rows = budget_frontier(made["prepared"], settings, budgets, overlap=overlap, pinned=pinned, excluded=excluded)
    at = {budget: value for budget, value, _ in rows}
    assert at[settings.budget] == pytest.approx(shown.design.certificate.objective, rel=1e-12)
    values = [value for _, value, _ in rows]
    assert values == sorted(values, reverse=True)
    free = budget_frontier(made["prepared"], settings, [settings.budget])
    assert at[settings.budget] > free[0][1] * 1.001, "pins that are not the best cost something"
    assert min(at) >= 8 if cost is None else True


def test_an_interrupt_is_answered_for_the_command_that_was_interrupted() -> None:
    for name in commands():
        assert cli.kept_after([*name.split(), "--json"]) != "nothing was begun", name
    assert "go on" in cli.kept_after(["experiment", "imdb"])
    assert "--resume" in cli.kept_after(["features", "pool.jsonl"])
    assert "store" in cli.kept_after(["import-labels", "batch", "file"])
    assert cli.kept_after(["backtest", "--suite", "f", "--out", "o"]) != cli.kept_after(["backtest", "pool"])
    assert not any("nothing was written" in cli.kept_after([*name.split()]) for name in commands())
