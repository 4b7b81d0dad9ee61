"""What Label Studio exports: the control, the newest annotation, people, and shapes of other exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation.errors import ImportLabelsError
from tests.desk.answers import (
    annotation,
    as_csv,
    choice,
    choices,
    decoded,
    read,
    rows,
)


def tasks(*annotations: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    keep = ("batch_id", "pair_id", "copy", "left_id", "right_id")
    return [{"id": 1, "data": {name: rows(1)[0][name] for name in keep}, "annotations": [*annotations], **more}]


@pytest.mark.parametrize("others", [("prompt_ok", "yes"), ("surer_about", "left")])
def test_the_control_is_told_by_its_name_and_others_are_kept_beside(tmp_path: Path, others: tuple[str, str]) -> None:
    name, word = others
    for parts in ([choice(word, name), choice("right")], [choice("right"), choice(word, name)]):
        found = read(tmp_path / "x.json", tasks(annotation(1, *parts)))
        assert choices(found) == ["right"]
        assert found.labels[0].further == ((name, word),)
    for parts in ([choice(word, name)], []):
        with pytest.raises(ImportLabelsError, match=f"control 'preference' has no answer.*{name if parts else ''}"):
            read(tmp_path / "x.json", tasks(annotation(1, *parts)))
    assert choices(read(tmp_path / "x.json", tasks(annotation(1, choice("left", None))))) == ["left"]
    for kind, value in (("rating", {"rating": 1}), ("number", {"number": 1})):
        with pytest.raises(ImportLabelsError, match=f"'{kind} 1' is none of"):
            read(
                tmp_path / "x.json",
                tasks(annotation(1, {"type": kind, "from_name": "preference", "value": value})),
            )


@pytest.mark.parametrize(("flag", "skips"), [(True, 1), (1, 1), ("true", 1), (False, 0), ("false", 0), (None, 0)])
def test_cancelled_is_what_the_flag_says(tmp_path: Path, flag: Any, skips: int) -> None:
    made = decoded(read(tmp_path / "x.json", tasks(annotation(1, choice("left"), was_cancelled=flag))))
    assert [label.outcome == "skip" for label in made.labels] == [bool(skips)]


def test_two_choices_at_once_are_unclear(tmp_path: Path) -> None:
    made = decoded(read(tmp_path / "x.json", tasks(annotation(1, choice(["left", "right"])))))
    assert made.unclear_examples == ("x.json item 1: it holds 2 answers (left, right)",)
    flat = {**rows(1)[0], "preference": {"choices": ["left", "right"]}}
    assert decoded(read(tmp_path / "x.json", [flat])).unclear == 1


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_annotation_wins_wherever_it_stands(tmp_path: Path, order: int) -> None:
    old, new = annotation(1, choice("left")), annotation(3, choice("right"), day=5)
    gone = annotation(2, day=3, was_cancelled=True)
    found = read(tmp_path / "x.json", tasks(*[old, gone, new][::order]))
    made = decoded(found)
    assert (len(made.labels), made.changed, made.cancelled) == (1, 2, 1)
    assert made.held[0].choice == "right"
    bare = [{**each, "created_at": None, "updated_at": None} for each in (old, gone, new)]
    assert decoded(read(tmp_path / "x.json", tasks(*bare[::order]))).held[0].choice == "right"  # by their numbers
    again = [old, annotation(2, choice("right"), day=3), annotation(3, choice("left"), day=5)]
    assert decoded(read(tmp_path / "x.json", tasks(*again[::order]))).held[0].choice == "left"


def test_drafts_predictions_and_tasks_nobody_annotated_are_counted_apart(tmp_path: Path) -> None:
    draft = [{"id": 9, "result": [choice("left")]}]
    found = read(
        tmp_path / "x.json", [*tasks(annotation(1, choice("right")), drafts=draft, predictions=draft), *tasks()]
    )
    assert choices(found) == ["right"]
    assert found.told == {"drafts left out": 1, "predictions left out": 1, "tasks without an annotation": 1}


def test_a_person_has_one_name_in_a_file_that_gives_two(tmp_path: Path) -> None:
    found = read(
        tmp_path / "x.json",
        [*tasks(annotation(1, choice("left"))), *tasks(annotation(2, choice("left"), completed_by=3))],
    )
    assert [answer.annotator for answer in found.labels] == ["eve@example.org"] * 2
    for who in (3, "3", 3.0, {"id": 3}):
        answer = read(tmp_path / "x.json", tasks(annotation(1, choice("left"), completed_by=who))).labels[0]
        assert answer.annotator == "3"


def test_other_exports_of_label_studio_are_read(tmp_path: Path) -> None:
    whole = tasks(annotation(100, choice("left", kind="pairwise")))
    stored = {**whole[0]["annotations"][0], "task": {"id": 1, "data": whole[0]["data"]}}
    flat = {
        **whole[0]["data"], "id": 1, "preference": [{"selected": "left"}], "annotator": "eve@example.org",
        "annotation_id": 100, "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z", "lead_time": 9.5,
    }  # fmt: skip
    text = {**flat, "preference": json.dumps(flat["preference"])}
    expected = read(tmp_path / "x.json", whole).labels[0]
    for name, content in [
        ("s.json", stored),
        ("s.jsonl", json.dumps(stored) + "\n" + json.dumps(stored)),
        ("t.jsonl", json.dumps(whole[0]) + "\n" + json.dumps(whole[0])),
        ("w.json", {"tasks": whole, "total": 1}),
        ("m.json", [flat]),
        ("c.csv", as_csv([text])),
        ("c.tsv", as_csv([text], "\t")),
    ]:
        answer = read(tmp_path / name, content).labels[0]
        for field in ("choice", "annotator", "seconds", "annotation_id", "at", "created", "pair_id", "copy"):
            assert getattr(answer, field) == getattr(expected, field), (name, field)
    with pytest.raises(ImportLabelsError, match="annotation without its task"):
        read(tmp_path / "x.json", {**stored, "task": 1})


# Argilla ------------------------------------------------------------------------------------------------------------
