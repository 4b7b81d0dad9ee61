"""Answers as they come back from people's tools: nothing lost without a word, nothing counted as what it is not."""

from __future__ import annotations

import bz2
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
import pytest
import zstandard

from curation.errors import ImportLabelsError
from tests.desk.answers import (
    as_csv,
    choices,
    decoded,
    parquet,
    read,
    rows,
)

SAID = ["left", "right", "tie"] * 2


# Tables -------------------------------------------------------------------------------------------------------------


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
