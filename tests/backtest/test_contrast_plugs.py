"""A contrast of the backtest is added by adding one file: the suite has it where it fits, and it draws batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curation.backtest.arena import make_arena
from curation.backtest.contrasts.base import CONTRASTS
from curation.backtest.draw import Drawer
from curation.backtest.run import Options
from curation.backtest.suite import fitting, suite_rules
from curation.settings import DesignSettings
from tests.desk.backtests import SPACE, planted
from tests.desk.plugs import added

NEAREST = '''"""The pair of every prompt whose responses lie nearest to each other."""

import torch

from curation.backtest.contrasts.base import Contrast


def values(sight):
    geometry = sight.prepared.geometry
    return -geometry.quadratic(torch.eye(geometry.dim, dtype=torch.float64))


PLUG = Contrast(name="nearest", rank=15, values=values, fits=lambda arena: arena.source == "quality")
'''


@pytest.fixture
def nearest(tmp_path: Path) -> Iterator[None]:
    (tmp_path / "nearest.py").write_text(NEAREST)
    with added(CONTRASTS, tmp_path):
        yield
    assert "nearest" not in CONTRASTS


def test_a_contrast_is_a_rule_of_the_suite_and_takes_its_largest_values(nearest: None) -> None:
    pool, truth, table = planted(1, prompts=12, candidates=5)
    arena = make_arena(pool, truth, [table], reward="raw")
    options = Options(space=SPACE, design=DesignSettings(budget=1))
    rules = {name: rule for name, (_, rule) in suite_rules(options).items()}
    assert "nearest" in {rule.name for rule in fitting(list(rules.values()), arena)}
    assert "generator_gap" not in {rule.name for rule in fitting(list(rules.values()), arena)}, "none is named here"
    (batch,) = Drawer()(arena.pool, arena.tables, rules["nearest"], [12], [0])[0]
    rows = table.matrix.astype(float).reshape(12, 5, -1)
    first, second = np.triu_indices(5, k=1)
    apart = ((rows[:, first] - rows[:, second]) ** 2).sum(-1)
    assert batch.pairs.tolist() == (np.arange(12) * 10 + apart.argmin(1)).tolist()
