"""The limit on the mean length difference from the settings to the batch, and batches whose labels are not worth alike."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation.batch.folder import read_batch, read_selected
from curation.batch.information import information_of
from curation.batch.records import pair_labels, save_batch, solved_identity
from curation.dashboard.view import View, view_from_query
from curation.errors import DesignError
from curation.representation.features_file import write_features
from curation.review.register import record_batch
from curation.review.store.store import open_store
from curation.review.topup import top_up
from curation.run.constraints import length_differences
from curation.run.prepare import load_pool, prepare
from curation.run.report import report
from curation.run.results import Solved
from curation.run.solve import solve
from curation.settings import DesignSettings, SpaceSettings
from tests.desk.commands import run
from tests.desk.golden_ids import OMITTED

SPACE = SpaceSettings(dim=6, length=False)
BUDGET = 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Thirty prompts of five answers of very different length."""
    folder, rng = tmp_path_factory.mktemp("lengths"), np.random.default_rng(0)
    rows = [
        {"prompt_id": f"p{x:02d}", "prompt": f"q {x}",
         "responses": [{"response_id": f"r{k}", "text": f"answer {x} {k} " + "word " * int(rng.integers(1, 60))}
                       for k in range(5)]}
        for x in range(30)
    ]  # fmt: skip
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pool = load_pool(folder / "pool.jsonl").pool
    lengths = np.log1p(pool.lengths())
    states = rng.standard_normal((150, 8))
    states[:, 0] = 3 * (lengths - lengths.mean())  # length speaks loudest, so that the limit binds
    features = write_features(folder / "f.parquet", pool.ids(), states.astype("float32"))
    prepared = prepare(pool, features, space=SPACE, device="cpu")
    return {"pool": pool, "features": features, "prepared": prepared, "pool_file": folder / "pool.jsonl"}


def mean_difference(solved: Solved) -> float:
    """By the texts alone."""
    pool, total = solved.prepared.pool, 0.0
    for (x, i, j, _), copies in zip(pair_labels(pool, solved, solved.batch.pairs), solved.batch.copies, strict=True):
        a, b = (len(pool.prompts[x].responses[k].text) for k in (i, j))
        total += copies * abs(np.log((1 + a) / (1 + b)))
    return total / solved.batch.labels


def settings(**changes: Any) -> DesignSettings:
    return DesignSettings(budget=BUDGET, ridge=0.1, **changes)


def test_differences_are_of_log_characters(made):
    pool, geometry = made["pool"], made["prepared"].geometry
    i, j = geometry.endpoints(np.arange(geometry.pairs))
    lengths = pool.lengths()
    expected = np.abs(np.log((1 + lengths[i]) / (1 + lengths[j])))
    assert length_differences(pool, geometry) == pytest.approx(expected)


@pytest.mark.parametrize("spread", ["balanced", "capped", "free"])
def test_the_batch_keeps_the_limit_where_it_binds(made, spread):
    free = solve(made["prepared"], settings(spread=spread), with_baselines=False)
    drawn = solve(made["prepared"], settings(spread=spread, max_length_difference=0.5), with_baselines=False)
    whole = solve(
        made["prepared"], settings(spread=spread, max_length_difference=0.5, select="exact"), with_baselines=False
    )
    assert mean_difference(free) > 0.6
    assert mean_difference(drawn) == pytest.approx(0.5, abs=2 * 3.0 / BUDGET)
    assert mean_difference(whole) <= 0.5 + 1e-7
    assert drawn.design.certificate.objective > free.design.certificate.objective
    assert drawn.design.certificate.gap <= 1e-4
    assert report(whole).max_length_difference == 0.5


def test_no_batch_of_the_past_changes_its_id(made):
    solved = solve(made["prepared"], settings(), with_baselines=False)
    before = {
        name: value
        for name, value in {**asdict(solved.settings), "device": None}.items()
        if name != "max_length_difference" and (name not in OMITTED or value != OMITTED[name])
    }
    pairs = [row[3] for row in pair_labels(made["pool"], solved, solved.batch.pairs)]
    content = [
        made["pool"].fingerprint, solved.prepared.table.fingerprint, asdict(SPACE), before, 0, [], [],
        list(zip(pairs, solved.batch.copies.tolist(), strict=True)),
    ]  # fmt: skip
    expected = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    assert solved_identity(solved, (), ()) == expected
    limited = replace(solved, settings=replace(solved.settings, max_length_difference=9.0))
    assert solved_identity(limited, (), ()) != expected


