"""Labels come back: decoded by id, counted, judged, handed to training and to the next design."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.batch.folder import read_batch, read_criterion, read_selected
from curation.batch.information import realised_information
from curation.errors import BatchError, CurationError, ExportError, ImportLabelsError
from curation.exchange.receive import import_labels, label_report
from curation.exchange.send import export_trl
from curation.exchange.trl import preferences
from curation.insight.agreement import label_quality
from curation.insight.rater_agreement import krippendorff_alpha
from curation.pool.labels import Label
from curation.pool.schema import Pool
from curation.representation.features_file import read_features
from curation.review.earlier import earlier_batches
from curation.review.store.store import Store
from curation.run.prepare import prepare
from curation.run.solve import solve
from curation.settings import DesignSettings, SpaceSettings
from tests.desk.labels import BUDGET, SPACE, exported, side, studio, winner, write

COLUMNS = "prompt chosen rejected votes_chosen votes_rejected votes_tie strength target weight pair_id batch_id inclusion design_weight".split()


def test_label_studio_answers_are_decoded_by_id_and_counted(made: dict[str, Any], store: Store, tmp_path: Path) -> None:
    tasks = json.loads(exported(made, store, tmp_path, "label-studio", "both").read_text())
    answers = studio(made, tasks)
    answers[0]["annotations"][0]["was_cancelled"] = True
    answers[1]["annotations"][0]["result"] = []
    answers.append(answers[2])  # the same again
    stranger = json.loads(json.dumps(answers[3]))
    stranger["data"]["pair_id"] = "0" * 16
    forged = json.loads(json.dumps(answers[4]))
    forged["data"]["left_id"] = forged["data"]["right_id"]
    file = write(tmp_path / "export.json", [*answers, stranger, forged])
    result = import_labels(made["batch"], file, who="ana", store=store)
    assert result["format"] == "label-studio"
    assert result["answers"] == len(tasks) + 3
    assert result["labels"] == len(tasks) - 1 == result["new"]
    assert (result["cancelled"], result["skips"], result["duplicates"], result["unknown"]) == (1, 1, 1, 2)
    assert result["not_answered_examples"] == ["export.json item 2: the control 'preference' has no answer"]
    assert len(result["unknown_examples"]) == 2
    batch = read_batch(made["batch"])
    labels = store.labels(batch.batch_id)
    for label in labels:
        assert label.outcome in (winner(batch, label.pair_id), "skip")
        assert label.annotator == "eve@x"
    again = import_labels(made["batch"], file, who="ana", store=store)
    assert (again["new"], again["replaced"], again["same"]) == (0, 0, len(tasks) - 1)
    assert store.labels(batch.batch_id) == labels
    first, second = store.imports(batch.batch_id)
    assert first.sha256 == second.sha256


@pytest.mark.parametrize("shape", ["pairwise", "flat", "argilla api", "argilla sdk", "csv", "jsonl"])
def test_every_format_gives_the_same_labels(made: dict[str, Any], store: Store, tmp_path: Path, shape: str) -> None:
    batch = read_batch(made["batch"])
    if shape.startswith("argilla"):
        records = json.loads(exported(made, store, tmp_path, "argilla").read_text())
        words = {"left": "a", "right": "b", "tie": "tie"}
        for record in records:
            value = words[side(batch, record["metadata"])]
            draft = {"values": {"preference": {"value": "b"}}, "status": "draft", "user_id": "u2"}
            answer = {"values": {"preference": {"value": value}}, "status": "submitted", "user_id": "u1"}
            record["responses"] = (
                [answer, draft] if shape.endswith("api") else {"preference": [{"value": value, "user_id": "u1"}]}
            )
        file = write(tmp_path / "back.json", records)
    elif shape in ("csv", "jsonl"):
        out = exported(made, store, tmp_path, shape)
        if shape == "csv":
            with out.open(newline="") as handle:
                rows = list(csv.DictReader(handle))
        else:
            rows = [json.loads(line) for line in out.read_text().splitlines()]
        for row in rows:
            row |= {"preference": side(batch, row), "annotator": "u1", "seconds": "12.5"}
        file = tmp_path / f"back.{shape}"
        with file.open("w", newline="") as handle:
            if shape == "csv":
                writer = csv.DictWriter(handle, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
            else:
                handle.writelines(json.dumps(row) + "\n" for row in rows)
    else:
        tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
        answers = studio(
            made, [t for t in tasks if side(batch, t["data"]) != "tie" or shape == "flat"], kind="pairwise"
        )
        if shape == "flat":
            answers = [
                {**t["data"], "preference": side(batch, t["data"]), "annotator": "u1", "lead_time": 9} for t in tasks
            ]
        file = write(tmp_path / "back.json", answers)
    result = import_labels(made["batch"], file, store=store)
    labels = store.labels(batch.batch_id)
    assert result["unknown"] == 0
    assert labels
    assert all(label.outcome == winner(batch, label.pair_id) for label in labels)
    expected = sum(r["copies"] for r in batch.records if shape != "pairwise" or winner(batch, r["pair_id"]) != "tie")
    assert len(labels) == expected


def test_a_file_of_another_batch_is_refused_whole(made: dict[str, Any], store: Store, tmp_path: Path) -> None:
    tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
    answers = studio(made, tasks)
    answers[3]["data"] = {**answers[3]["data"], "batch_id": "f" * 16}
    with pytest.raises(ImportLabelsError, match=r"1 of \d+ answers belong to another batch \(ffff"):
        import_labels(made["batch"], write(tmp_path / "x.json", answers), store=store)
    assert store.labels(read_batch(made["batch"]).batch_id) == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.json", "[{", "is not JSON"),
        ("x.json", "{}", "lacks pair_id"),
        ("x.json", '[{"annotations": [{"result": []}], "data": {}}]', "item 1 lacks pair_id, left_id, right_id"),
        ("x.csv", "a,b\n1,2\n", "line 2 lacks pair_id"),
        ("x.csv", "pair_id,left_id,right_id,preference\np,l,r,best\n", "preference 'best' is none of"),
        ("x.jsonl", '{"pair_id": 1}\nnot json\n', "line 2 is not JSON|lacks left_id"),
        ("x.json", "[]", "holds no answer"),
    ],
)
def test_bad_files_are_refused_with_their_place(
    made: dict[str, Any], store: Store, tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ImportLabelsError, match=words):
        import_labels(made["batch"], tmp_path / name, store=store)
    (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CurationError):
        import_labels(made["batch"], tmp_path / name, store=store)


def test_a_later_answer_replaces_the_earlier_one(made: dict[str, Any], store: Store, tmp_path: Path) -> None:
    tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
    answers = studio(made, tasks)
    import_labels(made["batch"], write(tmp_path / "1.json", answers), store=store)
    answers[0]["annotations"][0]["result"][0]["value"]["choices"] = ["tie"]
    first = answers[0]["data"]["pair_id"]
    result = import_labels(made["batch"], write(tmp_path / "2.json", answers), store=store)
    batch = read_batch(made["batch"])
    if winner(batch, first) != "tie":
        assert result["replaced"] == 1
    held = [label for label in store.labels(batch.batch_id) if label.pair_id == first and label.copy == 1]
    assert [label.outcome for label in held] == ["tie"]


def test_alpha_equals_the_worked_examples_of_krippendorff_2011() -> None:
    a, b = "0100000010", "1110010000"
    assert krippendorff_alpha(list(zip(a, b, strict=True))) == pytest.approx(0.095, abs=5e-4)
    rows = [
        "12332141 2...".replace(" ", ""),
        "123322412 5.3".replace(" ", ""),
        ".33323422 51.".replace(" ", ""),
        "123324412 51.".replace(" ", ""),
    ]
    units = [[row[n] for row in rows if row[n] != "."] for n in range(12)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
    assert krippendorff_alpha([["a"]]) is None


def test_quality_tells_bias_ties_skips_and_agreement() -> None:
    answers = [Label(f"p{n}", "a", "u", "a", 1, 10.0) for n in range(40)]  # the left one always
    answers += [Label(f"p{n}", "a" if n % 2 else "b", "v", "a", 1, 20.0) for n in range(10)]
    answers += [Label("t", "tie", "u", "a", 1, None), Label("s", "skip", "u", "b", 1, None)]
    found = label_quality(answers)
    assert (found.answers, found.pairs, found.annotators, found.doubled) == (52, 42, 2, 10)
    assert found.left_share == pytest.approx(45 / 50)
    assert found.left_interval is not None
    assert found.left_interval[0] > 0.5
    assert found.agreement == pytest.approx(0.5)
    assert found.tie_rate == pytest.approx(1 / 51)
    assert found.skip_rate == pytest.approx(1 / 52)
    assert found.seconds == 10.0
    assert any("a position bias" in sentence for sentence in found.sentences())
    empty = label_quality([])
    assert empty.alpha is None
    assert "No pair was answered twice" in " ".join(empty.sentences())


def test_realised_information_is_the_plans_when_all_came_back_and_less_otherwise(made: dict[str, Any]) -> None:
    batch = read_batch(made["batch"])
    every = [
        Label(r["pair_id"], "a", "u", "a", copy, None) for r in batch.records for copy in range(1, r["copies"] + 1)
    ]
    told = realised_information(batch, every)
    assert told is not None
    assert told["share"] == pytest.approx(1.0)
    half = realised_information(batch, every[: len(every) // 2])
    assert half is not None
    assert half["share"] < 1.0
    stored = read_criterion(batch.path)
    assert stored is not None
    fisher, prior = stored
    selected = read_selected(batch.path)
    S = (selected.vectors.T * (selected.copies / batch.manifest["labels"])) @ selected.vectors + prior
    assert told["planned"] == pytest.approx(float(np.trace(np.linalg.solve(S, fisher))))
    skips = [Label(label.pair_id, "skip", "u", "a", 1, None) for label in every]
    nothing = realised_information(batch, skips)
    assert nothing is not None
    assert nothing["labelled_pairs"] == 0


def test_trl_rows_are_explicit_conversations_of_winners_only(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
    import_labels(made["batch"], write(tmp_path / "1.json", studio(made, tasks)), store=store)
    result = export_trl(made["batch"], tmp_path / "train.jsonl", store=store)
    batch = read_batch(made["batch"])
    ties = sum(winner(batch, r["pair_id"]) == "tie" for r in batch.records)
    assert result["left_out"] == {"no label": 0, "tie": ties, "split": 0, "identical": 0}
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len(rows) == len(batch.records) - ties == result["rows"]
    chosen = {r["prompt_id"]: r for r in batch.records}
    for row in rows:
        assert set(row) == {*COLUMNS}
        assert (row["votes_rejected"], row["votes_tie"], row["strength"], row["target"]) == (0, 0, None, 1.0)
        assert [m["role"] for m in (*row["prompt"], *row["chosen"], *row["rejected"])] == [
            "user",
            "assistant",
            "assistant",
        ]
        record = chosen["p" + row["prompt"][0]["content"].split()[1]]
        truth = winner(batch, record["pair_id"])
        assert row["chosen"][0]["content"] == record[f"response_{truth}"]
        assert (row["pair_id"], row["batch_id"]) == (record["pair_id"], batch.batch_id)
        assert (row["inclusion"], row["design_weight"]) == (record["inclusion"], record["weight"])
        assert row["inclusion"] > 0
    with pytest.raises(ExportError, match="exists"):
        export_trl(made["batch"], tmp_path / "train.jsonl", store=store)


def test_votes_decide_and_what_has_no_winner_is_counted() -> None:
    def record(pair: str, a: str = "x", b: str = "y") -> dict[str, Any]:
        return {"pair_id": pair, "prompt": "q", "response_a": a, "response_b": b}

    def votes(pair: str, *outcomes: str) -> list[Label]:
        return [Label(pair, o, f"u{n}", "a", 1, None) for n, o in enumerate(outcomes)]  # type: ignore[arg-type]

    records = [record("1"), record("2"), record("3"), record("4"), record("5", "same", "same"), record("6")]
    labels = [
        *votes("1", "a", "a", "b"), *votes("2", "b", "tie", "skip"), *votes("3", "a", "b"), *votes("5", "a"),
        *votes("6", "b", "b", "tie"),
    ]  # fmt: skip
    made = preferences(records, labels)
    assert made.left_out == {"no label": 1, "tie": 1, "split": 1, "identical": 1}
    assert [row["chosen"][0]["content"] for row in made.rows] == ["x", "y"]


def _labelled(made: dict[str, Any], store: Store, tmp_path: Path, count: int) -> Counter[str]:
    tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())[:count]
    import_labels(made["batch"], write(tmp_path / "1.json", studio(made, tasks)), store=store)
    return Counter(task["data"]["pair_id"] for task in tasks)


def test_the_next_batch_goes_on_from_the_labelled_pairs_and_buys_none_twice(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    bought = _labelled(made, store, tmp_path, 7)
    pool: Pool = made["pool"]
    metadata = read_features(made["features"], pool.ids()).metadata
    earlier = earlier_batches([made["batch"]], pool, space=SPACE, features_metadata=metadata, store=store)
    assert earlier.labels == 7
    assert len(earlier.labelled) == len(bought)
    selected = read_selected(made["batch"])
    by_hand = sum(
        bought[pair] * np.outer(z, z)
        for pair, z in zip(selected.pair_ids, selected.vectors, strict=True)
        if pair in bought
    )
    np.testing.assert_allclose(earlier.information, by_hand, atol=1e-12)
    prepared = prepare(pool, made["features"], space=SPACE, device="cpu", fitted=earlier.space)
    settings = DesignSettings(budget=BUDGET, ridge=0.1)
    solved = solve(prepared, settings, earlier=earlier)
    from curation.batch.records import pair_labels, save_batch, solved_identity

    chosen = {row[3] for row in pair_labels(pool, solved, solved.batch.pairs)}
    assert not chosen & set(bought)
    fresh = solve(prepared, settings)
    assert solved_identity(solved, (), ()) != solved_identity(fresh, (), ())
    assert solved.realised < fresh.realised  # more is known
    expected = fresh.criterion.prior.numpy() + by_hand / BUDGET
    np.testing.assert_allclose(solved.criterion.prior.numpy(), expected, atol=1e-12)
    save_batch(solved, tmp_path / "second")
    assert read_batch(tmp_path / "second").manifest["previous"] == {
        "batches": [read_batch(made["batch"]).batch_id],
        "labels": 7,
    }


def test_another_space_another_model_or_a_batch_without_labels_is_refused(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    pool = made["pool"]
    with pytest.raises(BatchError, match="has no labels"):
        earlier_batches([made["batch"]], pool, space=SPACE, features_metadata={}, store=store)
    _labelled(made, store, tmp_path, 3)
    with pytest.raises(BatchError, match=r"another space \(dim 6 there, 5 here\)"):
        earlier_batches([made["batch"]], pool, space=SpaceSettings(dim=5), features_metadata={}, store=store)
    with pytest.raises(BatchError, match="features of model m1, these are of m2"):
        earlier_batches([made["batch"]], pool, space=SPACE, features_metadata={"model": "m2"}, store=store)
    chat = {"model": "m1", "template": "chat template, <|im_end|> closes every response", "end_of_turn": "<|im_end|>"}
    with pytest.raises(BatchError, match=r"read answers otherwise \(unsaid there, chat template, <\|im_end\|>"):
        earlier_batches([made["batch"]], pool, space=SPACE, features_metadata=chat, store=store)
    with pytest.raises(BatchError, match="given twice"):
        earlier_batches([made["batch"]] * 2, pool, space=SPACE, features_metadata={}, store=store)


def test_the_report_says_what_the_labels_say(made: dict[str, Any], store: Store, tmp_path: Path) -> None:
    _labelled(made, store, tmp_path, 100)
    told = label_report(read_batch(made["batch"]), store)
    assert any("pairs have a label" in sentence for sentence in told["sentences"])
    assert told["quality"]["answers"] == sum(r["copies"] for r in read_batch(made["batch"]).records)
