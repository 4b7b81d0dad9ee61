"""Answers as they come back from people's tools: nothing lost without a word, nothing counted as what it is not."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.batch.presentation import ExportHeader, opaque_id, present, sheet_original, sheet_safe
from curation.errors import ImportLabelsError
from curation.exchange.decode import Decoded, decode
from curation.exchange.export import export_records
from curation.exchange.incoming import Incoming, read_answers
from curation.exchange.people import with_name

SEED, BATCH = "5" * 64, "b" * 16
HEADER = ExportHeader(BATCH, SEED, "c" * 64, "pool", signed=False)
HOSTILE = 'a,b;c\td"e\'\u2028f\u2029g\x85h\x0ci\x1c\x1d\x1e\x0bj\rk\nl\r\nm=1 {"x": [1]}\n\n'


def records(count: int = 6, copies: int = 1, text: str = "") -> list[dict[str, Any]]:
    return [
        {
            "pair_id": f"{n:015x}a", "prompt": f"q{n} {text}", "response_a_id": f"r{n}", "response_b_id": f"s{n}",
            "response_a": f"=one {n} {text}", "response_b": f"two {n} {text}", "copies": copies,
        }
        for n in range(count)
    ]  # fmt: skip


def rows(count: int = 6, copies: int = 1) -> list[dict[str, Any]]:
    """Rows of a filled-in table: left, right, tie in turn, by eve."""
    shown, _ = present(records(count, copies), header=HEADER, order="random")
    return [
        {
            "batch_id": BATCH, "pair_id": row.pair_id, "copy": row.copy, "left_id": row.left_id, "right_id": row.right_id,
            "preference": ("left", "right", "tie")[n % 3], "annotator": "eve", "seconds": "12.5",
        }
        for n, row in enumerate(shown)
    ]  # fmt: skip


def as_csv(table: list[dict[str, Any]], separator: str = ",") -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def read(path: Path, content: str | bytes | Any, kind: str = "auto") -> Incoming:
    if isinstance(content, list | dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_answers(path, kind)


def decoded(found: Incoming, count: int = 6, copies: int = 1) -> Decoded:
    made = decode(found.labels, records(count, copies), batch_id=BATCH, batch_seed=SEED)
    parts = (made.duplicates, made.changed, made.unknown, made.unclear, made.not_answered)
    assert made.answers == len(found.labels) == len(made.labels) + sum(parts)
    return made


def choices(found: Incoming) -> list[str]:
    return [label.choice for label in found.labels]


SAID = ["left", "right", "tie"] * 2


# Tables -------------------------------------------------------------------------------------------------------------


def parquet(table: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(table), out)
    return out.getvalue()


def zipped(name: str, text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return out.getvalue()


def workbook(table: list[dict[str, Any]]) -> bytes:
    """As somebody saves it who filled the exported CSV in with Excel."""
    book = openpyxl.Workbook()
    for row in [list(table[0]), *(list(row.values()) for row in table)]:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


FILES: dict[str, Callable[[], tuple[str, bytes]]] = {
    "commas and mark": lambda: ("x.csv", as_csv(rows()).encode("utf-8-sig")),
    "semicolons": lambda: ("x.csv", as_csv(rows(), ";").encode("utf-8-sig")),
    "tabs": lambda: ("x.csv", as_csv(rows(), "\t").encode()),
    "tsv": lambda: ("x.tsv", as_csv(rows(), "\t").encode()),
    "sep line": lambda: ("x.csv", ("sep=;\r\n" + as_csv(rows(), ";")).encode("utf-8-sig")),
    "utf-16": lambda: ("x.csv", as_csv(rows(), "\t").encode("utf-16")),
    "blank rows": lambda: ("x.csv", (as_csv(rows()) + ",,,,,,,\r\n\r\n , ,,,,,,\r\n").encode()),
    "blank columns": lambda: ("x.csv", as_csv(rows()).replace("\r\n", ",,\r\n").encode()),
    "blank rows first": lambda: ("x.csv", (",,,,,,,\r\n\r\n" + as_csv(rows())).encode()),
    "gzip": lambda: ("x.csv.gz", gzip.compress(as_csv(rows()).encode())),
    "gzip by its bytes": lambda: ("x.csv", gzip.compress(as_csv(rows()).encode())),
    "zstd": lambda: ("x.csv.zst", zstandard.compress(as_csv(rows()).encode())),
    "bzip2": lambda: ("x.csv.bz2", bz2.compress(as_csv(rows()).encode())),
    "xz": lambda: ("x.csv.xz", lzma.compress(as_csv(rows()).encode())),
    "zip": lambda: ("x.zip", zipped("x.csv", as_csv(rows()))),
    "workbook": lambda: ("x.xlsx", workbook(rows())),
    "parquet": lambda: ("x.parquet", parquet(rows())),
    "json lines": lambda: ("x.jsonl", "".join(json.dumps(row) + "\n" for row in rows()).encode()),
    "json lines, gzip": lambda: ("x.jsonl.gz", gzip.compress("".join(json.dumps(r) + "\n" for r in rows()).encode())),
    "json array": lambda: ("x.json", json.dumps(rows()).encode()),
    "json array, named otherwise": lambda: ("x.jsonl", json.dumps(rows()).encode()),
    "columns": lambda: ("x.json", json.dumps({k: [r[k] for r in rows()] for k in rows()[0]}).encode()),
    "columns by row": lambda: (
        "x.json", json.dumps({k: {str(n): r[k] for n, r in enumerate(rows())} for k in rows()[0]}).encode(),
    ),
    "objects in a row": lambda: ("x.json", "".join(json.dumps(row, indent=1) + "\n" for row in rows()).encode()),
    "decimal comma": lambda: ("x.csv", as_csv([{**row, "seconds": "12,5"} for row in rows()], ";").encode()),
    "copy as a float": lambda: ("x.csv", as_csv([{**row, "copy": "1.0"} for row in rows()]).encode()),
    "keys as floats": lambda: ("x.csv", as_csv([{**r, "preference": f"{n % 3 + 1}.0"} for n, r in enumerate(rows())]).encode()),
    "an added column": lambda: (
        "x.csv",
        as_csv([{k: "" if k == "preference" else v for k, v in row.items()} | {"p": row["preference"]} for row in rows()])
        .replace(",p\r", ",preference\r").encode(),
    ),
    "names in capitals": lambda: ("x.csv", as_csv([{k.upper(): v for k, v in row.items()} for row in rows()]).encode()),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_spelling_of_a_table_gives_the_same_answers(tmp_path: Path, name: str) -> None:
    file, data = FILES[name]()
    found = read(tmp_path / file, data)
    assert choices(found) == SAID
    assert {(a.annotator, a.copy, a.seconds) for a in found.labels} == {("eve", 1, 12.5)}
    assert found.told == {}
    assert len(decoded(found).labels) == 6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("left,eve", 'left,"eve', 1), r"from line 2 on \(a quoted field is never closed\)"),
        (lambda text: text.replace("left,eve", 'left,"e"ve', 1), "from line 2 on"),
        (lambda text: text.replace("seconds", "copy"), "line 2: columns 3 and 8 have one name"),
        (lambda text: text.replace("12.5\r\n", "12.5,surplus\r\n", 1), "line 2 has more cells than the header"),
        (lambda text: text.replace(",", "|"), "one column only.*commas, semicolons or tabs"),
        (lambda text: b"PK\x03\x04" + text.encode(), "damaged or cut-off zip file"),
        (lambda text: text.encode("utf-16-le"), "looks like UTF-16 or UTF-32"),
        (lambda text: text.replace("eve", "\xe9ve").encode("cp1252"), "not UTF-8"),
        (lambda text: re.sub("left,|right,|tie,", ",", text), "column preference is empty in all 6 places.*line 2"),
    ],
)
def test_a_table_that_cannot_be_read_whole_is_refused_by_line_or_column(
    tmp_path: Path, change: Any, words: str
) -> None:
    with pytest.raises(ImportLabelsError, match=words):
        read(tmp_path / "x.csv", change(as_csv(rows())))


def test_a_quote_that_closes_rows_later_is_told_and_not_taken_for_a_text(tmp_path: Path) -> None:
    table = [{**row, "comment": "fine"} for row in rows()]
    text = as_csv(table).replace("fine", '"not sure', 1)
    lines = text.split("\r\n")
    lines[3] = lines[3].replace("fine", '5"')
    with pytest.raises(ImportLabelsError, match="line 2 holds other rows in one of its cells"):
        read(tmp_path / "x.csv", "\r\n".join(lines))


def test_what_is_not_answered_is_counted_and_is_no_skip(tmp_path: Path) -> None:
    table = rows()
    table[1]["preference"] = ""
    table[2]["preference"] = "  "
    table[3]["preference"] = "skip"
    made = decoded(read(tmp_path / "x.csv", as_csv(table)))
    assert (made.not_answered, len(made.labels)) == (2, 4)
    assert [label.outcome for label in made.labels].count("skip") == 1
    assert made.not_answered_examples == (
        "x.csv line 3: the column preference is empty", "x.csv line 4: the column preference is empty",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "read_as", "told"),
    [("12,5", 12.5, 0), ("", None, 0), ("1:30", None, 1), ("-4", None, 1), ("1,500", None, 1), ("nan", None, 1)],
)
def test_times_are_read_or_told(tmp_path: Path, seconds: str, read_as: float | None, told: int) -> None:
    found = read(tmp_path / "x.csv", as_csv([{**rows()[0], "seconds": seconds}]))
    assert found.labels[0].seconds == read_as
    assert sum(found.told.values()) == told


@pytest.mark.parametrize("name", [4, 4.0, "4", "4.0", " 4 "])
def test_numbers_of_people_and_copies_are_one_however_they_are_spelled(tmp_path: Path, name: Any) -> None:
    answer = read(tmp_path / "x.json", [{**rows()[0], "annotator": name, "copy": name}]).labels[0]
    assert (answer.annotator, answer.copy) == ("4", 4)


def test_a_copy_that_cannot_be_read_never_merges_two_answers(tmp_path: Path) -> None:
    table = rows(copies=2)
    table[0]["copy"] = "first"
    made = decoded(read(tmp_path / "x.csv", as_csv(table)), copies=2)
    assert (made.unclear, len(made.labels)) == (1, 11)
    assert "copy 'first' is no whole number" in made.unclear_examples[0]
    for row in table:
        row["copy"] = ""
    made = decoded(read(tmp_path / "x.csv", as_csv(table)), copies=2)
    assert (made.unclear, len(made.labels), made.changed, made.duplicates) == (6, 6, 0, 0)
    assert "which copy" in made.unclear_examples[0]


def test_two_answers_of_nobody_named_that_differ_are_unclear(tmp_path: Path) -> None:
    table = [{**row, "annotator": ""} for row in rows(2)]
    made = decoded(read(tmp_path / "x.csv", as_csv([*table, {**table[0], "preference": "right"}, table[1]])))
    assert (len(made.labels), made.unclear, made.duplicates, made.changed) == (2, 1, 1, 0)


# Label Studio -------------------------------------------------------------------------------------------------------

EVE = {"id": 3, "email": "eve@example.org"}


def choice(value: Any, name: str | None = "preference", kind: str = "choices") -> dict[str, Any]:
    said = {"choices": value if isinstance(value, list) else [value]} if kind == "choices" else {"selected": value}
    return {"type": kind, "value": said, **({} if name is None else {"from_name": name})}


def annotation(number: int, *result: dict[str, Any], day: int = 2, **more: Any) -> dict[str, Any]:
    at = f"2026-01-{day:02}T00:00:00Z"
    return {
        "id": number, "completed_by": EVE, "result": [*result], "created_at": at, "updated_at": at, "lead_time": 9.5,
        "was_cancelled": False, **more,
    }  # fmt: skip


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


def argilla(layout: str) -> Any:
    """Two records: eve submitted both; bob has a draft of the first and discarded the second."""
    keep = ("batch_id", "pair_id", "copy", "left_id", "right_id")
    said = [
        [("a", "eve", "submitted"), ("b", "bob", "draft")],
        [("b", "eve", "submitted"), ("b", "bob", "discarded")],
    ]
    found = []
    for row, answers in zip(rows(2), said, strict=True):
        metadata = {name: row[name] for name in keep}
        record: dict[str, Any] = {
            "id": row["pair_id"],
            "fields": {"prompt": "q"},
            "metadata": metadata,
            "status": "pending",
        }
        if layout == "api":
            record["responses"] = [
                {"values": {"preference": {"value": v}}, "user_id": who, "status": s} for v, who, s in answers
            ]
        elif layout == "sdk":
            record["responses"] = {"preference": [{"value": v, "user_id": who} for v, who, _ in answers]}
        else:
            ends = zip(("", ".users", ".status"), zip(*answers, strict=True), strict=True)
            flat = {f"preference.responses{end}": list(values) for end, values in ends}
            record = {"id": row["pair_id"], "status": "pending", **metadata, **flat, "preference.suggestion": "a"}
        found.append(record)
    return found


@pytest.mark.parametrize("layout", ["api", "flat"])
@pytest.mark.parametrize("arrangement", ["list", "items", "lines", "columns", "index", "csv", "parquet"])
def test_submitted_answers_are_told_from_drafts_in_every_layout(tmp_path: Path, layout: str, arrangement: str) -> None:
    made = argilla(layout)
    if layout == "api" and arrangement in ("csv", "parquet"):
        pytest.skip("nested records are no table")
    contents: dict[str, tuple[str, Any]] = {
        "list": ("x.json", made),
        "items": ("x.json", {"items": made, "total": 2}),
        "lines": ("x.jsonl", "".join(json.dumps(item) + "\n" for item in made)),
        "columns": ("x.json", {name: [item[name] for item in made] for name in made[0]}),
        "index": ("x.json", {item["id"]: item for item in made}),
        "csv": ("x.csv", as_csv(made) if arrangement == "csv" else ""),
        "parquet": ("x.parquet", parquet(made) if arrangement == "parquet" else b""),
    }
    found = read(tmp_path / contents[arrangement][0], contents[arrangement][1])
    assert found.format == "argilla"
    assert [(a.choice, a.annotator, a.cancelled) for a in found.labels] == [
        ("left", "eve", False), ("right", "eve", False), ("skip", "bob", True),
    ]  # fmt: skip
    assert found.told == {"drafts left out": 1}
    assert len(decoded(found).labels) == 3


def test_a_file_without_status_says_that_it_has_none(tmp_path: Path) -> None:
    found = read(tmp_path / "x.json", argilla("sdk"))
    assert len(found.labels) == 4
    (said,) = found.told.items()
    assert said[0].startswith("answers of unknown status")
    assert said[1] == 4


def test_further_questions_are_kept_beside_and_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    flat = argilla("flat")
    flat[0] |= {"why.responses": ["short"], "why.responses.users": ["eve"], "why.responses.status": ["submitted"]}
    found = read(tmp_path / "x.json", flat)
    assert found.labels[0].further == (("why", "short"),)
    flat[0]["preference.responses.users"] = ["eve"]
    with pytest.raises(ImportLabelsError, match=r"item 1: preference\.responses has 2 answers and 1 users"):
        read(tmp_path / "x.json", flat)


# Ids ----------------------------------------------------------------------------------------------------------------


def in_a_spreadsheet(cell: str) -> str:
    """What Excel leaves of a cell: a number is shown by six digits, as it then saves it."""
    if re.fullmatch(r"\s*[+-]?\d+(\.\d*)?(e[+-]?\d+)?\s*", cell, re.IGNORECASE):
        return f"{float(cell):.5E}" if len(cell) > 11 else f"{float(cell):g}"
    return cell


def test_no_id_of_a_large_export_is_a_number_to_a_spreadsheet() -> None:
    many = [{**record, "pair_id": f"{n * 2654435761 % 2**64:016x}"} for n, record in enumerate(records(20_000))]
    many[0]["pair_id"], many[1]["pair_id"] = "1234567890123456", "12345678901234e5"
    shown, _ = present(many, header=HEADER, order="fixed")
    ids = [name for row in shown for name in (row.pair_id, row.left_id, row.right_id)]
    assert [in_a_spreadsheet(name) for name in ids] == ids
    bare = [sheet_original(name) for name in ids]
    assert sum(in_a_spreadsheet(name) != name for name in bare) > 100  # the digits alone would have been
    assert shown[0].pair_id == "x1234567890123456"
    assert all(sheet_safe(name) == sent for name, sent in zip(bare, ids, strict=True))


@pytest.mark.parametrize("sent", [sheet_safe, sheet_original])
def test_ids_decode_with_and_without_the_x(tmp_path: Path, sent: Callable[[str], str]) -> None:
    (record,) = records(1)
    record |= {"pair_id": "1234567890123456"}
    batch, n = "9" * 16, 0
    while not opaque_id(SEED, record["pair_id"], record["response_a_id"]).startswith("x"):
        n += 1
        record["response_a_id"] = f"r{n}"
    names = [opaque_id(SEED, record["pair_id"], record[f"response_{side}_id"]) for side in "ab"]
    row = {
        "batch_id": sent(batch), "pair_id": sent(record["pair_id"]), "left_id": sent(names[0]),
        "right_id": sent(names[1]), "preference": "left", "annotator": "eve",
    }  # fmt: skip
    made = decode(read(tmp_path / "x.csv", as_csv([row])).labels, [record], batch_id=batch, batch_seed=SEED)
    assert [(label.pair_id, label.outcome) for label in made.labels] == [(record["pair_id"], "a")]
    row["left_id"] = "7.68580E+11"
    made = decode(read(tmp_path / "x.csv", as_csv([row])).labels, [record], batch_id=batch, batch_seed=SEED)
    assert "a number that a spreadsheet made of an id" in made.unknown_examples[0]


# Names --------------------------------------------------------------------------------------------------------------


def test_a_given_name_is_for_answers_without_one(tmp_path: Path) -> None:
    table = rows(2)
    table[1]["annotator"] = ""
    found = read(tmp_path / "x.csv", as_csv(table)).labels
    assert [answer.annotator for answer in with_name(found, " bob ")] == ["eve", "bob"]
    with pytest.raises(ImportLabelsError, match=r"every answer of the file names its annotator.*'eve'"):
        with_name(found[:1], "bob")
    for name in ("", " ", "unnamed", "a\nb", "\ud800", "x" * 201):
        with pytest.raises(ImportLabelsError, match="is no name"):
            with_name(found, name)


# Round trips and mutations ------------------------------------------------------------------------------------------


def answered(path: Path, to: str) -> int:
    """Fill in an export as a tool or a person would: left everywhere. Returns how many answers there are."""
    if to == "csv":
        with path.open(newline="", encoding="utf-8") as handle:
            table = list(csv.DictReader(handle))
        path.write_text(as_csv([{**row, "preference": "left", "annotator": "eve"} for row in table]), newline="")
    elif to == "parquet":
        table = pq.read_table(path).to_pylist()
        path.write_bytes(parquet([{**row, "preference": "left", "annotator": "eve"} for row in table]))
    elif to == "jsonl":
        table = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        lines = [json.dumps({**row, "preference": "left", "annotator": "eve"}, ensure_ascii=False) for row in table]
        path.write_text("\n".join(lines), encoding="utf-8")
    else:
        table = json.loads(path.read_text(encoding="utf-8"))
        for item in table:
            if to == "label-studio":
                item["annotations"] = [annotation(1, choice("left"))]
            else:
                value = {"preference": {"value": "a"}}
                item["responses"] = [{"values": value, "user_id": "eve", "status": "submitted"}]
        path.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
    return len(table)


@pytest.mark.parametrize("answers", ["binary", "graded"])
@pytest.mark.parametrize("to", ["csv", "parquet", "jsonl", "label-studio", "argilla"])
def test_every_export_comes_back_whatever_its_texts_hold(tmp_path: Path, to: str, answers: Any) -> None:
    sent = records(5, 2, HOSTILE)
    path = tmp_path / f"out.{'json' if to in ('label-studio', 'argilla') else to}"
    header = ExportHeader(BATCH, SEED, "c" * 64, "pool", signed=False, answers=answers)
    export_records(sent, to=to, out=path, order="both", header=header)
    if to == "csv":
        with path.open(newline="", encoding="utf-8") as handle:
            assert (csv.DictReader(handle).fieldnames or [])[-2:] == ["preference", "annotator"]
    count = answered(path, to)
    found = read_answers(path)
    made = decode(found.labels, sent, batch_id=BATCH, batch_seed=SEED)
    assert count == 20 == len(made.labels)
    assert all(label.outcome == label.left for label in made.labels)
    assert found.told == {}


WORDS = {"left": "left", "Right ": "right", "TIE": "tie", "skip": "skip", "": None, "Response A": "left"}


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.sampled_from([*WORDS]), min_size=6, max_size=6),
    order=st.permutations(range(9)),
    separator=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    blank=st.lists(st.integers(0, 6), max_size=3),
    strange=st.sets(st.integers(0, 5), max_size=2),
    copy=st.sampled_from(["1", "1.0", ""]),
    shape=st.sampled_from(["table", "json", "lines", "studio", "flat", "argilla"]),
)  # fmt: skip
def test_answers_in_are_labels_ties_skips_and_what_is_told(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], order: list[int], separator: str, quoting: int, end: str,
    encoding: str, blank: list[int], strange: set[int], copy: str, shape: str,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("x") / ("x.csv" if shape == "table" else "x.json")
    table = []
    for n, (row, word) in enumerate(zip(rows(), words, strict=True)):
        whole = {**row, "preference": word, "copy": copy, "left": HOSTILE}
        if n in strange:
            whole["left_id"] = "0" * 12
        names = [*whole]
        table.append({names[k]: whole[names[k]] for k in order})
    if shape == "table":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [*table[0]], delimiter=separator, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
        writer.writeheader()
        for n, row in enumerate([*table, None]):
            text.write((separator * 8 + end) * blank.count(n))
            if row is not None:
                writer.writerow(row)
        path.write_bytes(text.getvalue().encode(encoding))
    elif shape == "lines":
        path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in table), encoding="utf-8")
    elif shape == "json":
        path.write_text(json.dumps(table))
    elif shape == "studio":
        items = [
            {"data": row, "annotations": [annotation(n, choice(row["preference"]))]} for n, row in enumerate(table)
        ]
        path.write_text(json.dumps(items))
    elif shape == "flat":
        path.write_text(json.dumps([{k: v for k, v in row.items() if v != ""} for row in table]))
    else:
        items = [
            {
                "metadata": r,
                "responses": [
                    {"status": "submitted", "user_id": 1, "values": {"preference": {"value": r["preference"]}}}
                ],
            }
            for r in table
        ]
        path.write_text(json.dumps(items))
    expected = [WORDS[word] for word in words]
    if not any(expected):
        with pytest.raises(ImportLabelsError, match="no answer"):
            read_answers(path)
        return
    made = decoded(read_answers(path))
    outcomes = [label.outcome for label in made.labels]
    usual = [value for n, value in enumerate(expected) if n not in strange]
    assert made.unknown == len(strange)
    assert made.not_answered == usual.count(None)
    assert outcomes.count("tie") == usual.count("tie")
    assert outcomes.count("skip") == usual.count("skip")
    assert outcomes.count("a") + outcomes.count("b") == usual.count("left") + usual.count("right")
