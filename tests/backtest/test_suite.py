"""Many pools, one table: what is run, what is left out, and what would have been chosen without a pool."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from curation.backtest.arena import make_arena
from curation.backtest.run import Options
from curation.backtest.suite import find_entries, fitting, run_suite, suite_rules
from curation.backtest.suite_report import Ground, Standing, Suite, suite_lines
from curation.errors import CurationError
from curation.insight.clustered import Interval
from curation.settings import DesignSettings, SpaceSettings
from tests.desk.backtests import planted, write_features

ROOT = Path(__file__).resolve().parents[2]


def write_pool(folder: Path, name: str, seed: int, *, signal: str = "linear", outcomes: bool = True) -> None:
    pool, truth, table = planted(seed, prompts=24, candidates=5, signal=signal)
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
        for prompt in pool.prompts:
            responses = [
                {"response_id": r.response_id, "text": r.text + " x" * (k * k), "generator": f"g{k}"}
                | ({"quality": truth.quality[prompt.prompt_id, r.response_id]} if outcomes else {})
                for k, r in enumerate(prompt.responses)
            ]
            file.write(
                json.dumps({"prompt_id": prompt.prompt_id, "prompt": prompt.prompt, "responses": responses}) + "\n"
            )
    write_features(folder / f"{name}.tfidf.parquet", pool, table)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pools"
    place.mkdir()
    write_pool(place, "linear", 0)
    write_pool(place, "random", 1, signal="random")
    write_pool(place, "untold", 2, outcomes=False)
    (place / "bare.jsonl").write_text('{"prompt": "q", "responses": [{"text": "a"}, {"text": "b"}]}\n')
    (place / "README.md").write_text("not a pool")
    return place


def options() -> Options:
    return Options(
        space=SpaceSettings(dim=8, normalize=False), design=DesignSettings(budget=1, tol=1e-2), seeds=2, budgets=(6, 12),
        reward="raw",
    )  # fmt: skip


def test_pools_go_with_the_features_beside_them_and_the_rest_is_named(folder: Path, tmp_path: Path) -> None:
    entries, skipped = find_entries(folder)
    assert [(e.name, e.features.name) for e in entries] == [
        (name, f"{name}.tfidf.parquet") for name in ("linear", "random", "untold")
    ]
    assert skipped == ["bare.jsonl is left out: there is no bare.features.parquet."]
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "linear.features.parquet").write_bytes((folder / "linear.tfidf.parquet").read_bytes())
    assert find_entries(folder, tmp_path / "more")[0][0].features.parent.name == "more"
    with pytest.raises(CurationError, match="is not a folder"):
        find_entries(folder / "missing")
    with pytest.raises(CurationError, match="holds no pool with a features file"):
        find_entries(tmp_path)


def test_every_rule_stands_on_every_pool_and_both_outcomes(folder: Path) -> None:
    suite = run_suite(folder, options(), workers=1)
    assert [(g.pool, g.outcome) for g in suite.grounds] == [
        (pool, kind) for pool in ("linear", "random") for kind in ("as given", "length out")
    ]
    assert {s.rule for s in suite.standings} >= {
        "design", "HGM as published", "0.2.0 default", "uniform", "length_gap", "matched", "generator_gap", "pilot"
    }  # fmt: skip
    assert all(len(suite.of(rule)) == 4 for rule in suite.what if suite.of(rule))
    assert any("untold.jsonl.gz is left out: 0 of 24 prompts" in line for line in suite.skipped)
    table = "\n".join(suite_lines(suite))
    assert "| design |" in table
    assert "bare.jsonl is left out" in table
    told = suite.to_dict()
    assert json.loads(json.dumps(told, allow_nan=False))["rules"]["design"]["what"] == "design as asked"


def test_rules_that_need_several_known_generators_are_left_out_without_them() -> None:
    pool, truth, table = planted(0, prompts=20)
    arena = make_arena(pool, truth, [table], reward="raw")
    rules = [rule for _, rule in suite_rules(options()).values()]
    assert "generator_gap" in {rule.name for rule in rules}
    assert "generator_gap" not in {rule.name for rule in fitting(rules, arena)}


def test_a_rule_is_chosen_on_the_other_pools_safe_before_strong() -> None:
    def standing(rule: str, pool: str, lowest: float, multiple: float) -> Standing:
        return Standing(rule, pool, "as given", Interval(0, 0, 0), 1.0, lowest, multiple)

    grounds = tuple(Ground(pool, "as given", pool != "c", 1.0, (10,), 20, 4) for pool in "abc")
    rows = (
        standing("bold", "a", 3.0, 9.0), standing("bold", "b", -4.0, 0.2), standing("bold", "c", 0.0, 1.0),
        standing("calm", "a", 1.0, 2.0), standing("calm", "b", 0.5, 1.5), standing("calm", "c", -1.0, 0.1),
    )  # fmt: skip
    suite = Suite(grounds, rows, {"bold": "design, bold", "calm": "design, calm"}, {}, (), 0.0)
    assert suite.chosen_without("a", ["bold", "calm"]) == "calm", "bold is behind on b"
    assert suite.chosen_without("b", ["bold", "calm"]) == "bold", "b is not looked at"
    assert suite.multiple("calm") == pytest.approx(np.sqrt(2.0 * 1.5)), "c, where nothing is learned, does not count"
    assert suite.worst("calm").pool == "c", "but a lead there does"


@pytest.mark.slow
def test_the_command_writes_the_table_and_refuses_a_pool_beside_a_suite(folder: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "curation", "backtest", *arguments], capture_output=True, text=True, cwd=ROOT,
            env={**os.environ, "CURATION_HOME": str(tmp_path / "home")}, check=False,
        )  # fmt: skip

    (folder / "random.jsonl.gz").unlink()
    out = tmp_path / "kept"
    done = run("--suite", str(folder), "--seeds", "2", "--budgets", "6", "--dim", "8", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["grounds"][0]["pool"] == "linear"
    assert "| rule | linear, as given |" in (out / "suite.md").read_text()
    assert run("pool.jsonl", "--suite", str(folder)).returncode == 2
    assert run().returncode == 2
    refused = run("--suite", str(tmp_path / "nothing"))
    assert refused.returncode == 1
    assert "is not a folder" in refused.stderr
