"""The command line as an analyst uses it: real pools, every failure in words; six commands in real processes."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from curation.batch.folder import RECORD_KEYS
from curation.cli.batches import graded_lines
from curation.pool.readers.read import read_pool
from curation.representation.features_file import write_features
from curation.settings import DEFAULT_DESIGN, PRESETS
from tests.desk.commands import ROOT, _told, records, run, solve
from tests.desk.pools import demo_pool, real_pool

SUMMARY_KEYS = (
    "prompts responses pairs dim budget fisher spread objective lower_bound gap open passes support realised "
    "efficiency device seconds baselines"
).split()
RULES = {"uniform", "first_pair", "farthest", "farthest_fisher", "reference_weighted", "d_optimal", "greedy"}


def run_process(*arguments: object, home: Path, status: int = 0) -> tuple[dict, str]:
    """`run` as an analyst does: `python -m curation` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "curation", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "CURATION_HOME": str(home), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    return _told(arguments, done.returncode, done.stdout, done.stderr, status)


@pytest.fixture(scope="module")
def dev() -> tuple[Path, Path]:
    pool = real_pool("answers_dev.jsonl.gz")
    return pool, pool.with_name("answers_dev.features.parquet")


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """Ten prompts of four written answers with features of their own."""
    pool = tmp_path / "small.jsonl"
    rng = np.random.default_rng(0)
    with pool.open("w", encoding="utf-8") as handle:
        for x in range(10):
            texts = [f"answer {x} {k} " + "word " * int(rng.integers(1, 9)) for k in range(4)]
            row = {"prompt_id": f"p{x}", "prompt": f"question {x}", "responses": [{"text": t} for t in texts]}
            handle.write(json.dumps(row) + "\n")
    features = tmp_path / "small.features.parquet"
    ids = read_pool(pool).pool.ids()
    write_features(features, ids, rng.standard_normal((len(ids), 6)).astype("float32"))
    return pool, features


def test_solve_meets_its_certificate_budget_and_record_format(dev, tmp_path):
    out = tmp_path / "batch"
    result = solve(*dev, out, home=tmp_path, via=run_process)
    assert set(SUMMARY_KEYS) <= set(result)
    assert set(result["baselines"]) == RULES
    assert result["gap"] <= 1e-4
    assert result["open"] <= 1e-4
    rows = records(out)
    assert sum(row["copies"] for row in rows) == 175
    assert len({row["prompt_id"] for row in rows}) == 175
    assert all(list(row) == RECORD_KEYS for row in rows)
    nullable = {"reference_logprob_a", "reference_logprob_b", "reference_probability_a", "reference_probability_b"}
    for row in rows:
        assert all(row[key] is not None for key in RECORD_KEYS if key not in nullable)
        assert len(row["directions"]) == 3
        assert 0 < row["inclusion"] <= 1
    assert {file.name for file in out.iterdir()} == {
        "manifest.json", "batch.jsonl", "design.parquet", "space.npz", "selected.parquet",
        "criterion.npz",
    }  # fmt: skip


def test_the_seed_decides_the_batch(dev, tmp_path):
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        solve(*dev, tmp_path / name, "--seed", seed, home=tmp_path)
    texts = [(tmp_path / name / "batch.jsonl").read_bytes() for name in ("first", "again", "other")]
    assert texts[0] == texts[1]
    ids = [{row["pair_id"] for row in records(tmp_path / name)} for name in ("first", "other")]
    assert ids[0] != ids[1]


def test_a_lighter_ridge_realises_at_most_nine_tenths_of_uniform(dev, tmp_path):
    result = solve(*dev, tmp_path / "batch", "--ridge", 1, home=tmp_path)
    assert result["realised"] <= 0.9 * result["baselines"]["uniform"]


def test_shuffled_qualities_leave_the_batch_as_it_was(dev, tmp_path):
    rows = [json.loads(line) for line in gzip.decompress(dev[0].read_bytes()).splitlines()]
    qualities = [response["quality"] for row in rows for response in row["responses"]]
    np.random.default_rng(0).shuffle(qualities)
    for row in rows:
        for response in row["responses"]:
            response["quality"] = qualities.pop()
    shuffled = tmp_path / dev[0].name
    with gzip.open(shuffled, "wt", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)
    solve(*dev, tmp_path / "true", home=tmp_path)
    solve(shuffled, dev[1], tmp_path / "shuffled", home=tmp_path)
    assert (tmp_path / "true/batch.jsonl").read_bytes() == (tmp_path / "shuffled/batch.jsonl").read_bytes()


