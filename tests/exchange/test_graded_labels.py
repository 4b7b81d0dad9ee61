"""Answers with strength once they are labels: kept, hashed, given up, and counted in agreement."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.backtest.run import imported_answers, imported_truth
from curation.batch.folder import read_batch
from curation.exchange.receive import import_labels
from curation.exchange.send import export_batch
from curation.insight.agreement import label_quality
from curation.insight.rater_agreement import krippendorff_alpha
from curation.pool.labels import Label, graded_outcome
from curation.review.store import connection
from curation.review.store.store import Store, open_store
from tests.desk.graded import BAD, answered, table, truth
from tests.desk.labels import studio, write
from tests.desk.stores import BATCH, fill


def test_a_changed_strength_replaces_the_answer(made: dict[str, Any], store: Store, tmp_path: Path) -> None:
    import_labels(made["batch"], table(made, store, tmp_path, lambda n, row: None), store=store)
    file = tmp_path / "back.csv"
    lines = file.read_text().split("slightly", 1)
    file.write_text("much".join(lines))
    told = import_labels(made["batch"], file, store=store)
    assert (told["new"], told["replaced"]) == (0, 1)
    assert sum(label.strength == 2 for label in store.labels(told["batch_id"])) == 1


# The store ----------------------------------------------------------------------------------------------------------


def test_a_strength_that_does_not_fit_its_outcome_is_refused_by_label_and_database(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    for outcome, strength, both_bad in [
        ("a", 0, False),
        ("tie", 1, False),
        ("skip", 0, False),
        ("tie", None, True),
        ("a", 1, True),
        ("b", 3, False),
    ]:
        with pytest.raises(ValueError, match="strength"):
            Label("p", outcome, "u", "a", 1, None, strength, both_bad)  # type: ignore[arg-type]
    import_labels(made["batch"], answered(made, store, tmp_path, "csv"), store=store)
    with sqlite3.connect(store.place) as db:
        for change in ("strength = 3", "strength = 0 WHERE outcome = 'a'", "both_bad = 1 WHERE outcome = 'a'"):
            with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
                db.execute(f"UPDATE labels SET {change}")


def test_labels_without_strength_keep_their_digest_and_an_older_store_still_agrees_with_its_log(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    batch = read_batch(made["batch"])
    export_batch(made["batch"], to="label-studio", out=tmp_path / "t.json", store=store)
    tasks = json.loads((tmp_path / "t.json").read_text())
    import_labels(made["batch"], write(tmp_path / "1.json", studio(made, tasks)), store=store)
    labels = store.labels(batch.batch_id)
    before = sorted([m.pair_id, m.annotator, m.left, m.copy, m.outcome, m.seconds or 0.0] for m in labels)
    digest = hashlib.sha256(json.dumps(before).encode()).hexdigest()  # as versions without strength made it
    (event,) = (event for event in store.events(batch.batch_id) if event.kind == "import")
    assert event.body["labels"] == digest
    with store._writer.begin() as db:
        config = connection._config()
        config.attributes["connection"] = db
        command.downgrade(config, "0005")
    store.close()
    with sqlite3.connect(store.place) as db:
        columns = {row[1] for row in db.execute("PRAGMA table_info(labels)")}
    assert not columns & {"strength", "both_bad"}
    again = open_store(f"sqlite:///{store.place}")
    assert again.labels(batch.batch_id) == labels
    assert again.check_log(batch.batch_id) == []
    again.close()


def test_strength_is_kept_and_given_up_alike_on_sqlite_and_postgresql(database: str) -> None:
    opened = fill(open_store(database))
    labels = [
        Label("p1", "a", "u", "a", 1, 3.0, 2), Label("p1", "tie", "v", "b", 1, None, 0, True),
        Label("p2", "b", "u", "b", 1, None), Label("p2", "skip", "v", "b", 1, None),
    ]  # fmt: skip
    opened.record_labels(BATCH, labels, file="x", sha256="", format="csv", counts={}, who="ana")
    assert opened.labels(BATCH) == labels
    assert opened.check_log(BATCH) == []
    with opened._writer.begin() as db:
        config = connection._config()
        config.attributes["connection"] = db
        command.downgrade(config, "0005")
    opened.close()
    again = open_store(database)
    plain = [replace(label, strength=None, both_bad=False) for label in labels]
    assert again.labels(BATCH) == plain
    assert again.check_log(BATCH) != []  # what was given up is missed
    again.close()


def test_a_strength_changed_behind_the_stores_back_is_found(made: dict[str, Any], store: Store, tmp_path: Path) -> None:
    told = import_labels(made["batch"], answered(made, store, tmp_path, "jsonl"), store=store)
    assert store.check_log(told["batch_id"]) == []
    with sqlite3.connect(store.place) as db:
        db.execute("UPDATE labels SET strength = 3 - strength WHERE outcome IN ('a', 'b')")
    assert any("labels" in problem for problem in store.check_log(told["batch_id"]))


# What they say ------------------------------------------------------------------------------------------------------


def test_ordinal_and_interval_alpha_equal_the_worked_example_of_krippendorff_2011() -> None:
    rows = [
        "12332141 2...".replace(" ", ""),
        "123322412 5.3".replace(" ", ""),
        ".33323422 51.".replace(" ", ""),
        "123324412 51.".replace(" ", ""),
    ]
    units = [[int(row[n]) for row in rows if row[n] != "."] for n in range(12)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(units, metric="ordinal") == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha(units, metric="interval") == pytest.approx(0.849, abs=5e-4)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=4), min_size=2, max_size=8))
def test_ordinal_alpha_is_the_same_seen_from_the_other_side(units: list[list[int]]) -> None:
    here, there = (krippendorff_alpha([[s * v for v in u] for u in units], metric="ordinal") for s in (1, -1))
    assert here == pytest.approx(there)


def test_a_near_miss_costs_less_than_an_opposite_answer() -> None:
    common = [[2, 2], [-2, -2], [1, 1], [-1, -1], [0, 0]]
    near, far = ([*common, miss] for miss in ([2, 1], [2, -2]))
    assert krippendorff_alpha(near, metric="ordinal") > krippendorff_alpha(far, metric="ordinal")  # type: ignore[operator]
    assert krippendorff_alpha([*common, [2, 1]]) == pytest.approx(krippendorff_alpha([*common, [2, -1]]))


def test_quality_of_graded_answers_counts_steps_as_seen_and_names_both_bad() -> None:
    def label(pair: str, outcome: str, who: str, left: str, strength: int | None, bad: bool = False) -> Label:
        return Label(pair, outcome, who, left, 1, 5.0, strength, bad)  # type: ignore[arg-type]

    answers = [
        label("1", "a", "u", "a", 2), label("1", "a", "v", "b", 1),  # left much, right slightly
        label("2", "b", "u", "a", 2), label("2", "b", "v", "b", 2),  # right much, left much
        label("3", "tie", "u", "a", 0), label("3", "tie", "v", "a", 0, True),
        label("4", "skip", "u", "a", None),
    ]  # fmt: skip
    found = label_quality(answers)
    assert found.steps == {
        "left_much": 2, "left_slightly": 0, "tie": 1, "right_slightly": 1, "right_much": 1, "both_bad": 1
    }  # fmt: skip
    assert (found.graded, found.metric, found.tie_rate, found.left_share) == (6, "ordinal", 2 / 6, 0.5)
    assert found.both_bad_rate == pytest.approx(1 / 6)
    assert (found.agreement, found.agreement_steps, found.alpha_sides) == (1.0, pytest.approx(2 / 3), 1.0)
    assert found.alpha is not None
    assert found.alpha < 1
    words = " ".join(found.sentences())
    assert "on the five steps, ordinal, 1.00 on sides alone, the same step in 67%" in words
    assert "left much 2, left slightly 0, tie 1, right slightly 1, right much 1, both bad 1. Both bad in 17%" in words
    mixed = label_quality([*answers, label("5", "a", "u", "a", None)])
    assert (mixed.metric, mixed.alpha, mixed.graded) == ("nominal", 1.0, 6)
    plain = label_quality([Label("1", "a", "u", "a", 1, None)])
    assert (plain.steps, plain.both_bad_rate, plain.alpha_sides) == ({}, None, None)


def test_outcomes_of_graded_labels_stay_wins_and_the_strength_is_at_hand(
    made: dict[str, Any], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{store.place}")
    batch = read_batch(made["batch"])
    import_labels(made["batch"], answered(made, store, tmp_path, "studio pairwise"), store=store)
    ends = {(r["prompt_id"], r["response_a_id"], r["response_b_id"]): r["pair_id"] for r in batch.records}
    shares = {2: 1.0, 1: 1.0, 0: 0.5, BAD: 0.5, -1: 0.0, -2: 0.0}
    found = imported_truth([made["batch"]]).labels
    assert len(found) == 2 * sum(record["copies"] for record in batch.records)
    for prompt, a, b, share in found:
        assert share == shares[truth(ends[prompt, a, b])]
    for prompt, a, b, label in imported_answers([made["batch"]]):
        assert ends[prompt, a, b] == label.pair_id
        assert graded_outcome(label) == {BAD: 0}.get(truth(label.pair_id), truth(label.pair_id))  # type: ignore[call-overload]


def test_graded_outcome_of_binary_answers_is_their_side_and_a_skip_has_none() -> None:
    assert [graded_outcome(Label("p", o, "u", "b", 1, None)) for o in ("a", "b", "tie")] == [1, -1, 0]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is a skip"):
        graded_outcome(Label("p", "skip", "u", "a", 1, None))


# Training rows ------------------------------------------------------------------------------------------------------
