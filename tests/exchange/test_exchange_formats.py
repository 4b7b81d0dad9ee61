"""Batch out: texts arrive intact, nothing tells who wrote them, order is seeded, files are whole or absent."""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
import os
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.batch.presentation import ExportHeader, decode_side, opaque_id, swapped
from curation.errors import ExportError
from curation.exchange import export
from curation.exchange.export import approved_only
from curation.exchange.tools.base import TOOLS
from curation.exchange.tools.tables import escape_cell, unescape_cell
from tests.desk.exports import HEADER, SEED, record, write

UNSIGNED = ExportHeader("batch0001", SEED, "cafe" * 16, "answers-of-secretmodel", signed=False)
HOSTILE = {
    "html": "<script>alert('x')</script><img src=http://x/y.png onerror=1>&amp;",
    "right to left": "abc\u202edcb\u202c \u200f\u2066mark\u2069",
    "nul": "before\x00after\x00",
    "controls": "\x01\x07\x1b[31m\x7f\ufeff\u2028\u2029",
    "line ends": "one\rtwo\r\nthree\n\nfour\r",
    "lone carriage return": "one\rtwo",
    "csv": 'quotes " and "", commas, ; tabs\t and \\n',
    "template": "$prompt {{answer1}} ${x} %s",
    "long": "ab\u00e9\U0001f600 " * 180_000,
    "empty": "",
    "astral": "\U0001f469\u200d\U0001f4bb \U00020000",
}


def rows_of(path: Path, to: str) -> list[dict]:
    """What an importer reads: prompt, left, right and ids, whatever the format."""
    if to == "csv":
        csv.field_size_limit(10_000_000)
        with path.open(newline="", encoding="utf-8") as handle:
            rows = [{k: unescape_cell(v) for k, v in row.items()} for row in csv.DictReader(handle)]
    elif to == "parquet":
        rows = pq.read_table(path).to_pylist()
    elif to == "jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    else:
        items = json.loads(path.read_text(encoding="utf-8"))
        if to == "label-studio":
            return [{**i["data"], "left": i["data"]["answer1"], "right": i["data"]["answer2"]} for i in items]
        return [
            {
                **i["metadata"],
                "prompt": i["fields"]["prompt"][-1]["content"],
                "left": i["fields"]["response_a"],
                "right": i["fields"]["response_b"],
            }
            for i in items
        ]
    return rows


def everything(result) -> bytes:
    """All bytes of an export; Parquet spelled out, since its pages are compressed."""
    blob = b"".join(path.read_bytes() for path in (result.path, *result.extra_paths))
    if result.path.read_bytes()[:4] == b"PAR1":
        table = pq.read_table(result.path)
        blob += json.dumps(table.to_pylist(), ensure_ascii=False).encode() + str(table.schema).encode()
    return blob


# Content ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", TOOLS.names())
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_arrives_intact(tmp_path, to, kind):
    if kind == "nul" and to not in ("parquet", "jsonl"):
        pytest.skip("refused: see test_outgoing_texts.py")
    text = HOSTILE[kind]
    source = record(prompt=f"p {text}", response_a=text, response_b=f"{text} other")
    (row,) = rows_of(write(tmp_path, [source], to).path, to)
    assert row["prompt"] == f"p {text}"
    assert {decode_side(row[f"{side}_id"], source, SEED): row[side] for side in ("left", "right")} == {
        "a": text,
        "b": f"{text} other",
    }


@pytest.mark.parametrize("to", TOOLS.names())
@pytest.mark.parametrize("header", [HEADER, UNSIGNED, replace(HEADER, answers="graded")])
def test_nothing_exported_tells_who_wrote_a_response_or_what_the_design_thinks(tmp_path, to, header):
    source = record(copies=2)
    blob = everything(write(tmp_path, [source], to, header=header, order="both")).lower()
    hidden = [k for k in source if k not in ("pair_id", "prompt", "response_a", "response_b", "copies", "left")]
    for key in hidden:
        assert key.encode() not in blob, key
        value = source[key] if not isinstance(source[key], list) else source[key][0]["share"]
        assert str(value).lower().encode() not in blob, key
    for word in ("generator", "weight", "score", "quality", "secretmodel", "othermodel", "prediction", SEED):
        assert word.encode() not in blob, word