@pytest.mark.slow
def test_features_of_the_fitted_model_solve_like_any_other(tmp_path):
    pool, features, out = real_pool("answers_dev.jsonl.gz"), tmp_path / "fit.features.parquet", tmp_path / "batch"
    made, _ = run_process("features", pool, "--out", features, "--model", "fit", "--json", home=tmp_path)
    assert made["responses"] == read_pool(pool).pool.n_responses
    result = solve(pool, features, out, home=tmp_path)
    assert result["spread"] == "capped"
    assert result["gap"] <= 1e-4
    assert result["open"] <= 1e-4
    rows = records(out)
    assert len(rows) == 175
    assert len({row["prompt_id"] for row in rows}) == 175
    assert all(row["reference_logprob_a"] < 0 for row in rows)
    again = solve(pool, features, tmp_path / "again", "--seed", 1, home=tmp_path)
    assert again["lower_bound"] == pytest.approx(result["lower_bound"])
    assert {r["pair_id"] for r in records(tmp_path / "again")} != {r["pair_id"] for r in rows}


def test_the_demo_pool_has_features_and_solves(tmp_path):
    pool = demo_pool()
    result = solve(
        pool, pool.with_name("demo.features.parquet"), tmp_path / "batch", home=tmp_path, via=run_process, budget=40
    )
    assert result["prompts"] >= 60
    assert result["responses"] == 8 * result["prompts"]
    assert result["gap"] <= 1e-4


def test_approved_pairs_only_are_exported_and_the_rest_is_counted(small, tmp_path):
    out, decisions, tasks = tmp_path / "batch", tmp_path / "decisions.csv", tmp_path / "tasks.json"
    solve(*small, out, home=tmp_path, budget=8)
    rows = records(out)
    _, words = run_process("export", out, "--to", "label-studio", "--out", tasks, home=tmp_path, status=1)
    assert "not signed" in words
    _, words = run_process("export", out, "--to", "label-studio", "--out", tasks, "--unsigned", home=tmp_path, status=1)
    assert "approved" in words
    assert not tasks.exists()
    lines = [f"{row['pair_id']},approve,," for row in rows[:5]] + [f"{rows[5]['pair_id']},reject,off topic,"]
    decisions.write_text("pair_id,decision,reason,note\n" + "\n".join(lines) + "\n", encoding="utf-8")
    run_process("decide", out, decisions, "--as", "ana", home=tmp_path)
    result, _ = run_process(
        "export", out, "--to", "label-studio", "--out", tasks, "--unsigned", "--json", home=tmp_path
    )
    assert result["pairs"] == 5
    assert result["left_out"]["rejected"] == 1
    assert result["left_out"]["undecided"] == 2
    exported = json.loads(tasks.read_text(encoding="utf-8"))
    assert {task["data"]["pair_id"] for task in exported} == {row["pair_id"] for row in rows[:5]}
    assert all(task["data"]["unsigned"] is True for task in exported)
    graded = tmp_path / "graded.csv"
    asked = ("export", out, "--to", "csv", "--out", graded, "--unsigned", "--answers")
    _, words = run_process(*asked, "ternary", home=tmp_path, status=2)
    assert "--answers" in words
    assert run_process(*asked, "graded", "--json", home=tmp_path)[0]["answers"] == "graded"
    lines = graded.read_text(encoding="utf-8").splitlines()
    answers = ["left_much", "right_slightly", "both_bad", "tie", "left"]
    assert lines[0].endswith(",preference,annotator")
    back = [f"{line[:-1]}{word}," for line, word in zip(lines[1:], answers, strict=True)]
    graded.write_text("\n".join([lines[0], *back]), encoding="utf-8")
    told, _ = run_process("import-labels", out, graded, "--json", home=tmp_path)
    assert (told["labels"], told["graded"], told["both_bad"], told["without_strength"]) == (5, 4, 1, 1)
    assert sum(told["quality"]["steps"].values()) == 4
    words = "\n".join(graded_lines(told))
    assert "4 labels with strength, 1 of them both bad; 1 without the strength" in words
    assert "line 6: left without a strength" in words
    rows_out = ("export", out, "--to", "trl", "--out", tmp_path / "train.jsonl")
    _, words = run_process(*rows_out, "--answers", "graded", home=tmp_path, status=2)
    assert "training rows hold" in words
    assert run_process(*rows_out, "--json", home=tmp_path)[0]["left_out"]["tie"] == 2


