"""Answers with strength: out in every format, back by opaque id, mirrored, counted, judged, handed to training."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import sqlite3
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from alembic import command
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.backtest.run import imported_answers, imported_truth
from curation.batch.answers import GRADED, NotOnScaleError, Said, UnclearError, left_sign, understand
from curation.batch.folder import read_batch
from curation.errors import ImportLabelsError
from curation.exchange.receive import import_labels
from curation.exchange.send import export_batch, export_trl
from curation.exchange.tools.argilla import settings as argilla_settings
from curation.exchange.tools.label_studio import labelling_config
from curation.exchange.tools.parquet import schema
from curation.exchange.tools.tables import COLUMNS, GRADED_COLUMNS, column_guide
from curation.exchange.trl import preferences, soft
from curation.insight.agreement import label_quality
from curation.insight.rater_agreement import krippendorff_alpha
from curation.pool.labels import Label, graded_outcome
from curation.review.store import connection
from curation.review.store.store import Store, open_store
from tests.desk.graded import BAD, answered, sent, truth
from tests.desk.labels import studio, write
from tests.desk.sign_off_page import approved_sign_off
from tests.desk.stores import BATCH, fill

SHAPES = [
    "studio choices", "studio pairwise", "studio rating", "flat choices", "flat pairwise", "argilla api", "argilla sdk",
    "csv", "csv sizes", "csv signed", "csv regions", "jsonl", "jsonl mixed",
]  # fmt: skip


# The way out --------------------------------------------------------------------------------------------------------


def test_label_studio_asks_six_answers_by_keys_one_to_six_and_pairwise_asks_the_strength_beside() -> None:
    choices = ElementTree.fromstring(labelling_config("choices", "graded")).findall(".//Choice")
    assert [(c.get("alias"), c.get("hotkey")) for c in choices] == [(v, str(k)) for k, v in enumerate(GRADED, start=1)]
    expected = [("left", 2), ("left", 1), ("tie", 0), ("right", 1), ("right", 2), ("tie", 0)]
    for name in ("alias", "value"):  # an export may carry either
        said = [understand(choice.get(name), graded=True) for choice in choices]
        assert [(s.choice, 0 if s.choice == "tie" else s.strength) for s in said] == expected, name
        assert [s.both_bad for s in said] == [False] * 5 + [True]
    tree = ElementTree.fromstring(labelling_config("pairwise", "graded"))
    assert tree.find(".//Pairwise").get("name") == "preference"  # type: ignore[union-attr]
    beside = tree.find(".//Choices")
    assert beside is not None
    assert (beside.get("name"), beside.get("toName"), beside.get("required")) == ("strength", "prompt", "true")
    for step in beside:
        size = {"much": 2, "slightly": 1}.get(str(step.get("alias")), 0)
        for name in ("alias", "value"):
            said_one = understand("left" if size else None, step.get(name), graded=True)
            assert said_one == Said("left" if size else "tie", size, step.get("alias") == "both_bad")


def test_graded_files_say_so_in_every_row_and_binary_ones_are_as_before(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    (tmp_path / "b").mkdir()
    for to in ("label-studio", "argilla", "csv", "parquet", "jsonl"):
        out = sent(made, store, tmp_path, to).rename(tmp_path / f"tasks.{to}")
        plain = tmp_path / "b" / out.name
        told = export_batch(made["batch"], to=to, out=plain, order="both", store=store)  # type: ignore[arg-type]
        assert told["answers"] == "binary"
        assert b"graded" not in plain.read_bytes()
        if to in ("label-studio", "argilla"):
            part = "data" if to == "label-studio" else "metadata"
            graded, binary = (json.loads(path.read_text()) for path in (out, plain))
            assert [item[part].pop("answers") for item in graded] == ["graded"] * len(binary)
            assert graded == binary  # nothing else differs: texts, ids and their order
        elif to == "parquet":
            assert pq.read_table(out).schema.equals(schema(GRADED_COLUMNS))
            assert pq.read_table(plain).schema.equals(schema(COLUMNS))
        elif to == "csv":
            heads = [path.open(newline="").readline().strip().split(",") for path in (out, plain)]
            assert heads == [[*GRADED_COLUMNS, "annotator"], [*COLUMNS, "preference", "annotator"]]
        else:
            rows = [[json.loads(line) for line in path.read_text().splitlines()] for path in (out, plain)]
            assert [(row.pop("answers"), row.pop("preference")) for row in rows[0]] == [("graded", "")] * len(rows[1])
            assert rows[0] == rows[1]
    names = {path.name for path in tmp_path.iterdir()}
    assert {"tasks.csv.answers.txt", "tasks.jsonl.answers.txt", "tasks.parquet.answers.txt"} <= names
    assert not any("answers" in path.name for path in (tmp_path / "b").iterdir())
    assert all(value in column_guide() for value in GRADED)
    kinds = [event.body.get("answers") for event in store.events() if event.kind == "export"]
    assert kinds == ["graded", None] * 5
    metadata = {entry["name"] for entry in argilla_settings("graded")["metadata"]}
    assert metadata - {entry["name"] for entry in argilla_settings()["metadata"]} == {"answers"}


# The way back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_every_format_brings_strength_back_and_mirrors_it(
    made: dict[str, Any], store: Store, tmp_path: Path, shape: str
) -> None:  # fmt: skip
    """Each pair was shown both ways round: the same truth was left much on one screen and right much on the other."""
    batch = read_batch(made["batch"])
    told = import_labels(made["batch"], answered(made, store, tmp_path, shape), store=store)
    labels = store.labels(batch.batch_id)
    assert len(labels) == 2 * sum(record["copies"] for record in batch.records) == told["graded"] == told["answers"]
    assert {label.left for label in labels} == {"a", "b"}
    for label in labels:
        value = truth(label.pair_id)
        assert label.both_bad == (value == BAD)
        assert graded_outcome(label) == (0 if value == BAD else value)
        assert label.graded
    assert (told["asked"], told["unclear"], told["without_strength"], told["unknown"]) == ("graded", 0, 0, 0)
    assert told["both_bad"] == sum(label.both_bad for label in labels)
    assert told["quality"]["metric"] == "ordinal"
    assert told["quality"]["alpha"] == pytest.approx(1.0)
    again = import_labels(
        made["batch"], tmp_path / f"back.{'json' if shape[0] in 'sfa' else shape.split()[0]}", store=store
    )
    assert (again["new"], again["replaced"], again["same"]) == (0, 0, len(labels))


@pytest.mark.parametrize(
    ("preference", "strength", "expected"),
    [
        ("left", None, Said("left")),
        ("Left is much better", None, Said("left", 2)),
        ("RIGHT-SLIGHTLY", "", Said("right", 1)),
        ("response_b_much", None, Said("right", 2)),
        ("a", "slightly", Said("left", 1)),
        ("b", 3, Said("right", 2)),
        ("b", "2.0", Said("right", 2)),
        ("a", "1", Said("left", 1)),
        ("tie", 0, Said("tie", 0)),
        ("tie", "both bad", Said("tie", 0, True)),
        ("both_bad", "", Said("tie", 0, True)),
        ("both_bad", "tie", Said("tie", 0, True)),
        ("both", None, Said("tie")),
        ("", "tie", Said("tie", 0)),
        ("", 0, Said("tie", 0)),
        ("left_much", "much", Said("left", 2)),
        ("skip", "much", Said("skip")),
        (None, None, Said("skip")),
        ("2", None, Said("right")),
    ],
)
def test_answers_are_understood(preference: Any, strength: Any, expected: Said) -> None:
    assert understand(preference, strength) == expected


@pytest.mark.parametrize(
    ("preference", "strength", "kind", "words"),
    [
        ("best", None, NotOnScaleError, "preference 'best' is none of left, right"),
        ("-1", None, NotOnScaleError, "preference '-1'"),
        ("left", "strong", NotOnScaleError, "strength 'strong' is none of much"),
        ("left", 4, NotOnScaleError, "strength 4 is none"),
        ("left", 1.5, NotOnScaleError, "strength 1.5"),
        ("left", "nan", NotOnScaleError, "strength 'nan'"),
        ("left", "inf", NotOnScaleError, "strength 'inf'"),
        ("left", "tie", UnclearError, "contradict"),
        ("left", 0, UnclearError, "contradict"),
        ("left", "both_bad", UnclearError, "contradict"),
        ("tie", "much", UnclearError, "contradict"),
        ("left_much", "slightly", UnclearError, "contradict"),
        ("", "much", UnclearError, "which side"),
        ("", -2, UnclearError, "which side"),
    ],
)
def test_what_is_no_answer_or_no_clear_one_is_said(preference: Any, strength: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words):
        understand(preference, strength)


def test_a_bare_number_is_no_answer_where_six_were_possible() -> None:
    with pytest.raises(NotOnScaleError, match="preference '1'"):
        understand("1", graded=True)


def test_signs_are_read_by_the_sides_they_go_with_and_refused_where_they_go_with_both() -> None:
    assert left_sign([("left", -2), ("right", 1), ("tie", 0), ("", 2)]) == -1
    assert left_sign([("left", 2), ("right", -1)]) == 1
    assert left_sign([("right", -1)]) == 1
    assert left_sign([("left", 2), ("right", 1)]) == 0  # sizes
    assert understand("right", -2, sign=1) == Said("right", 2)
    with pytest.raises(UnclearError, match="sign"):
        understand("right", 2, sign=1)
    with pytest.raises(NotOnScaleError, match="left in 2 answers and with right in 1"):
        left_sign([("left", 2), ("right", -1), ("right", 1)])


def table(made: dict[str, Any], store: Store, folder: Path, change: Any) -> Path:
    """A CSV of binary-looking rows of a graded export, all left and slightly, after `change(n, row)`."""
    with sent(made, store, folder, "csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for n, row in enumerate(rows):
        row |= {"preference": "left", "strength": "slightly", "annotator": "eve"}
        change(n, row)
    with (folder / "back.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "back.csv"


def test_contradictions_and_missing_strengths_are_counted_and_named(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    changes: dict[int, dict[str, str]] = {
        0: {"strength": "tie"}, 1: {"preference": "", "strength": "much"}, 2: {"strength": ""}, 3: {"pair_id": "0" * 16},
        4: {"preference": "skip"},
    }  # fmt: skip
    file = table(made, store, tmp_path, lambda n, row: row.update(changes.get(n, {})))
    told = import_labels(made["batch"], file, store=store)
    assert told["answers"] == told["labels"] + told["unclear"] + told["unknown"]
    assert (told["unclear"], told["without_strength"], told["unknown"], told["skips"]) == (2, 1, 1, 1)
    assert "line 2: preference 'left' and strength 'tie' contradict" in told["unclear_examples"][0]
    assert "line 3: strength 'much' without a preference" in told["unclear_examples"][1]
    assert told["without_strength_examples"] == ["back.csv line 4: left without a strength"]
    kept = store.labels(told["batch_id"])
    assert sum(label.strength is None for label in kept) == 2  # the one without, and the skip
    assert told["graded"] == len(kept) - 2
    assert told["quality"]["metric"] == "nominal"  # not all answers have a strength


def test_values_off_the_scale_refuse_the_file_with_count_and_places(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    changes = {1: {"strength": "7"}, 3: {"preference": "besser"}, 5: {"preference": "1"}}
    file = table(made, store, tmp_path, lambda n, row: row.update(changes.get(n, {})))
    with pytest.raises(
        ImportLabelsError,
        match=r"3 of \d+ answers are not understood.*line 3: strength '7'.*line 5: .*'besser'.*line 7: .*'1'",
    ):
        import_labels(made["batch"], file, store=store)
    mixed = table(made, store, tmp_path, lambda n, row: row.update({"strength": "-1" if n % 2 else "1"}))
    with pytest.raises(ImportLabelsError, match="positive strength goes with left"):
        import_labels(made["batch"], mixed, store=store)
    assert store.labels(read_batch(made["batch"]).batch_id) == []


def test_a_file_that_does_not_say_what_was_asked_is_told_by_its_answers(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    def change(n: int, row: dict[str, str]) -> None:
        row.update({"answers": "", "preference": "tie" if n else "left_much", "strength": ""})

    told = import_labels(made["batch"], table(made, store, tmp_path, change), store=store)
    assert (told["asked"], told["graded"]) == ("graded", told["labels"])
    binary = table(
        made, store, tmp_path, lambda n, row: row.update({"answers": "", "preference": "tie", "strength": ""})
    )
    assert import_labels(made["batch"], binary, store=store)["asked"] == "binary"


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


def voices(*values: int | str | None) -> list[Label]:
    """Labels of one pair from graded values; None: a binary win of a."""
    out = []
    for n, value in enumerate(values):
        if value is None:
            out.append(Label("p", "a", f"u{n}", "a", 1, None))
        elif value == BAD:
            out.append(Label("p", "tie", f"u{n}", "a", 1, None, 0, True))
        else:
            assert isinstance(value, int)
            outcome = "tie" if value == 0 else "a" if value > 0 else "b"
            out.append(Label("p", outcome, f"u{n}", "a", 1, None, abs(value)))  # type: ignore[arg-type]
    return out


@pytest.mark.parametrize(
    ("values", "chosen", "expected"),
    [
        ((2,), "x", (1, 0, 0, 2.0, 0.95, 1.0)),
        ((-1,), "y", (1, 0, 0, 1.0, 0.7, 1.0)),
        ((1, 1, -2), "x", (2, 1, 0, 0.0, 1.45 / 3, 3.0)),
        ((1, 1, 1, -2, -2), "x", (3, 2, 0, -0.2, 0.44, 5.0)),
        ((2, 0, 1, BAD, 2), "x", (3, 0, 2, 1.0, 0.72, 5.0)),
        ((None, None), "x", (2, 0, 0, None, 1.0, 2.0)),
        ((None, 1), "x", (2, 0, 0, 1.0, 0.85, 2.0)),
    ],
)
def test_soft_targets_worked_by_hand(values: tuple[int, ...], chosen: str, expected: tuple[float, ...]) -> None:
    record = {"pair_id": "p", "prompt": "q", "response_a": "x", "response_b": "y"}
    (row,) = preferences([record], voices(*values)).rows
    assert row["chosen"][0]["content"] == chosen
    names = ("votes_chosen", "votes_rejected", "votes_tie", "strength", "target", "weight")
    assert tuple(row[name] for name in names) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.sampled_from([-2, -1, 0, 1, 2, BAD, None]), min_size=1, max_size=9), st.floats(-4, 4))
def test_weight_times_cross_entropy_at_the_target_is_the_loss_of_all_answers(values: list[Any], logit: float) -> None:
    each = {2: 0.95, 1: 0.7, 0: 0.5, BAD: 0.5, -1: 0.3, -2: 0.05, None: 1.0}
    win = 1 / (1 + math.exp(-logit))

    def loss(p: float) -> float:
        return -p * math.log(win) - (1 - p) * math.log(1 - win)

    told = soft(voices(*values), "a")
    assert told["weight"] * loss(told["target"]) == pytest.approx(sum(loss(each[value]) for value in values))  # type: ignore[operator, arg-type]
    other = soft(voices(*values), "b")
    assert other["target"] == pytest.approx(1 - told["target"])  # type: ignore[operator]


def test_training_rows_of_graded_labels_leave_out_ties_and_both_bad(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    batch = read_batch(made["batch"])
    import_labels(made["batch"], answered(made, store, tmp_path, "argilla api"), store=store)
    told = export_trl(made["batch"], tmp_path / "train.jsonl", store=store)
    worth = {record["response_" + "ab"[k]]: (record, k) for record in batch.records for k in (0, 1)}
    ties = sum(truth(r["pair_id"]) in (0, BAD) for r in batch.records)
    assert told["left_out"]["tie"] == ties
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len(rows) == len(batch.records) - ties
    for row in rows:
        record, k = worth[row["chosen"][0]["content"]]
        value = truth(record["pair_id"])
        assert isinstance(value, int)
        assert (value > 0) == (k == 0)
        assert row["strength"] == abs(value)
        assert row["target"] == pytest.approx({1: 0.7, 2: 0.95}[abs(value)])
        assert row["votes_chosen"] == row["weight"] == 2 * record["copies"]


# The page -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_sign_off_page_sends_graded_answers_out_and_shows_their_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, opened, batch = approved_sign_off(tmp_path, monkeypatch)
    page.selectbox(key="export_format").select("JSON Lines")
    page.selectbox(key="export_answers").select_index(1)
    page.run()
    page.button(key="export").click().run()
    (out,) = (tmp_path / "exports").glob("*-graded-unsigned.jsonl")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for n, row in enumerate(rows):
        assert row["answers"] == "graded"
        row["preference"] = ("left_much", "right_slightly", "both_bad")[n % 3]
    (tmp_path / "back.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    import_labels(batch.path, tmp_path / "back.jsonl", who="ana", store=opened)
    opened.close()
    page.run()
    assert not page.exception
    assert not page.error
    (steps,) = (frame.value.iloc[0].to_dict() for frame in page.dataframe if "left much" in frame.value)
    assert steps == {"left much": 4, "left slightly": 0, "tie": 0, "right slightly": 4, "right much": 0, "both bad": 4}
    assert any("Both bad in 33%" in text.value for text in page.markdown)
