"""What a labels file is made of: rows of a table, or the objects of JSON in every arrangement that tools write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.errors import ImportLabelsError
from curation.exchange.tools.base import TOOLS, Arrangement
from curation.pool.files.packed import PACKINGS
from curation.pool.files.text_tables import binary_rows, csv_rows, is_text, read_text_file
from curation.system.files import parse_json

MAX_BYTES = 2 << 30  # a labels file larger than this is not one
AGAIN = "export it again"
_WRAPPERS = ("items", "tasks", "data", "records", "results")  # what a server's answer or a table puts round its list

Item = tuple[str, dict[str, Any]]  # its place, for messages, and what stands there


def read_items(source: Path, only: Arrangement | None = None) -> tuple[list[Item], Arrangement]:
    """The objects of a file by their places, and their arrangement.

    only: read a text as a table or as lines; else the file tells. Raises ImportLabelsError.
    """
    if not is_text(source, most=MAX_BYTES, error=ImportLabelsError):
        rows = binary_rows(source, error=ImportLabelsError)
        return [(f"{source.name} {place}", row) for place, row in rows], "binary"
    remedy = "give what the tool exported, as JSON or CSV"
    text = read_text_file(source, most=MAX_BYTES, error=ImportLabelsError, remedy=remedy)
    names = [suffix.lower() for suffix in source.suffixes if suffix.lower() not in PACKINGS]
    table = names[-1:] in ([".csv"], [".tsv"]) or text.lstrip()[:1] not in ("[", "{")
    if only == "table" or (only != "lines" and table):
        return _csv(source, text), "table"
    if only != "lines" and text.lstrip().startswith("["):
        items = parse_json(text, place=str(source), error=ImportLabelsError, remedy=AGAIN)
        return _placed(items, source), "list"
    lines = text.split("\n")  # a line ends at a newline and nowhere else: texts may hold other separators
    if only == "lines" or (sum(bool(line.strip()) for line in lines) > 1 and _is_json(_first(lines))):
        return list(_lines(lines, source)), "lines"
    objects = _objects(text, source)
    if len(objects) > 1:
        return _placed(objects, source), "lines"
    found = _unwrapped(objects[0])
    return _placed(found, source), "lines" if found == objects else "list"


def _csv(source: Path, text: str) -> list[Item]:
    columns, rows = csv_rows(source, text, error=ImportLabelsError, remedy=AGAIN)
    if len(columns) == 1 and rows:
        raise ImportLabelsError(
            f"{source} has one column only, so it lacks pair_id, left_id, right_id or preference; separate columns by "
            "commas, semicolons or tabs."
        )
    found = []
    for place, row in rows:
        if None in row:
            raise ImportLabelsError(
                f"{source.name} {place} has more cells than the header; put quotes round texts that hold the separator."
            )
        _check_swallowed(row, f"{source.name} {place}")
        found.append((f"{source.name} {place}", row))
    return found


def _check_swallowed(row: dict[str, Any], place: str) -> None:
    """Raises ImportLabelsError where a quoted cell has swallowed the rows behind it: its lines hold the batch's id."""
    batch = str(row.get("batch_id") or "").strip()
    if batch and any(value and "\n" in value and batch in value.split("\n", 1)[1] for value in row.values()):
        raise ImportLabelsError(
            f"{place} holds other rows in one of its cells: a quoted field is not closed where it should be; close the "
            "quotes of that row."
        )


def _lines(lines: list[str], source: Path) -> Iterator[Item]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{source.name} line {number}"
        row = parse_json(line, place=f"{source} line {number}", error=ImportLabelsError, remedy=AGAIN)
        if not isinstance(row, dict):
            raise ImportLabelsError(f"{place} is not an object; give one object a line.")
        yield place, row


def _placed(items: list[Any], source: Path) -> list[Item]:
    found = []
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            raise ImportLabelsError(
                f"{source.name} item {number} is no task or record, but another value; export the project as JSON."
            )
        found.append((f"{source.name} item {number}", item))
    return found


def _objects(text: str, source: Path) -> list[Any]:
    """The objects of a text that is one object, or several one after the other. Raises ImportLabelsError."""
    if _is_json(text):
        return [parse_json(text, place=str(source), error=ImportLabelsError, remedy=AGAIN)]
    decoder, found, at = json.JSONDecoder(), [], 0
    try:
        while text[at:].strip():
            at += len(text[at:]) - len(text[at:].lstrip())
            value, at = decoder.raw_decode(text, at)
            found.append(value)
    except (ValueError, RecursionError):
        found = []
    return found or [parse_json(text, place=str(source), error=ImportLabelsError, remedy=AGAIN)]


def _unwrapped(item: Any) -> list[Any]:
    """The records in one object: a list under a name, columns (`to_dict`), or records by their ids; else itself."""
    if not isinstance(item, dict) or not item:
        return [item]
    for name in _WRAPPERS:
        if isinstance(item.get(name), list) and not _is_record(item):
            return list(item[name])
    values = list(item.values())
    columns = "pair_id" in item or any(tool.is_columns(item) for tool in TOOLS)
    if columns and all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        return [dict(zip(item, row, strict=True)) for row in zip(*values, strict=True)]
    if columns and all(isinstance(value, dict) for value in values) and "pair_id" in item:  # column -> row -> value
        return [{name: column.get(row) for name, column in item.items()} for row in item["pair_id"]]
    if all(isinstance(value, dict) for value in values) and any(_is_record(value) for value in values):
        return values
    return [item]


def _is_record(value: dict[str, Any]) -> bool:
    return "pair_id" in value or any(tool.is_record(value) for tool in TOOLS)


def _first(lines: list[str]) -> str:
    return next(line for line in lines if line.strip())


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