@pytest.mark.parametrize("to", TOOLS.names())
def test_an_unsigned_batch_is_marked_in_every_row_and_a_signed_one_is_not(tmp_path, to):
    records = [record(1), record(2)]
    marks = {}
    for header in (HEADER, UNSIGNED):
        result = write(tmp_path, records, to, header=header, name=f"{header.signed}.x")
        assert result.path.name == f"{header.signed}.x"  # the name stays as given
        if to == "label-studio":
            tasks = json.loads(result.path.read_text())
            marks[header.signed] = {(t["data"].get("unsigned"), t["meta"].get("unsigned")) for t in tasks}
        elif to == "argilla":
            marks[header.signed] = {r["metadata"].get("unsigned") for r in json.loads(result.path.read_text())}
        else:
            marks[header.signed] = {row["signed"] for row in rows_of(result.path, to)}
    unsigned, signed = {
        "label-studio": ({(True, True)}, {(None, None)}),
        "argilla": ({"true"}, {None}),
        "csv": ({"false"}, {"true"}),
        "parquet": ({False}, {True}),
        "jsonl": ({False}, {True}),
    }[to]
    assert marks == {True: signed, False: unsigned}


def test_label_studio_tasks_have_exactly_the_agreed_keys_and_no_predictions(tmp_path):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "why?"}]
    (task,) = json.loads(write(tmp_path, [record(prompt=messages)], "label-studio").path.read_text())
    assert set(task) == {"data", "meta"}
    assert set(task["data"]) == {
        "prompt", "answer1", "answer2", "pair_id", "batch_id", "left_id", "right_id", "copy"
    }  # fmt: skip
    assert task["data"]["prompt"] == "system: be brief\n\nuser: why?"
    assert task["meta"] == {"manifest_hash": HEADER.manifest_hash, "audit_head": HEADER.audit_head}


def test_label_studio_config_asks_left_right_tie_about_the_fields_of_the_tasks(tmp_path):
    result = write(tmp_path, [record()], "label-studio", name="tasks.json")
    assert [p.name for p in result.extra_paths] == ["tasks.config.xml", "tasks.pairwise.config.xml"]
    (task,) = json.loads(result.path.read_text())
    for path in result.extra_paths:
        tree = ElementTree.fromstring(path.read_text())
        texts = {text.get("name"): text.get("value") for text in tree.iter("Text")}
        assert texts == {name: f"${name}" for name in ("prompt", "answer1", "answer2")}
        assert set(texts) <= set(task["data"])
    choices = ElementTree.fromstring(result.extra_paths[0].read_text()).find(".//Choices")
    assert (choices.get("name"), choices.get("toName"), choices.get("choice")) == ("preference", "prompt", "single")
    assert [(c.get("value"), c.get("hotkey")) for c in choices] == [("left", "1"), ("right", "2"), ("tie", "3")]
    pairwise = ElementTree.fromstring(result.extra_paths[1].read_text()).find(".//Pairwise")
    assert pairwise.get("toName") == "answer1,answer2"


def test_argilla_records_fit_the_settings_written_beside_them(tmp_path):
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    result = write(
        tmp_path, [record(1, prompt=messages, copies=2), record(2)], "argilla", header=UNSIGNED, name="records.json"
    )
    assert [p.name for p in result.extra_paths] == ["records.settings.json"]
    settings = json.loads(result.extra_paths[0].read_text())
    records = json.loads(result.path.read_text())
    assert len({r["id"] for r in records}) == len(records) == 3
    for item in records:
        assert set(item) == {"id", "fields", "metadata"}  # no suggestions, no responses
        assert set(item["fields"]) == {field["name"] for field in settings["fields"]}
        assert set(item["metadata"]) <= {entry["name"] for entry in settings["metadata"]}
    assert records[0]["fields"]["prompt"] == messages
    assert records[1]["fields"]["prompt"] == [{"role": "user", "content": "question 2"}]
    assert [o["value"] for o in settings["questions"][0]["settings"]["options"]] == ["a", "b", "tie"]
    assert not any(entry["visible_for_annotators"] for entry in settings["metadata"])
    assert {f["settings"]["type"] for f in settings["fields"]} == {"chat", "text"}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_cells_that_a_spreadsheet_would_run_are_escaped(tmp_path, start):
    text = f'{start}HYPERLINK("http://x","y")'
    path = write(tmp_path, [record(prompt=text, response_a=text, response_b="plain = text")], "csv").path
    with path.open(newline="", encoding="utf-8") as handle:
        (row,) = csv.DictReader(handle)
    assert row["prompt"] == f"'{text}"
    assert {row["left"], row["right"]} == {f"'{text}", "plain = text"}


