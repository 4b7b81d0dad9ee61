"""Answers with strength: out in every format, back by opaque id, mirrored, counted, judged, handed to training."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curation.batch.answers import GRADED, NotOnScaleError, Said, UnclearError, left_sign, understand
from curation.batch.folder import read_batch
from curation.errors import ImportLabelsError
from curation.exchange.receive import import_labels
from curation.exchange.send import export_batch
from curation.exchange.tools.argilla import settings as argilla_settings
from curation.exchange.tools.label_studio import labelling_config
from curation.exchange.tools.parquet import schema
from curation.exchange.tools.tables import COLUMNS, GRADED_COLUMNS, column_guide
from curation.pool.labels import graded_outcome
from curation.review.store.store import Store
from tests.desk.graded import BAD, answered, sent, table, truth

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
