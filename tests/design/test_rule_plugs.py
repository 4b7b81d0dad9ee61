"""A simple rule is added by adding one file: results, charts and backtests have it, and the others stay as they were."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curation.backtest.run import Options, run_backtest
from curation.charts.backtest import paired_differences, reward_curves
from curation.charts.design import against_rules
from curation.charts.rules import DESIGNS, colour, short
from curation.design.rules.base import RULES
from curation.pool.schema import PoolFile
from curation.run.prepare import load_pool, prepare
from curation.run.solve import solve
from curation.settings import DEFAULT_SPACE, DesignSettings
from tests.desk.backtests import SPACE, planted, write_features
from tests.desk.commands import run
from tests.desk.plugs import added
from tests.desk.pools import demo_pool

ROOT = Path(__file__).resolve().parents[2]
FEATURES = ROOT / "data" / "demo.features.parquet"
LAST_PAIR = '''"""The last pair of every prompt."""

import torch

from curation.design.rules.base import Problem, Weighted
from curation.design.rules.inside import choose_inside


def weights(problem: Problem) -> torch.Tensor:
    return choose_inside(problem.feasible, torch.arange(problem.feasible.geometry.pairs, dtype=torch.float64))


PLUG = Weighted(
    name="last_pair", rank=25, title="last pair of a prompt", short="last pair", colour="#112233",
    rival="the last pair", weights=weights,
)
'''


@pytest.fixture
def last_pair(tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "last_pair.py").write_text(LAST_PAIR)
    with added(RULES, folder):
        yield
    assert "last_pair" not in RULES


def asked(command: str, home: Path) -> dict:
    out = ("--out", home / f"batch{len(RULES.names())}") if command == "solve" else ()
    return run(command, demo_pool(), "--features", FEATURES, "--budget", 12, *out, "--json", home=home)[0]


@pytest.fixture(params=["solve", "compare"])
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def before(command: str, tmp_path: Path) -> dict:
    """What the command says while nobody has added anything."""
    return asked(command, tmp_path)["baselines"]


def test_solve_and_compare_hold_the_design_against_a_rule_that_is_one_file(
    command: str, before: dict, last_pair: None, tmp_path: Path
) -> None:
    result = asked(command, tmp_path)
    names = list(result["baselines"])
    assert names == list(RULES.names())
    assert names.index("last_pair") == names.index("first_pair") + 1, "its rank says where"
    assert result["baselines"].pop("last_pair") > result["lower_bound"]
    assert result["baselines"] == before, "the other rules draw what they drew"


def test_the_comparison_chart_calls_it_by_its_title(last_pair: None) -> None:
    prepared = prepare(load_pool(demo_pool()).pool, FEATURES, space=DEFAULT_SPACE)
    solved = solve(prepared, DesignSettings(budget=12))
    figure = against_rules(solved.realised, solved.design.certificate.lower_bound, list(solved.baselines.values()))
    assert "last pair of a prompt" in [line.y[0] for line in figure.data]


def test_a_backtest_tells_its_curve_and_the_lead_over_it(last_pair: None, tmp_path: Path) -> None:
    pool, truth, table = planted(2, prompts=24)
    features = tmp_path / "f.parquet"
    write_features(features, pool, table)
    file = PoolFile(pool, truth, (), "jsonl", 24, 24)
    options = Options(space=SPACE, design=DesignSettings(budget=1, tol=1e-3), seeds=2, budgets=(8, 16), reward="raw")
    report = run_backtest(file, features, options, workers=1).report
    assert [curve.rule for curve in report.curves] == ["design", "paper", *RULES.names()]
    lead = report.difference("design", "last_pair").interval
    mean = {name: np.mean([i.value for i in report.curve(name).reward]) for name in ("design", "last_pair")}
    assert lead.value == pytest.approx(mean["design"] - mean["last_pair"])
    assert f"the last pair ({lead.text()})" in report.verdict
    line = next(line for line in reward_curves(report, ["last_pair"]).data)
    assert (line.name, line.line.color) == ("last pair", "#112233")
    assert "last pair" in paired_differences(report, "last_pair").layout.xaxis.title.text


def test_no_two_rules_look_alike_or_have_one_name_and_none_looks_like_a_design() -> None:
    rules = [*RULES.names(), *(name for name in DESIGNS if name != "trace")]
    assert len({short(name) for name in rules}) == len(rules)
    assert len({colour(name).lower() for name in rules}) == len(rules)
    assert len({rule.title for rule in RULES}) == len(RULES.names())
    assert all(re.fullmatch("#[0-9A-F]{6}", rule.colour) for rule in RULES)


def test_the_method_names_every_simple_rule() -> None:
    method = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    assert [name for name in RULES.names() if f"`{name}`" not in method] == []