def test_pins_are_in_and_exclusions_are_out(small, tmp_path):
    pin, exclude = tmp_path / "pin.csv", tmp_path / "exclude.csv"
    solve(*small, tmp_path / "plain", home=tmp_path, budget=6)
    dropped = records(tmp_path / "plain")[0]
    exclude.write_text(f"pair_id\n{dropped['pair_id']}\n", encoding="utf-8")
    ids = [r.response_id for r in read_pool(small[0]).pool.prompts[7].responses]
    pin.write_text(f"prompt_id,response_a_id,response_b_id\np7,{ids[1]},{ids[3]}\n", encoding="utf-8")
    solve(*small, tmp_path / "batch", "--pin", pin, "--exclude", exclude, home=tmp_path, budget=6)
    rows = records(tmp_path / "batch")
    assert sum(row["copies"] for row in rows) == 6
    assert dropped["pair_id"] not in {row["pair_id"] for row in rows}
    assert any({row["response_a_id"], row["response_b_id"]} == {ids[1], ids[3]} for row in rows)


def test_overlap_labels_a_share_twice_within_the_budget(small, tmp_path):
    solve(*small, tmp_path / "batch", "--overlap", 0.2, home=tmp_path, budget=10)
    copies = [row["copies"] for row in records(tmp_path / "batch")]
    assert sum(copies) == 10
    assert copies.count(2) == 2


def test_an_earlier_batch_that_is_none_is_refused(small, tmp_path):
    out = tmp_path / "batch"
    arguments = ("solve", small[0], "--features", small[1], "--budget", 5, "--out", out, "--previous", tmp_path / "x")
    _, words = run(*arguments, home=tmp_path, status=1)
    assert "is not a batch folder" in words
    assert not out.exists()


@pytest.fixture
def priced(tmp_path: Path) -> tuple[Path, Path]:
    """Ten prompts of four answers of four generators, half of them law, with fees of 0.5 to 1.4 a prompt."""
    pool = tmp_path / "priced.jsonl"
    with pool.open("w", encoding="utf-8") as handle:
        for x in range(10):
            answers = [
                {"response_id": f"r{k}", "text": f"answer {x} {k} " + "word " * (x + k), "generator": f"g{k}"}
                for k in range(4)
            ]
            row = {
                "prompt_id": f"p{x}", "prompt": f"question {x}", "responses": answers,
                "stratum": "law" if x % 2 else "chat", "meta": {"fee": 0.5 + x / 10},
            }  # fmt: skip
            handle.write(json.dumps(row) + "\n")
    features = tmp_path / "priced.features.parquet"
    ids = read_pool(pool).pool.ids()
    write_features(features, ids, np.random.default_rng(1).standard_normal((len(ids), 6)).astype("float32"))
    return pool, features


def test_caps_quotas_and_shares_hold_in_the_batch_and_stand_in_the_summary(priced, tmp_path):
    limits = ("--per-prompt", 2, "--quota", "law=7..7", "--quota", "chat=..9", "--generator-share", 0.6)
    for select in ("sample", "exact", "paper"):
        out = tmp_path / select
        more = (*limits, "--spread", "capped", "--select", select)
        if select == "paper":  # sequential draws keep caps per prompt only
            more = ("--per-prompt", 2, "--spread", "capped", "--select", select)
        result = solve(*priced, out, *more, home=tmp_path, budget=12)
        rows = records(out)
        assert result["selected_labels"] == result["labels"] == sum(row["copies"] for row in rows) == 12
        assert (result["select"], result["per_prompt"], result["cost"]) == (select, 2, None)
        assert result["cost_total"] is None
        assert all((row["inclusion"] is None) == (select != "sample") for row in rows)
        counts = [sum(row["prompt_id"] == f"p{x}" for row in rows) for x in range(10)]
        assert max(counts) <= 2
        if select == "paper":
            continue
        assert result["quotas"] == {"law": [7, 7], "chat": [0, 9]}
        assert result["generator_share"] == 0.6
        assert sum(row["stratum"] == "law" for row in rows) == 7
        for g in range(4):
            assert sum(f"g{g}" in (row["generator_a"], row["generator_b"]) for row in rows) <= 7


def test_an_open_quota_is_null_above(priced, tmp_path):
    result = solve(*priced, tmp_path / "batch", "--quota", "law=5..", home=tmp_path, budget=8)
    assert result["quotas"] == {"law": [5, None]}
    assert sum(row["stratum"] == "law" for row in records(tmp_path / "batch")) >= 5
    manifest = (tmp_path / "batch" / "manifest.json").read_text(encoding="utf-8")
    assert json.loads(manifest)["quotas"] == {"law": [5, None]}


