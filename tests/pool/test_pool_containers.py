"""Files around the rows: packed, wrapped, in a workbook, over several lines; read, or called what they are."""

from __future__ import annotations

import bz2
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from curation.errors import PoolError
from curation.health.texts import text_findings
from curation.pool.checks import pool_report
from curation.pool.readers.read import asks_for_columns, read_pool
from curation.pool.reading import as_first_read, keep_reading

ROWS: list[dict[str, Any]] = [{"prompt": f"Q{n}?", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(5)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def check(path: Path) -> None:
    found = read_pool(path)
    assert (found.format, found.rows, found.rows_used, found.rejects) == ("trl", 5, 5, ())
    assert [prompt.prompt for prompt in found.pool.prompts] == [row["prompt"] for row in ROWS]


@pytest.mark.parametrize("name", ["rows.jsonl.bz2", "rows.jsonl.xz", "rows.jsonl"])
@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_bzip2_and_xz_are_told_by_their_content(tmp_path: Path, name: str, pack: Any) -> None:
    path = tmp_path / name
    path.write_bytes(pack(LINES))
    fits = name.endswith("jsonl") or name.endswith("bz2" if pack is bz2.compress else "xz")
    if fits:
        check(path)
        path.write_bytes(pack(LINES)[:-7])
        with pytest.raises(PoolError, match="cut-off"):
            read_pool(path)
    else:
        with pytest.raises(PoolError, match="rename it"):
            read_pool(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_of_one_file_is_read_and_any_other_named(tmp_path: Path, method: int) -> None:
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("data/rows.jsonl", LINES)
    check(path)
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr("more.jsonl", LINES)
    with pytest.raises(PoolError, match=r"a zip file of 2 files.*unpack it"):
        read_pool(path)


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_a_small_file_cannot_fill_the_memory(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "bomb.jsonl"
    path.write_bytes(pack(b" " * (70 << 20)))
    with pytest.raises(PoolError, match="expands to more than 64 MiB"):
        read_pool(path)


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.csv"])
def test_a_workbook_is_read_and_what_is_left_of_it_told(tmp_path: Path, name: str) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["prompt", "response", "model", "score"])
    for row in (["Q", "a", "m", 1], ["Q", "b", None, 2.5], [None] * 4, ["Q", "c", "m", "n/a"], ["Q", 7, "m", 3]):
        sheet.append(row)
    book.create_sheet("Notes").append(["by hand"])
    book.save(tmp_path / "made.xlsx")
    path = (tmp_path / "made.xlsx").rename(tmp_path / name)
    found = read_pool(path)
    assert (found.format, found.rows, found.rows_used) == ("flat", 4, 4)
    assert [r.text for r in found.pool.prompts[0].responses] == ["a", "b", "c", "7"]
    assert sorted(found.truth.quality.values()) == [1.0, 2.5, 3.0]
    assert "read the sheet 'Sheet'; not read: 'Notes'" in found.notes
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(PoolError):
        read_pool(path)


COLUMNS = {name: [row[name] for row in ROWS] for name in ROWS[0]}
WRAPPED: dict[str, Any] = {
    "array": ROWS,
    "data": {"version": 1, "data": ROWS},
    "splits": {"train": ROWS[:3], "test": ROWS[3:]},
    "viewer": {"features": [], "rows": [{"row_idx": n, "row": row} for n, row in enumerate(ROWS)]},
    "columns": {name: {str(n): value for n, value in enumerate(values)} for name, values in COLUMNS.items()},
    "lists": COLUMNS,
    "split": {"columns": list(COLUMNS), "index": [*range(5)], "data": [list(row.values()) for row in ROWS]},
}


@pytest.mark.parametrize("ending", ["json", "jsonl"])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("shape", WRAPPED)
def test_json_of_many_shapes_is_rows(tmp_path: Path, shape: str, indent: int | None, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    path.write_text(json.dumps(WRAPPED[shape], indent=indent))
    check(path)


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_objects_over_several_lines_or_on_one(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    for joined in ("\n".join(json.dumps(row, indent=2) for row in ROWS), "".join(map(json.dumps, ROWS))):
        path.write_text(joined)
        check(path)


def test_a_single_row_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"prompt": [{"role": "user", "content": "Q"}] * 2, "responses": [{"text": "a"}, {"text": "b"}]}
    for indent in (None, 2):
        path.write_text(json.dumps(row, indent=indent))
        assert (read_pool(path).format, read_pool(path).rows_used) == ("canonical", 1)


def test_a_key_that_stands_twice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    twice = '{"prompt": "Q", "chosen": "first", "rejected": "b", "chosen": "second"}\n'
    path.write_bytes(LINES + twice.encode() + b'{"prompt": "a \\"chosen\\" one", "chosen": "x", "rejected": "y"}\n')
    (reject,) = read_pool(path).rejects
    assert (reject.line, "the key 'chosen' stands twice" in reject.reason) == (6, True)
    path.write_text(f"[{twice}]")
    with pytest.raises(PoolError, match="'chosen' stands twice"):
        read_pool(path)


def test_commas_and_quotes_that_are_no_json_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(",\n".join(map(json.dumps, ROWS)) + "\n")
    found = read_pool(path)
    assert (found.rows, found.rows_used) == (5, 1)
    assert all("a comma stands after the row" in reject.reason for reject in found.rejects)
    path.write_text("".join(f"{row}\n" for row in ROWS))
    with pytest.raises(PoolError, match="Python dictionary, not JSON"):
        read_pool(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(90), "a 7-Zip archive"),
        (b"SQLite format 3\x00" + bytes(90), "an SQLite database"),
        (b"\x80\x04\x95" + bytes(90), "a Python pickle"),
        (bz2.compress(b"PAR1" + bytes(90)), "a Parquet file inside its packing"),
        (lzma.compress(bytes(257) + b"ustar" + bytes(250)), "a tar archive inside its packing"),
        (b"\xd0\xcf\x11\xe0" + bytes(90), "an old Excel workbook"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(PoolError, match=what):
        read_pool(path)


def test_zero_characters_are_found_before_a_batch_is_made(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES + b'{"prompt": "Q", "chosen": "a\\u0000", "rejected": "b"}\n')
    pool = read_pool(path).pool
    (finding,) = [f for f in text_findings(pool, pool_report(pool)) if f.key == "nul"]
    assert (finding.value, finding.severity) == (1.0, "warning")
    assert finding.examples[0][0] == pool.prompts[-1].prompt_id


def test_a_table_with_columns_of_its_own_keeps_its_rejects_and_notes(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("Frage,Antwort,prompt,Extra\nQ,a,x,1\nQ,b,y,2\n,c,z,3\nR,d,z,4\n")
    assert asks_for_columns(path)
    first = read_pool(path, mapping={"prompt": "Frage", "response": "Antwort"})
    kept = keep_reading(first, tmp_path / "kept.jsonl.gz")
    again = as_first_read(read_pool(kept), kept)
    assert (again.rows, again.rows_used, again.rejects, again.notes) == (4, 2, first.rejects, first.notes)
    assert len(again.rejects) == 2
    assert again.pool.fingerprint == first.pool.fingerprint
    path.write_text("prompt,chosen,rejected\nQ,a,b\n")
    assert not asks_for_columns(path)
    assert as_first_read(read_pool(path), kept).rows == 1