@given(st.text(alphabet="'=+-@\t\r\nab", max_size=8))
def test_escaping_a_cell_can_always_be_taken_back(text):
    assert unescape_cell(escape_cell(text)) == text
    assert not escape_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


# Order and ids ------------------------------------------------------------------------------------------------------


def test_random_order_is_the_keyed_hash_deterministic_and_balanced(tmp_path):
    records = [record(number) for number in range(1000)]
    first = write(tmp_path, records, "jsonl", name="1.jsonl")
    again = write(tmp_path, records[::-1], "jsonl", name="2.jsonl")
    sides = {row["pair_id"]: row["left_id"] for row in rows_of(first.path, "jsonl")}
    assert sides == {row["pair_id"]: row["left_id"] for row in rows_of(again.path, "jsonl")}
    b_left = 0
    for source in records:
        key = source["pair_id"]
        digest = hmac.new(SEED.encode(), key.encode(), hashlib.sha256).digest()
        swap = int.from_bytes(digest, "big") & 1
        assert decode_side(sides[key], source, SEED) == "ab"[swap] == source["left"]
        b_left += swap
    assert 430 < b_left < 570  # 4.4 standard deviations
    other = [swapped("another seed", source["pair_id"]) for source in records]
    assert 400 < sum(o != (s["left"] == "b") for o, s in zip(other, records, strict=True)) < 600


@pytest.mark.parametrize("to", TOOLS.names())
def test_the_same_export_twice_has_the_same_bytes_and_the_hash_is_the_files(tmp_path, to):
    one, two = (write(tmp_path, [record(n) for n in range(9)], to, name=f"{k}.out") for k in (1, 2))
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.sha256 == two.sha256 == hashlib.sha256(one.path.read_bytes()).hexdigest()


def test_fixed_order_puts_a_left_and_both_shows_each_pair_once_each_way(tmp_path):
    records = [record(number) for number in range(20)]
    fixed = rows_of(write(tmp_path, records, "jsonl", order="fixed", name="f").path, "jsonl")
    assert [row["left"] for row in fixed] == [source["response_a"] for source in records]
    result = write(tmp_path, records, "jsonl", order="both", name="b")
    assert (result.rows, result.pairs) == (40, 20)
    both = rows_of(result.path, "jsonl")
    assert len({(row["pair_id"], row["left_id"], row["right_id"]) for row in both}) == 40
    assert [r["pair_id"] for r in both[:20]] == [r["pair_id"] for r in both[20:]] == [s["pair_id"] for s in records]


def test_ids_are_opaque_differ_by_pair_and_batch_and_decode_by_recomputation():
    source, other = record(1), record(2)  # the same two response ids in both
    key = source["pair_id"]
    expected = hmac.new(SEED.encode(), (key + "secretmodel-v1").encode(), hashlib.sha256).hexdigest()[:12]
    assert opaque_id(SEED, key, "secretmodel-v1") == expected
    ids = {
        opaque_id(seed, s["pair_id"], s[f"response_{x}_id"])
        for seed in (SEED, "x")
        for s in (source, other)
        for x in "ab"
    }
    assert len(ids) == 8
    assert decode_side(expected, source, SEED) == "a"
    with pytest.raises(ExportError, match=f"{expected}.*not one of pair"):
        decode_side(expected, other, SEED)
    with pytest.raises(ExportError, match="another batch"):
        decode_side(expected, source, "another seed")


def test_a_record_that_contradicts_the_seed_is_refused(tmp_path):
    source = record(left="a" if swapped(SEED, record()["pair_id"]) else "b")
    with pytest.raises(ExportError, match="do not belong together"):
        write(tmp_path, [source], "csv")
    assert os.listdir(tmp_path) == []


# Which rows ---------------------------------------------------------------------------------------------------------


def test_copies_are_written_that_many_times_apart_from_each_other(tmp_path):
    records = [record(1, copies=3), record(2), record(3, copies=2)]
    result = write(tmp_path, records, "jsonl")
    assert (result.rows, result.pairs) == (6, 3)
    keys = {source["pair_id"]: n for n, source in enumerate(records, start=1)}
    got = [(keys[row["pair_id"]], row["copy"]) for row in rows_of(result.path, "jsonl")]
    assert got == [(1, 1), (2, 1), (3, 1), (1, 2), (3, 2), (1, 3)]
    assert write(tmp_path, records, "jsonl", name="once", copies_respected=False).rows == 3
    both = write(tmp_path, records, "jsonl", name="both", order="both")
    assert both.rows == 12


