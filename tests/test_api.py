"""The library in ten names: what it says is what the command line says, short where it is printed, refused in words."""

from __future__ import annotations

import ast
import doctest
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import curation.api
import pairwright as pw
from curation.cli.app import main
from curation.errors import DesignError, ExportError, PoolError
from tests.desk.pools import ROOT, demo_pool

FEATURES = demo_pool().with_name("demo.features.parquet")


@pytest.fixture(scope="module")
def run() -> pw.Run:
    return pw.solve(pw.represent(pw.read_pool(demo_pool()), FEATURES), budget=12)


def test_it_has_ten_names_and_each_is_documented() -> None:
    assert len(curation.api.__all__) == 10
    for name in curation.api.__all__:
        assert getattr(pw, name) is getattr(curation.api, name)
        assert getattr(pw, name).__doc__


def test_a_run_is_the_batch_of_the_command_line(run: pw.Run, tmp_path: Path) -> None:
    words = ["solve", str(demo_pool()), "--features", str(FEATURES), "--budget", "12", "--out", str(tmp_path / "cli")]
    assert main(words) == 0
    theirs, ours = pw.open_batch(tmp_path / "cli"), run.save(tmp_path / "own")
    assert ours.folder.batch_id == theirs.folder.batch_id
    shown = run.pairs().drop(columns="prompt").to_dict("records")
    kept = [{key: record[key] for key in shown[0]} for record in theirs.folder.records]
    assert [row["pair_id"] for row in shown] == [row["pair_id"] for row in kept]
    assert {row["pair_id"]: row["drop_cost"] for row in shown} == pytest.approx(
        {row["pair_id"]: row["drop_cost"] for row in kept}
    )
    assert len(ours.records()) == len(shown)


def test_fisher_settings_reach_the_batchs_settings(tmp_path: Path) -> None:
    space = pw.represent(pw.read_pool(demo_pool()), FEATURES, fisher="uniform", dim=8, length=False)
    kept = pw.solve(space, budget=5, ridge=1.0).save(tmp_path / "b").folder.manifest
    assert (kept["settings"]["fisher"], kept["settings"]["ridge"], kept["space"]["dim"]) == (
        "uniform",
        1.0,
        8,
    )


def test_what_is_printed_is_short(run: pw.Run, tmp_path: Path) -> None:
    pool = pw.read_pool(demo_pool())
    batch = run.save(tmp_path / "b")
    for thing in (pool, pw.represent(pool, FEATURES), run, run.solved, run.solved.prepared, batch):
        assert 10 < len(repr(thing)) < 250
        assert "\n" not in repr(thing)
    assert "12 labels on 12 of" in repr(run)


def test_tables_charts_and_words_say_what_the_pages_say(run: pw.Run) -> None:
    rules = run.rules().set_index("rule")
    assert rules.loc["this design", "over_bound"] == pytest.approx(1 / run.solved.efficiency)
    assert {"uniform", "farthest", "greedy"} <= set(rules.index)
    frontier = run.frontier([12, 24]).set_index("budget")
    assert frontier.loc[24, "designed"] < frontier.loc[12, "designed"] < frontier.loc[12, "uniform"]
    assert run.worth().endswith("not tested on outcomes: buy a pilot")
    for name in curation.api.CHARTS:
        assert run.chart(name).data
    with pytest.raises(DesignError, match="ask for rules, certificate"):
        run.chart("pie")


def test_pins_and_exclusions_are_ids(run: pw.Run) -> None:
    space = pw.represent(pw.read_pool(demo_pool()), FEATURES)
    ids = run.pairs()["pair_id"].tolist()
    held = pw.solve(space, budget=12, pinned=ids[:1], excluded=ids[1:3])
    chosen = set(held.pairs()["pair_id"])
    assert ids[0] in chosen
    assert not chosen & set(ids[1:3])
    with pytest.raises(PoolError, match="2 pair ids are of no pair"):
        pw.solve(space, budget=12, pinned=["no such", "nor this"])


def test_a_batch_goes_out_when_it_is_approved(run: pw.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    batch = run.save(tmp_path / "b", guidelines="Be fair.")
    with pytest.raises(ExportError, match="ask for label-studio"):
        batch.export("excel", tmp_path / "t")
    with pytest.raises(pw.CurationError):
        batch.export("csv", tmp_path / "t.csv", unsigned=True)  # nothing is approved
    decisions = tmp_path / "d.csv"
    decisions.write_text("pair_id,decision\n" + "".join(f"{key},approve\n" for key in batch.records()["pair_id"]))
    assert main(["decide", str(tmp_path / "b"), str(decisions), "--as", "ana"]) == 0
    assert batch.export("csv", tmp_path / "t.csv", unsigned=True)["pairs"] == 12
    assert (tmp_path / "t.guidelines.md").is_file()


def test_the_examples_in_the_docstrings_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(curation.api)
    assert found.attempted > 4
    assert found.failed == 0


def test_the_notebook_runs_from_its_first_cell_to_its_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Cell after cell in one namespace, as a kernel does; a last expression must have something to show."""
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    monkeypatch.chdir(ROOT / "docs")
    notebook = json.loads((ROOT / "docs" / "library.ipynb").read_text())
    names: dict[str, Any] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "cell", "exec"), names)
            if last is not None:
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    assert len(shown) >= 8
    assert all(one is not None and len(str(one)) for one in shown)


def test_importing_it_loads_no_model_library_and_no_dashboard() -> None:
    words = "import sys, pairwright; print(sorted({'transformers', 'streamlit', 'umap', 'plotly'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
