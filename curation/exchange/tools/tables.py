"""Plain tables, whatever the file: one row per comparison, the same columns in each, out and in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from curation.batch.answers import BOTH_BAD_MEANS, GRADED
from curation.batch.presentation import ExportHeader, Presented
from curation.errors import ImportLabelsError
from curation.exchange.cells import KEPT, Cell, further_text, moment, only_answer, plain_id
from curation.exchange.tools.base import Tool, begins
from curation.pool.messages import prompt_text

# Column -> its type in Parquet.
COLUMNS = {
    "batch_id": "string",
    "pair_id": "string",
    "copy": "int32",
    "prompt": "string",
    "left": "string",
    "right": "string",
    "left_id": "string",
    "right_id": "string",
    "signed": "bool",
    "manifest_hash": "string",
    "audit_head": "string",
}
# A graded file also says so, and has the column to fill in; a binary one stays as it always was, but for CSV.
GRADED_COLUMNS = {**COLUMNS, "answers": "string", "preference": "string"}
ASSIGNED = {"annotator": "string"}
_DECODES = {"pair_id", "batch_id", "left_id", "right_id"}
_WHOLE = re.compile(r"[0-9]\.0+")
_SENT = (*KEPT, "prompt", "left", "right", "signed", "manifest_hash", "audit_head", "unsigned", "answer1", "answer2")
_READ = ("preference", "strength", "annotator", "seconds", "lead_time", "annotation_id", "created_at", "updated_at")
_KNOWN = frozenset((*_SENT, *_READ, "id", "inner_id", "unnamed: 0", ""))
# What a spreadsheet may take for a formula, or drop before it looks for one.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


class Table(Tool):
    """What tables of every kind have in common."""

    def __init__(self) -> None:
        self.beside = ((f".{self.name}.answers.txt", begins("preference:")),)

    def side_files(self, header: ExportHeader, guidelines: str | None) -> dict[str, str]:
        return {f".{self.name}.answers.txt": column_guide()} if header.graded else {}

    def cells(self, item: dict[str, Any], place: str, told: Counter[str]) -> Iterator[Cell]:
        yield row_cell(item, place)


def columns(header: ExportHeader) -> dict[str, str]:
    """The columns of a file, with their types."""
    return {**(GRADED_COLUMNS if header.graded else COLUMNS), **(ASSIGNED if header.assigned else {})}


def of_export(names: Iterable[str]) -> bool:
    """Whether these are columns of an export, and none that somebody added."""
    return _DECODES <= set(names) <= {*GRADED_COLUMNS, *ASSIGNED}


def all_blank(rows: list[dict[str, Any]]) -> bool:
    """Whether rows are of an export and not answered yet."""
    return all(of_export(row) and not (row.get("preference") or "").strip() for row in rows)


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


def row_cell(row: dict[str, Any], place: str, *, flat: bool = False) -> Cell:
    """The answer in a row of pair_id, left_id, right_id and preference; also strength, annotator, seconds, copy, ...

    flat: of a tool that leaves out what was not answered. Raises ImportLabelsError.
    """
    clean = {
        str(key).strip().lower(): unescape_cell(value) if isinstance(value, str) else value
        for key, value in row.items()
    }
    missing = [name for name in ("pair_id", "left_id", "right_id") if not plain_id(clean.get(name))]
    if missing or ("preference" not in clean and not flat):
        raise ImportLabelsError(
            f"{place} lacks {', '.join(missing) or 'preference'}; a row needs pair_id, left_id, right_id and "
            "preference (left, right, tie or skip)."
        )
    preference, why = only_answer(clean.get("preference"))
    strength, other = only_answer(clean.get("strength"), size=True)
    created = moment(clean.get("created_at"))
    seconds = clean.get("seconds")
    texts = {name: further_text(value) for name, value in clean.items() if name not in _KNOWN}
    return Cell(
        place,
        {name: clean.get(name) for name in KEPT},  # not the texts
        plain_id(preference) if _WHOLE.fullmatch(str(preference)) else preference,  # the key 1, of a column of numbers
        strength,
        clean.get("annotator"),
        seconds if plain_id(seconds) else clean.get("lead_time"),
        unclear=why or other,
        annotation_id=clean.get("annotation_id"),
        at=moment(clean.get("updated_at")) or created,
        created=created,
        further={name: text for name, text in texts.items() if text},
    )