def test_identical_responses_are_left_out_and_counted(tmp_path):
    same = record(2, response_a="x", response_b="x")
    result = write(tmp_path, [record(1), same, record(3)], "csv")
    assert (result.rows, result.left_out) == (2, {"identical responses": 1})
    assert same["pair_id"].encode() not in result.path.read_bytes()
    with pytest.raises(ExportError, match="1 approved pairs has two identical"):
        write(tmp_path, [same], "csv", name="other")


def test_only_approved_pairs_are_kept_and_the_rest_is_counted():
    records = [record(number) for number in range(6)]
    words = dict(zip([r["pair_id"] for r in records], ["approve", "reject", "flag", "clear", "approve"], strict=False))
    kept, left_out = approved_only(records, words)
    assert kept == [records[0], records[4]]
    assert left_out == {"rejected": 1, "flagged": 1, "undecided": 2}
    assert approved_only(records, {})[0] == []


@pytest.mark.parametrize(
    ("records", "arguments", "words"),
    [
        ([], {}, "no pair of batch batch0001 .* is approved"),
        ([record()], {"to": "trl"}, "'trl' is unknown"),
        ([record()], {"order": "any"}, "'any' is unknown"),
        ([record()], {"header": replace(HEADER, answers="ternary")}, "'ternary' are unknown"),
        ([record(copies=0)], {}, "copies 0"),
        ([record(), record()], {}, "stands twice"),
        ([{"pair_id": "x"}], {}, "lacks"),
        ([record(response_a="\ud800")], {}, "surrogate"),
        ([record()], {"name": "absent/out.csv"}, "does not exist"),
        ([record()], {"name": "."}, "is a folder"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path, records, arguments, words):
    with pytest.raises(ExportError, match=words):
        write(tmp_path, records, **{"to": "csv", **arguments})
    assert os.listdir(tmp_path) == []


# Files --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", ["out.json", "out.config.xml"])
def test_an_existing_file_is_refused_and_untouched_unless_forced(tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    with pytest.raises(ExportError, match=rf"{taken} already exists.*--force"):
        write(tmp_path, [record()], "label-studio", name="out.json")
    assert os.listdir(tmp_path) == [taken]
    assert (tmp_path / taken).read_text() == "mine"
    write(tmp_path, [record()], "label-studio", name="out.json", force=True)
    assert (tmp_path / taken).read_text() != "mine"
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_while_writing_is_not_replaced(tmp_path, monkeypatch, links):
    finish = export._finish

    def appear(parts):
        (tmp_path / "out.json").write_text("theirs")
        return finish(parts)

    monkeypatch.setattr(export, "_finish", appear)
    if not links:
        monkeypatch.setattr(os, "link", _refuse_links)
    with pytest.raises(ExportError, match=r"out\.json already exists"):
        write(tmp_path, [record()], "label-studio", name="out.json")
    assert os.listdir(tmp_path) == ["out.json"]  # and no config of an export that never was
    assert (tmp_path / "out.json").read_text() == "theirs"


def _refuse_links(*paths: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_a_file_system_without_links_works_too(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", _refuse_links)
    result = write(tmp_path, [record()], "label-studio", name="out.json")
    assert sorted(os.listdir(tmp_path)) == sorted(p.name for p in (result.path, *result.extra_paths))
    assert json.loads(result.path.read_text())


@pytest.mark.parametrize("to", TOOLS.names())
@pytest.mark.parametrize("force", [False, True])
def test_a_failure_while_writing_leaves_what_was_there(tmp_path, monkeypatch, to, force):
    if force:
        (tmp_path / "out.file").write_text("old")

    def full(parts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "_finish", full)
    with pytest.raises(ExportError, match=r"out\.file could not be written \(No space left"):
        write(tmp_path, [record()], to, force=force)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == ({"out.file": "old"} if force else {})


def test_files_are_readable_by_the_people_they_are_for(tmp_path):
    assert write(tmp_path, [record()], "csv").path.stat().st_mode & 0o777 == 0o644
