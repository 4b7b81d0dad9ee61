"""What the command line refuses, in words, with nothing written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from curation.pool.readers.read import read_pool
from tests.desk.commands import records, run, run_process, solve

ROW = {
    "prompt_id": "p0",
    "prompt": "question",
    "responses": [{"response_id": "a", "text": "x"}, {"response_id": "b", "text": "y"}],
}


def _bad_pools() -> dict[str, tuple[bytes, list[str]]]:
    good = json.dumps(ROW).encode() + b"\n"
    other = json.dumps({**ROW, "prompt_id": "p1"}).encode() + b"\n"
    one = json.dumps({**ROW, "prompt_id": "p1", "responses": ROW["responses"][:1]}).encode() + b"\n"
    twice = json.dumps({**ROW, "prompt_id": "p1", "responses": [ROW["responses"][0]] * 2}).encode() + b"\n"
    return {
        "truncated": (good + other[:40], ["line 2", "--skip-rejects"]),
        "encoding": ((good + other).decode().encode("utf-16"), ["UTF-8"]),
        "empty": (b"", ["empty"]),
        "one response": (good + one, ["line 2", "response"]),
        "repeated prompt": (good + good, ["line 2", "p0"]),
        "repeated response": (good + twice, ["line 2"]),
    }


@pytest.mark.parametrize("case", list(_bad_pools()))
def test_bad_pools_are_refused_in_words_with_nothing_written(case, small, tmp_path):
    content, words = _bad_pools()[case]
    pool, out = tmp_path / "bad.jsonl", tmp_path / "batch"
    pool.write_bytes(content)
    _, told = run("solve", pool, "--features", small[1], "--budget", 1, "--out", out, home=tmp_path, status=1)
    for word in words:
        assert word in told, told
    assert not out.exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".batch")]


def test_features_of_another_pool_or_not_finite_are_refused(small, dev, tmp_path):
    out = tmp_path / "batch"
    _, told = run("solve", small[0], "--features", dev[1], "--budget", 5, "--out", out, home=tmp_path, status=1)
    assert "another pool" in told
    ids = read_pool(small[0]).pool.ids()
    matrix = np.ones((len(ids), 3), dtype="float32")
    matrix[5, 1] = np.nan
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "prompt_id": [i[0] for i in ids],
            "response_id": [i[1] for i in ids],
            "features": pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 3),
        }
    )
    pq.write_table(table, tmp_path / "nan.parquet")
    _, told = run(
        "solve", small[0], "--features", tmp_path / "nan.parquet", "--budget", 5, "--out", out, home=tmp_path, status=1
    )
    assert "not finite" in told or "non-finite" in told
    assert ids[5][0] in told
    assert not out.exists()


def test_a_budget_above_the_pool_and_a_folder_that_exists_are_refused(small, tmp_path):
    out = tmp_path / "batch"
    _, told = run_process(
        "solve", *small[:1], "--features", small[1], "--budget", 61, "--out", out, home=tmp_path, status=1
    )
    assert "61" in told
    assert "60" in told
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    for more in ([], ["--force"]):
        _, told = run_process(
            "solve", small[0], "--features", small[1], "--budget", 6, "--out", out, *more, home=tmp_path, status=1
        )
        assert str(out) in told
        assert (out / "mine.txt").read_text() == "keep"


def test_force_replaces_an_unsigned_batch(small, tmp_path):
    out = tmp_path / "batch"
    solve(*small, out, home=tmp_path, budget=6)
    _, told = run("solve", small[0], "--features", small[1], "--budget", 7, "--out", out, home=tmp_path, status=1)
    assert "--force" in told
    solve(*small, out, "--force", home=tmp_path, budget=7)
    assert len(records(out)) == 7
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_check_counts_add_up_and_rejects_are_saved(tmp_path):
    content, _ = _bad_pools()["one response"]
    pool = tmp_path / "bad.jsonl"
    pool.write_bytes(content)
    result, _ = run_process("check", pool, "--rejects", tmp_path / "rejects.jsonl", "--json", home=tmp_path, status=1)
    assert result["rows"] == result["rows_used"] + result["rejects"] == 2
    saved = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert saved[0]["line"] == 2


@pytest.mark.parametrize("select", ["sample", "exact", "paper"])
def test_a_budget_below_the_cheapest_pair_is_refused_with_its_cost(select, small, tmp_path):
    pool = read_pool(small[0]).pool
    cheapest = min(sum(len(r.text) for r in sorted(p.responses, key=lambda r: len(r.text))[:2]) for p in pool.prompts)
    asked = ["--cost", "characters", "--budget", cheapest / 1000 / 2, "--select", select]
    out = tmp_path / "batch"
    _, told = run("solve", small[0], "--features", small[1], *asked, "--out", out, home=tmp_path, status=1)
    assert f"buys no label: the cheapest pair that may be labelled costs {cheapest / 1000:,.4g} (characters)" in told
    assert not out.exists()
