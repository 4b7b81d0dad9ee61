"""The command line as an analyst uses it: real pools, every failure in words; six commands in real processes."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from curation.batch.folder import RECORD_KEYS
from curation.cli.batches import graded_lines
from curation.pool.readers.read import read_pool
from curation.representation.features_file import write_features
from tests.desk.commands import ROOT, RULES, records, run, run_process, solve
from tests.desk.pools import demo_pool, real_pool

SUMMARY_KEYS = (
    "prompts responses pairs dim budget fisher spread objective lower_bound gap open passes support realised "
    "efficiency device seconds baselines"
).split()


@pytest.mark.slow
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


@pytest.mark.slow
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
