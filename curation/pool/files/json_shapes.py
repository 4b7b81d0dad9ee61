"""Rows in a JSON value that is not one row: an array, rows under a name (`data`, `train`), columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curation.errors import PoolError
from curation.pool.schema import RAW_CLIP

_NAMES = ("data", "rows", "items", "records", "examples", "instances", "train", "test", "validation", "valid", "dev")


def json_items(value: Any) -> list[tuple[Any, str]] | None:
    """(row, where it stood) for every row in a JSON value; None where the value is a row itself.

    Arrays; {"data": [...]} and splits of a data set, with what else describes them; columns as lists of one length or
    as objects of the same keys (data frames write both); columns, index and data apart.
    """
    if isinstance(value, list):
        return [(item, "") for item in value]
    if not isinstance(value, dict):
        return None
    columns, data = value.get("columns"), value.get("data")
    if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return [(dict(zip(map(str, columns), row, strict=False)), "") for row in data]
    held = [name for name in value if name.lower() in _NAMES and _rows(value[name])]
    if held and not value.keys() & {"prompt", "chosen", "responses", "instruction"}:
        several = len(held) > 1
        return [(_unwrapped(item), name if several else "") for name in held for item in value[name]]
    return _columns(value)


def _rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _unwrapped(item: dict[str, Any]) -> Any:
    """The row in what the hub's viewer gives for one."""
    return item["row"] if {"row", "row_idx"} <= item.keys() else item


def _columns(value: dict[str, Any]) -> list[tuple[Any, str]] | None:
    cells = list(value.values())
    if len(cells) < 2:
        return None
    if all(isinstance(column, dict) for column in cells) and cells[0]:
        if all(column.keys() == cells[0].keys() for column in cells):
            return [({name: value[name][key] for name in value}, "") for key in cells[0]]
    elif (
        all(isinstance(column, list) and len(column) == len(cells[0]) for column in cells)
        and cells[0]
        and not any(isinstance(cell, dict) for column in cells for cell in column)
    ):
        return [({name: value[name][n] for name in value}, "") for n in range(len(cells[0]))]
    return None


def repeated_key(text: str) -> str | None:
    """The first key that stands twice in one object of a JSON text; None where none does."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            found.append(next(name for name in names if names.count(name) > 1))
        return made

    json.loads(text, object_pairs_hook=look)
    return found[0] if found else None


def is_part_or_wrapper(first: str, goes_on: Callable[[], bool], *, named: bool) -> bool:
    """Whether a first line is only a part of a JSON value, or is the whole file and not one row."""
    if not first.startswith(("[", "{")):
        return False
    if named and first.startswith("["):
        return True
    try:
        value = json.loads(first)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return first[error.pos] == "{"
        return error.pos >= len(first) - 1 or first[error.pos :].strip() in ("]", "}")
    except (ValueError, RecursionError):
        return False
    return not goes_on() and (isinstance(value, list) or json_items(value) is not None)


def whole_items(path: Path, data: bytes, *, array: bool) -> Iterator[tuple[Any, str | None, str]] | None:
    """(value, error, where) of every row of a file read whole; None where it must be JSON Lines after all."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if not array:
            return None
        raise PoolError(f"{path} is not UTF-8 at byte offset {error.start}; save it as UTF-8.") from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not array:
            return _objects_of(text)
        told = f"{error.msg} at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise PoolError(f"{path} is not valid JSON: {told}; write it again.") from error
    twice = repeated_key(text)
    if twice is not None:
        raise PoolError(f"{path}: the key {twice!r} stands twice in one object; leave one.")
    found = json_items(value)
    rows = [(value, "")] if found is None else found
    return ((item, None, where) for item, where in rows)


def _objects_of(text: str) -> Iterator[tuple[Any, str | None, str]] | None:
    """Objects one after the other, over lines or on one; None where not even the first can be read."""
    decoder = json.JSONDecoder()
    try:
        decoder.raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return None
    return _decoded(decoder, text)


def _decoded(decoder: json.JSONDecoder, text: str) -> Iterator[tuple[Any, str | None, str]]:
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position == len(text):
            return
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            told = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            shown = text[position : position + RAW_CLIP]
            yield shown, f"invalid JSON: {told}; nothing from here on was read, write one object a line", ""
            return
        yield value, None, ""