def test_a_cost_budget_is_spent_and_never_exceeded_by_an_exact_batch(priced, tmp_path):
    fee = {f"p{x}": 0.5 + x / 10 for x in range(10)}
    for overlap, more in ((0.0, ["--select", "exact"]), (0.2, ["--select", "exact", "--overlap", 0.2]), (0.0, [])):
        out = tmp_path / f"batch{overlap}{len(more)}"
        result = solve(*priced, out, "--cost", "fee", *more, home=tmp_path, budget=7.3)
        spent = sum(fee[row["prompt_id"]] * row["copies"] for row in records(out))
        assert result["cost_total"] == pytest.approx(spent)
        assert result["budget"] == 7.3
        assert result["labels"] == pytest.approx((1 - overlap) * 7.3 / np.mean(list(fee.values())))
        if more:
            assert spent <= 7.3 + 1e-9
        else:  # in expectation only; one label more or less on each side
            assert abs(spent - 7.3) <= 2 * max(fee.values())


def test_compare_takes_the_same_limits(priced, tmp_path):
    more = ("--per-prompt", 2, "--quota", "law=0.3..", "--cost", "characters", "--budget", 0.75, "--select", "exact")
    result, _ = run("compare", priced[0], "--features", priced[1], *more, "--json", home=tmp_path)
    assert set(result["baselines"]) == RULES
    assert result["cost"] == "characters"
    assert result["cost_total"] <= 0.75 + 1e-9


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--budget", "5.5"], 2, ["5.5", "whole number", "--cost"]),
        (["--budget", "0"], 1, ["budget 0", "at least one label"]),
        (["--budget", "nan"], 2, ["nan", "whole number"]),
        (["--cost", "fee", "--budget", "-1.5"], 1, ["-1.5", "not a positive number"]),
        (["--cost", "euros"], 1, ["'p0'", "no 'euros' is given"]),
        (["--cost", ""], 1, ["--cost is empty"]),
        (["--quota", "law"], 2, ["'law'", "stratum=LO..HI"]),
        (["--quota", "law=a..b"], 2, ["'law=a..b'", "stratum=LO..HI"]),
        (["--quota", "law=4..2"], 1, ["law=4..2", "not a range"]),
        (["--quota", "law=1..2", "--quota", "law=..3"], 1, ["law", "twice"]),
        (["--quota", "poems=1..2"], 1, ["poems", "chat, law"]),
        (["--quota", "law=..1", "--quota", "chat=..1"], 1, ["quotas", "2", "6"]),
        (["--per-prompt", "0"], 1, ["--per-prompt 0", "1 label or more"]),
        (["--per-prompt", "many"], 2, ["--per-prompt"]),
        (["--per-prompt", "1", "--budget", "11"], 1, ["11", "10", "--per-prompt"]),
        (["--generator-share", "1.5"], 1, ["1.5", "(0, 1]"]),
        (["--generator-share", "0.2"], 1, ["generator", "share"]),
        (["--max-length-difference", "0"], 1, ["--max-length-difference 0", "not a positive number"]),
        (["--max-length-difference", "0.001"], 1, ["--max-length-difference", "0.001", "the least", "allow is"]),
        (["--select", "best"], 2, ["best", "exact"]),
    ],
)
def test_limits_that_cannot_be_kept_are_refused_in_words(priced, tmp_path, options, status, words):
    out = tmp_path / "batch"
    budget = [] if "--budget" in options else ["--budget", 6]
    _, told = run(
        "solve", priced[0], "--features", priced[1], *budget, "--out", out, *options, home=tmp_path, status=status
    )
    told = " ".join(told.replace("│", " ").split())  # usage errors stand in a box
    for word in words:
        assert word in told, told
    assert not out.exists()


