"""Plain tables: CSV, Parquet, JSON Lines. One row per comparison, the same columns in each."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.batch.answers import BOTH_BAD_MEANS, GRADED
from curation.batch.presentation import ExportHeader, Presented
from curation.pool.schema import prompt_text

SCHEMA = pa.schema(
    [
        ("batch_id", pa.string()),
        ("pair_id", pa.string()),
        ("copy", pa.int32()),
        ("prompt", pa.string()),
        ("left", pa.string()),
        ("right", pa.string()),
        ("left_id", pa.string()),
        ("right_id", pa.string()),
        ("signed", pa.bool_()),
        ("manifest_hash", pa.string()),
        ("audit_head", pa.string()),
    ]
)
# A graded file also says so, and has the column to fill in; a binary one stays as it always was, but for CSV.
GRADED_SCHEMA = pa.schema([*SCHEMA, ("answers", pa.string()), ("preference", pa.string())])
TO_FILL = ("preference", "annotator")  # the last columns of a CSV, which people fill in by hand
# What a spreadsheet may take for a formula, or drop before it looks for one.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def escape_cell(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would take for a formula.

    Texts that look escaped already get another one, so that `unescape_cell` always gives the text back.
    """
    return f"'{text}" if text.lstrip("'").startswith(FORMULA_STARTS) else text


def unescape_cell(text: str) -> str:
    """The text that `escape_cell` was given."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(FORMULA_STARTS) else text


def table_row(row: Presented, header: ExportHeader) -> dict[str, Any]:
    """The columns of one comparison; `signed` false is the mark of an unsigned batch."""
    return {
        "batch_id": header.batch_id,
        "pair_id": row.pair_id,
        "copy": row.copy,
        "prompt": prompt_text(row.prompt),
        "left": row.left,
        "right": row.right,
        "left_id": row.left_id,
        "right_id": row.right_id,
        "signed": header.signed,
        "manifest_hash": header.manifest_hash,
        "audit_head": header.audit_head,
        **({"answers": header.answers, "preference": ""} if header.graded else {}),
        **({"annotator": row.annotator} if header.assigned else {}),
    }


def column_guide() -> str:
    """What to write into the column `preference` of a graded file, one answer a line."""
    lines = [
        f"{value}: {text.format(left='the left response', right='the right response')}"
        for value, text in GRADED.items()
    ]
    return "\n".join(
        [
            "preference: fill in one of",
            *(f"  {line}" for line in lines),
            "  skip: passed over; nothing: not answered (yet)",
            f"both_bad: {BOTH_BAD_MEANS}.",
            "",
            "Or write left, right or tie, and add a column strength: much, slightly, tie or both_bad, or a whole",
            "number: 0 for a tie, 1 slightly, 2 or 3 much better. Numbers may have signs, where one sign always goes",
            "with left and the other with right.",
            "annotator: your name, in every row. Also read: seconds. Leave all other columns as they are.",
            "",
        ]
    )


def _schema(header: ExportHeader) -> pa.Schema:
    schema = GRADED_SCHEMA if header.graded else SCHEMA
    return schema.append(pa.field("annotator", pa.string())) if header.assigned else schema


def csv_columns(header: ExportHeader) -> list[str]:
    """The columns of a CSV, those to fill in last."""
    return [*(name for name in _schema(header).names if name not in TO_FILL), *TO_FILL]


def write_csv(path: Path, rows: Iterable[dict[str, Any]], header: ExportHeader) -> None:
    """UTF-8, commas, CRLF line ends (so that lone carriage returns inside a text are quoted); texts escaped.

    The columns to fill in come last, blank.
    """
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, csv_columns(header), restval="", lineterminator="\r\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _cell(value) for name, value in row.items()})


def write_parquet(path: Path, rows: Iterable[dict[str, Any]], header: ExportHeader) -> None:
    """One Parquet file of the schema above."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=_schema(header)), path)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape_cell(value) if isinstance(value, str) else str(value)