def test_a_limit_that_cannot_be_kept_says_what_can(made):
    with pytest.raises(
        DesignError, match=r"max-length-difference\) cannot be kept at 0.001: the least .* allow is 0\.\d"
    ):
        solve(made["prepared"], settings(spread="balanced", max_length_difference=0.001), with_baselines=False)


@pytest.mark.parametrize("select", ["sample", "exact"])
def test_filling_up_goes_on_under_the_limit_or_another(made, tmp_path: Path, monkeypatch, select):
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    asked = settings(spread="capped", max_length_difference=0.5, select=select)
    solved = solve(made["prepared"], asked, with_baselines=False)
    batch = read_batch(save_batch(solved, tmp_path / "batch"))
    store = open_store()
    try:
        record_batch(store, batch, who="ana")
        every = [record["pair_id"] for record in batch.records]
        store.decide_many(batch.batch_id, every[:4], "reject", who="bea", reason="other")
        store.decide_many(batch.batch_id, every[4:], "approve", who="bea")
        again = top_up(batch.path, made["pool"], made["features"], who="cat", store=store)
        limit = again.batch.manifest["settings"]["max_length_difference"]
        assert limit == pytest.approx(max(0.5, mean_difference(solved)), abs=1e-8)
        assert again.kept == len(every) - 4
        wider = top_up(batch.path, made["pool"], made["features"], who="cat", store=store, max_length_difference=0.8)
        assert wider.batch.manifest["settings"]["max_length_difference"] == 0.8
    finally:
        store.close()


def test_the_command_line_keeps_the_limit_and_compare_and_backtest_know_it(made, tmp_path):
    arguments = (made["pool_file"], "--features", made["features"], "--budget", BUDGET, "--ridge", 0.1, "--no-length",
                 "--max-length-difference", 0.4)  # fmt: skip
    result, _ = run("solve", *arguments, "--select", "exact", "--out", tmp_path / "b", "--json", home=tmp_path)
    assert result["max_length_difference"] == 0.4
    rows = [json.loads(line) for line in (tmp_path / "b" / "batch.jsonl").read_text().splitlines()]
    lengths = dict(zip(made["pool"].ids(), made["pool"].lengths(), strict=True))
    found = [
        abs(np.log((1 + lengths[row["prompt_id"], row["response_a_id"]]) /
                   (1 + lengths[row["prompt_id"], row["response_b_id"]])))
        for row in rows
    ]  # fmt: skip
    assert np.mean(found) <= 0.4 + 1e-7
    compared, _ = run("compare", *arguments, "--json", home=tmp_path)
    assert compared["max_length_difference"] == 0.4
    assert compared["gap"] <= 1e-4


def test_the_page_carries_the_limit_in_its_address():
    view = View(max_length_difference=0.35)
    assert view_from_query(view.to_query()) == view
    assert view.design_settings(10).max_length_difference == 0.35
    assert View().design_settings(10).max_length_difference is None


def test_a_batch_with_factors_stores_raw_vectors_and_its_criterion_counts_the_factors(made, tmp_path):
    prepared = made["prepared"]
    factor = np.random.default_rng(1).uniform(0.2, 1.0, size=prepared.geometry.pairs)
    weighed = replace(prepared, geometry=prepared.geometry.with_factor(factor))
    solved = solve(weighed, settings(select="exact"), with_baselines=False)
    batch = read_batch(save_batch(solved, tmp_path / "weighed"))
    selected = read_selected(batch.path)
    assert selected.vectors == pytest.approx(prepared.geometry.vectors(solved.batch.pairs).numpy())
    assert selected.factors == pytest.approx(factor[solved.batch.pairs])
    told = information_of(batch, dict(zip(selected.pair_ids, selected.copies.tolist(), strict=True)))
    assert told is not None
    assert told["planned"] == pytest.approx(solved.realised)
    plain = read_batch(save_batch(solve(prepared, settings(), with_baselines=False), tmp_path / "plain"))
    assert "factor" not in pq.read_table(plain.path / "selected.parquet").column_names
    assert read_selected(plain.path).factors is None
