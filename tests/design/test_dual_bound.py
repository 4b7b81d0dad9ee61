"""Where sums overlap, the bound of the linear program is a bound: at r = inf too, with nothing forgiven, or an error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from curation.design.sets import linear
from curation.design.sets.linear import maximise_by_columns, row_set
from curation.errors import DesignError
from tests.desk.device_cases import problem


@pytest.mark.parametrize("r", [1.0, 2.0, math.inf])
@pytest.mark.parametrize(
    ("spread", "name"), [("free", "shares"), ("capped", "all"), ("free", "mean length"), ("balanced", "shares")]
)
def test_the_reach_is_never_below_the_maximum_over_all_pairs(spread: Any, name: str, r: float) -> None:
    _, feasible = problem("cpu", spread, r, name)
    for seed in range(3):
        values = torch.as_tensor(np.random.default_rng(seed).gamma(1.0, 1.0, feasible.geometry.pairs))
        _, _, reach, _ = maximise_by_columns(feasible, values)
        open_pairs = (
            (~feasible.blocked).nonzero().squeeze(1) if feasible.blocked is not None else torch.arange(len(values))
        )
        rows = row_set(feasible, open_pairs).rows
        best = linprog(
            -values[open_pairs].numpy(), A_eq=rows.equal, b_eq=rows.right, A_ub=rows.most, b_ub=rows.limit,
            bounds=(0, None if math.isinf(feasible.upper) else feasible.upper),
        )  # fmt: skip
        assert reach >= -best.fun * (1 - 1e-12)
        assert reach == pytest.approx(-best.fun, rel=1e-7)


def test_a_program_that_does_not_settle_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _, feasible = problem("cpu", "free", 1.0, "shares")
    monkeypatch.setattr(linear, "ROUNDS", 0)
    with pytest.raises(DesignError, match="not settled in 0 rounds"):
        maximise_by_columns(feasible, torch.ones(feasible.geometry.pairs, dtype=torch.float64))