def test_help_answers_without_the_heavy_imports():
    code = (
        "import sys; from curation.cli.app import main; main(['--help']); "
        "print(sorted({'torch', 'transformers', 'umap', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


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


GOVERNED = ("ridge", "ridge_kind", "prior_power", "spread", "select", "max_labels_per_pair")


def kept_settings(out: Path) -> dict:
    """What a batch was made with, of the settings that presets govern."""
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    space = {name: manifest["space"][name] for name in ("normalize", "pca", "length")}
    return {**{name: manifest["settings"][name] for name in GOVERNED}, **space}


def test_a_preset_gives_what_is_not_given_and_an_option_wins(small, tmp_path):
    published = {
        "ridge": 0.001, "ridge_kind": "absolute", "prior_power": 0.0, "spread": "free", "select": "paper",
        "max_labels_per_pair": "inf", "normalize": False, "pca": "raw", "length": False,
    }  # fmt: skip
    before = {
        "ridge": 30.0, "ridge_kind": "relative", "prior_power": 0.0, "spread": "auto", "select": "sample",
        "max_labels_per_pair": 1.0, "normalize": True, "pca": "within", "length": True,
    }  # fmt: skip
    plain = {**PRESETS["default"].values}
    assert plain == {**plain, **{name: getattr(DEFAULT_DESIGN, name) for name in GOVERNED}}
    for place, (more, expected) in enumerate(
        [
            ([], plain),
            (["--preset", "default"], plain),
            (["--preset", "hgm"], published),
            (["--preset", "0.2.0"], before),
            (["--spread", "capped", "--ridge", "0.5", "--preset", "hgm", "--length", "--max-labels-per-pair", "2"],
             {**published, "spread": "capped", "ridge": 0.5, "length": True, "max_labels_per_pair": 2.0}),
            (["--preset", "0.2.0", "--no-length", "--select", "exact"], {**before, "length": False, "select": "exact"}),
        ]
    ):  # fmt: skip
        out = tmp_path / f"batch{place}"
        solve(*small, out, *more, home=tmp_path, budget=6)
        assert kept_settings(out) == expected, more


def test_presets_reach_compare_and_backtest(small, tmp_path):
    pool, features = small
    told, _ = run(
        "compare", pool, "--features", features, "--budget", 6, "--preset", "hgm", "--spread", "capped", "--json",
        home=tmp_path,
    )  # fmt: skip
    assert (told["select"], told["spread"]) == ("paper", "capped")
    demo = demo_pool()
    run("backtest", demo, "--features", demo.with_name("demo.features.parquet"), "--budgets", 8, "--seeds", 2,
        "--workers", 1, "--preset", "0.2.0", "--ridge", 3, "--out", tmp_path / "told", "--json", home=tmp_path)  # fmt: skip
    options = json.loads((tmp_path / "told" / "backtest.json").read_text(encoding="utf-8"))["options"]
    assert (options["design"]["ridge"], options["design"]["spread"]) == (3.0, "auto")
    assert options["space"]["length"] is True


def test_an_unknown_preset_is_a_usage_error(small, tmp_path):
    _, error = run_process("solve", small[0], "--features", small[1], "--budget", 6, "--out", tmp_path / "b",
                   "--preset", "best", home=tmp_path, status=2)  # fmt: skip
    assert "hgm" in error
    assert not (tmp_path / "b").exists()


def test_compare_prints_every_rule_and_the_label_equivalent(small, tmp_path):
    result, _ = run("compare", small[0], "--features", small[1], "--budget", 6, "--json", home=tmp_path)
    assert set(result["baselines"]) == RULES
    assert "uniform_labels" in result
    assert result["outcome_sentence"] == "not tested on outcomes: buy a pilot"
    assert set(result["length"]) == {"difference", "uniform_difference", "pool_difference", "share", "uniform_share"}
    assert result["length"]["pool_difference"] > 0


def test_check_tells_findings_with_remedies_and_saves_the_pairs_nobody_can_decide(tmp_path):
    pool, features = demo_pool(), demo_pool().parent / "demo.features.parquet"
    file = tmp_path / "exclude.csv"
    options = ("--features", features, "--preset", "0.2.0", "--exclude-out", file, "--json")
    result, _ = run("check", pool, *options, home=tmp_path)
    assert {"near_duplicates", "overdrawn"} <= {finding["key"] for finding in result["health"]}
    for finding in result["health"]:
        assert set(finding) == {"key", "severity", "title", "sentence", "value", "unit", "remedy", "examples"}
    assert file.read_text().startswith("prompt_id,response_a_id,response_b_id")


def test_the_empirical_fisher_takes_temperature_and_length_normalisation(tmp_path):
    demo = demo_pool()
    options = (demo, "--features", demo.parent / "demo.features.parquet", "--budget", "20", "--fisher", "empirical")
    effective = {}
    for name, more in {
        "per token": (),
        "summed": ("--no-per-token",),
        "summed, hot": ("--no-per-token", "--temperature", "500"),
    }.items():
        result, _ = run("compare", *options, *more, "--json", home=tmp_path)
        effective[name] = result["effective_candidates"]
        assert any("effective ones" in note for note in result["notes"]) == (name == "summed")
    assert effective["summed"] < 1.5 < effective["summed, hot"]
    assert effective["per token"] > 6
