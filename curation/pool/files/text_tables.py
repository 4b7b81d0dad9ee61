"""Tables that people bring beside a pool (labels, decisions, pins), read as pools are.

CSV with commas, semicolons or tabs, plain or compressed; Parquet and whatever else a pool's rows may stand in.
Errors are of the class the caller names.
"""

from __future__ import annotations

import codecs
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.errors import CurationError, PoolError
from curation.pool.files.csv_rows import CsvHeaderError, CsvTable
from curation.pool.files.lines import container_of, read_rows
from curation.pool.files.packed import open_stream
from curation.system.files import read_bounded, shown_path

_TEXTS = ("csv", "json", "jsonl")
_WIDE = (  # the longer mark first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip

Row = tuple[str, dict[Any, Any]]


def is_text(path: Path, *, most: int, error: type[CurationError]) -> bool:
    """Whether a file holds text, rather than Parquet or another binary table. Raises `error` for what is no file."""
    if not read_bounded(path, most=most, error=error).strip():
        return True
    try:
        return container_of(path) in _TEXTS
    except PoolError as problem:
        raise error(str(problem)) from None


def read_text_file(path: str | Path, *, most: int, error: type[CurationError], remedy: str) -> str:
    """The text of a file in UTF-8, packed or plain, or in UTF-16 or UTF-32 with its mark. Raises `error`."""
    data = read_bounded(path, most=most, error=error)
    if not data.startswith(tuple(mark for mark, _ in _WIDE)):
        try:
            with open_stream(Path(path)) as stream:
                data = stream.read()
        except PoolError as problem:
            raise error(str(problem)) from None
    encoding = next((name for mark, name in _WIDE if data.startswith(mark)), "utf-8-sig")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as problem:
        raise error(
            f"{shown_path(path)} is not UTF-8 text, nor UTF-16 with a byte order mark: byte offset {problem.start}, "
            f"{problem.reason}; {remedy}."
        ) from None


def csv_rows(path: str | Path, text: str, *, error: type[CurationError], remedy: str) -> tuple[list[str], list[Row]]:
    """Columns, and rows by their place ("line 7"). Cells that a row lacks are None; surplus ones stand under None.

    Columns of one name are one, where at most one of them holds something. Raises `error` naming the line on which a
    row cannot be read; it says nothing of what stands there.
    """
    try:
        table = CsvTable(io.StringIO(text, newline=""), repeats=True)
    except CsvHeaderError:
        raise error(f"{shown_path(path)} is not a UTF-8 CSV (its header cannot be read); {remedy}.") from None
    rows: list[Row] = []
    names, width = table.header, len(table.header)
    places = [[n for n, other in enumerate(names) if other == name] for name in names]
    repeated = [each for each in places if len(each) > 1]
    for row in table:
        if row.error is not None:
            raise error(
                f"{shown_path(path)} is not a UTF-8 CSV from line {row.begins} on ({row.error}); close the quotes of "
                f"that row, or {remedy}."
            )
        cells: list[Any] = [*row.cells[:width], *[None] * (width - len(row.cells))]
        for each in repeated:  # a column that somebody added beside the blank one of that name
            said = [n for n in each if (cells[n] or "").strip()]
            if len({cells[n] for n in said}) > 1:
                raise error(
                    f"{shown_path(path)} line {row.begins}: columns {said[0] + 1} and {said[1] + 1} have one name and "
                    f"hold different things; rename one, or {remedy}."
                )
            for n in each:
                cells[n] = cells[said[0]] if said else ""
        found: dict[Any, Any] = dict(zip(names, cells, strict=True))
        if len(row.cells) > width:
            found[None] = row.cells[width:]
        rows.append((f"line {row.begins}", found))
    return names, rows


def read_table(
    path: str | Path, *, most: int, error: type[CurationError], remedy: str
) -> tuple[list[str], list[tuple[str, dict[str | None, str]]]]:
    """Columns and rows of a CSV or a binary table, every cell as text. Raises `error` naming the place."""
    source = Path(path)
    if is_text(source, most=most, error=error):
        text = read_text_file(source, most=most, error=error, remedy=remedy)
        columns, rows = csv_rows(source, text, error=error, remedy=remedy)
    else:
        rows = list(binary_rows(source, error=error))
        columns = [str(name) for name in (rows[0][1] if rows else ())]
    return columns, [(place, {key: as_text(value) for key, value in row.items()}) for place, row in rows]


def binary_rows(path: Path, *, error: type[CurationError]) -> Iterator[Row]:
    """Rows of a Parquet file, or of another binary table that pools are read from. Raises `error`."""
    try:
        for row in read_rows(path):
            if row.error is not None:
                raise error(f"{shown_path(path)} row {row.line} cannot be read; write it again.")
            yield f"row {row.line}", row.data
    except PoolError as problem:
        raise error(str(problem)) from None


def as_text(value: Any) -> str:
    """A cell as the text it stands for: nothing for None and NaN, 3 for 3.0."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
