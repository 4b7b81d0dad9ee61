"""Opening a data file row by row: JSON Lines, JSON arrays, CSV, Parquet and Arrow, plain or compressed.

Every row keeps its number and its raw text, so that an unusable one can be shown to the person who sent the file.
Compression and Parquet are told by the first bytes, text formats by the file name.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from curation.errors import PoolError
from curation.pool.files.csv_rows import CsvHeaderError, CsvTable
from curation.pool.files.json_shapes import is_part_or_wrapper, repeated_key, whole_items
from curation.pool.files.packed import PACKINGS, ZIP, is_workbook, open_stream, packed_name
from curation.pool.files.workbook import workbook_cells
from curation.pool.schema import RAW_CLIP, canonical_json
from curation.system.columns import EXPANSION_FLOOR as EXPANSION_FLOOR
from curation.system.columns import ExpansionError, check_parquet, expansion_limit, unpacked_bytes

_PARQUET, _OLD_EXCEL = b"PAR1", b"\xd0\xcf\x11\xe0"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
REMEDY = "close other programs, or write it again in smaller parts"
DEEPEST = 100  # brackets within brackets: what is read is walked by recursion later on


@dataclass(frozen=True)
class Row:
    """One row of a file: its number from 1 and either `data` or the `error` that made it unreadable.

    `textual`: every value is text (CSV), so numbers have to be parsed. `where`: the file's name inside a folder.
    """

    line: int
    data: dict[str, Any]
    source: str | None = None
    error: str | None = None
    textual: bool = False
    where: str = ""

    def raw(self) -> str:
        """The row as text, clipped to RAW_CLIP characters."""
        return (canonical_json(self.data) if self.source is None else self.source)[:RAW_CLIP]


def container_of(path: Path) -> str:
    """jsonl, json, csv, parquet, arrow or xlsx, by first bytes and name. Raises PoolError: unreadable, misnamed."""
    head = _head(path)
    if head.startswith(_PARQUET):
        return "parquet"
    if head.startswith(_OLD_EXCEL):
        raise PoolError(f"{path} is an old Excel workbook; save it as .xlsx or as CSV (UTF-8).")
    if head.startswith(ZIP) and is_workbook(path):
        return "xlsx"
    kind = next((ending for ending, (first, _) in PACKINGS.items() if head.startswith(first)), "")
    named = path.suffix.lower()
    if named in PACKINGS and named != kind:
        name = PACKINGS[named][1]
        raise PoolError(f"{path} is named {named} but is not {name} data; rename it or compress it again.")
    if named in (".xlsx", ".xls"):
        raise PoolError(f"{path} is named {named} but is no Excel workbook; name it for what it is, or save it again.")
    last = Path(packed_name(path, kind) if kind else path.name).suffix.lower()
    if last == ".parquet":
        raise PoolError(f"{path} is named .parquet but does not begin as a Parquet file; write it again.")
    if last in {".arrow", ".feather"}:
        return "arrow"
    if last in {".csv", ".tsv"}:
        return "csv"
    return "json" if last == ".json" else "jsonl"


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of one file, numbered from 1 (lines of JSON Lines; rows otherwise, a CSV header not counted).

    Blank lines are no rows. Raises PoolError: missing, empty, cut off, not UTF-8 as a whole, not what its name says.
    """
    container = container_of(path)
    if container == "parquet":
        return _parquet_rows(path)
    if container == "arrow":
        return _arrow_rows(path)
    if container == "csv":
        return _csv_rows(path)
    if container == "xlsx":
        return _workbook_rows(path)
    return _json_rows(path, named=container == "json")


def _head(path: Path) -> bytes:
    if not path.exists():
        raise PoolError(f"{path} does not exist; check the path.")
    try:
        with path.open("rb") as handle:
            head = handle.read(4096)
    except OSError as error:
        raise PoolError(f"{path} cannot be opened: {error.strerror or error}.") from error
    if not head.strip():
        raise PoolError(f"{path} is empty; a pool needs at least one prompt with two responses.")
    return head


# Text ----------------------------------------------------------------------------------------------------------------


class _Encoding:
    """Tells one damaged line (a reject) from a file in another encoding (an error)."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines, self.bad, self.wide, self.first = path, 0, 0, 0, ""

    def see(self, text: str, *, place: str) -> str | None:
        """`text` decoded with surrogateescape; returns why it is not UTF-8, or None."""
        self.lines += 1
        if text.isascii():
            return None
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            self.bad += 1
            byte, before = ord(text[error.start]) - 0xDC00, text[: error.start].encode("utf-8")
            self.first = self.first or f"{place}, byte offset {len(before)} in it, value 0x{byte:02X}"
            return f"not valid UTF-8: byte 0x{byte:02X} at offset {len(before)} of the row; save the file as UTF-8"
        self.wide += 1
        return None

    def check(self) -> None:
        """Raises PoolError when most rows fail and none holds a valid non-ASCII character."""
        if self.bad * 2 > self.lines and not self.wide:
            raise PoolError(
                f"{self.path} is not UTF-8: {self.bad} of {self.lines} rows fail, first {self.first} "
                "(Latin-1 or Windows-1252?); save it as UTF-8."
            )


def _jsonl_rows(path: Path) -> Iterator[Row]:
    encoding = _Encoding(path)
    with open_stream(path) as stream:
        for line, data in enumerate(stream, start=1):
            if line == 1 and data.startswith(b"\xef\xbb\xbf"):
                data = data[3:]
            if not data.strip():
                continue
            text = data.decode("utf-8", "surrogateescape").rstrip("\r\n")
            problem = encoding.see(text, place=f"line {line}")
            if problem:
                shown = data.decode("utf-8", "replace").rstrip("\r\n")
                yield Row(line, {}, source=shown, error=problem)
            else:
                yield parse_object(text, line)
    encoding.check()


def parse_object(text: str, line: int) -> Row:
    """One line of JSON as a Row; what is wrong with it stands in `error`."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        hint = _hint(text, error)
        return Row(line, {}, source=text, error=f"invalid JSON: {error.msg} at character {error.pos + 1}{hint}")
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; brackets nested too deeply
        return Row(line, {}, source=text, error=f"invalid JSON: {error}")
    if isinstance(value, dict) and any(text.count(f'"{key}"') > 1 for key in value):
        twice = repeated_key(text)
        if twice is not None:
            return Row(line, {}, source=text, error=f"the key {twice!r} stands twice in it; leave one")
    return _object_row(value, line, source=text, suspicious=bool(_SURROGATE.search(text)))


def _hint(text: str, error: json.JSONDecodeError) -> str:
    if error.msg == "Extra data" and text[error.pos :].strip() == ",":
        return "; a comma stands after the row: take it away"
    if text.startswith("{'"):
        return "; it is a Python dictionary, not JSON: write names and texts in double quotes (json.dumps)"
    return ""


def _object_row(value: Any, line: int, *, source: str | None = None, suspicious: bool = False) -> Row:
    if not isinstance(value, dict):
        shown = ("" if _deep(value) else canonical_json(value)) if source is None else source
        kind = {list: "a list", str: "text", type(None): "null"}.get(type(value), "a single value")
        return Row(line, {}, source=shown, error=f"not an object but {kind}")
    if _deep(value):
        return Row(line, {}, source=source or "", error=f"brackets are nested more than {DEEPEST} deep")
    if suspicious:
        try:
            canonical_json(value).encode("utf-8")
        except UnicodeEncodeError:
            return Row(
                line, {}, source=source, error="holds half of a surrogate pair (\\ud800..\\udfff), which is no text"
            )
    return Row(line, value, source=source)


def _deep(value: Any) -> bool:
    """Whether a JSON value is nested deeper than DEEPEST."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            part
            for each in level
            for part in (each.values() if isinstance(each, dict) else each)
            if isinstance(part, dict | list)
        ]
        if not level:
            return False
    return True


def _json_rows(path: Path, *, named: bool) -> Iterator[Row]:
    """JSON Lines; or rows that are written otherwise (an array, a wrapper, columns, objects over several lines), when
    the first line shows it. named: the file is called .json, so that a broken array is an error of the file."""
    with open_stream(path) as stream:
        data = b""
        while not data.strip():
            line = stream.readline()
            data += line
            if not line:
                break
        first = data.decode("utf-8-sig", "replace").strip()
        whole = is_part_or_wrapper(first, lambda: bool(stream.peek(1)[:1]), named=named)
        data += stream.read() if whole else b""
    items = whole_items(path, data, array=named and first.startswith("[")) if whole else None
    if items is None:
        yield from _jsonl_rows(path)
        return
    for number, (item, error, where) in enumerate(items, start=1):
        row = Row(number, {}, source=str(item), error=error) if error else _object_row(item, number, suspicious=True)
        yield replace(row, where=where) if where else row


def _csv_rows(path: Path) -> Iterator[Row]:
    """Rows of a CSV with a header; commas, semicolons or tabs. Raises PoolError for a repeated column."""
    encoding = _Encoding(path)
    with open_stream(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        try:
            table = CsvTable(text)
        except CsvHeaderError as error:
            raise PoolError(f"{path}: {error}") from error
        for row in table:
            if row.error is not None:
                problem: str | None = f"invalid CSV from file line {row.begins} on: {row.error}"
            else:
                problem = encoding.see(table.separator.join(row.cells), place=f"row {row.number}")
            if not problem and len(row.cells) != len(table.header):
                problem = f"has {len(row.cells)} cells where the header has {len(table.header)}"
            if problem:
                yield Row(row.number, {}, _shown(table.source()), error=problem, textual=True)
            else:
                yield Row(row.number, dict(zip(table.header, row.cells, strict=True)), textual=True)
    encoding.check()


def _workbook_rows(path: Path) -> Iterator[Row]:
    """Rows of a workbook's first sheet, as CSV rows. Raises PoolError for a repeated column."""
    cells = workbook_cells(path)
    header = [name.strip() for name in next(cells, [])]
    if any(header.count(name) > 1 for name in header):
        twice = next(name for name in header if header.count(name) > 1)
        raise PoolError(f"{path}: the column {twice!r} appears twice in the header; rename one.")
    for number, row in enumerate(cells, start=1):
        if len(row) > len(header):
            yield Row(number, {}, " | ".join(row), error="has cells beyond the header's last column", textual=True)
        else:
            row += [""] * (len(header) - len(row))
            yield Row(number, dict(zip(header, row, strict=True)), textual=True)


def _shown(source: str) -> str:
    return source.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# Columns -------------------------------------------------------------------------------------------------------------


def _parquet_rows(path: Path) -> Iterator[Row]:
    with _readable(path, "Parquet"):
        check_parquet(path)
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from _batch_rows(batch, number)
                number += batch.num_rows


def _arrow_rows(path: Path) -> Iterator[Row]:
    """Every batch is validated in full before a value of it is touched: a wrong offset in it would end the process."""
    with _readable(path, "Arrow"), pa.OSFile(str(path)) as source:
        try:
            batches: Any = pa.ipc.open_stream(source)
        except pa.ArrowInvalid:
            source.seek(0)
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(index) for index in range(file.num_record_batches))
        number, unpacked, most = 0, 0, expansion_limit(path)
        for batch in batches:
            batch.validate(full=True)
            unpacked += sum(unpacked_bytes(column) for column in batch.columns)
            if unpacked > most:
                raise ExpansionError(f"it unpacks to more than {most >> 20:,} MiB, far more than its size lets expect")
            yield from _batch_rows(batch, number)
            number += batch.num_rows


@contextmanager
def _readable(path: Path, kind: str) -> Iterator[None]:
    """What pyarrow says of a file, as a PoolError. Where memory is short, that is said: the file may be sound."""
    try:
        yield
    except ExpansionError as error:
        raise PoolError(f"{path} cannot be read as {kind}: {error}; write it again with fewer repeats.") from None
    except MemoryError:  # pyarrow's is an ArrowException too
        raise PoolError(f"{path} needs more memory than there is, or is damaged and claims to; {REMEDY}.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise PoolError(f"{path} cannot be read as {kind} ({_first_line(error)}); write it again.") from error


# What a sound column may hold and no Python value can: texts that are no UTF-8, dates beyond the year 9999, repeated
# names in a struct.
_NO_VALUE = (UnicodeDecodeError, OverflowError, ValueError, pa.ArrowInvalid, pa.ArrowNotImplementedError)


def _batch_rows(batch: Any, before: int) -> Iterator[Row]:
    try:
        values = batch.to_pylist(maps_as_pydicts="lossy")
    except _NO_VALUE:
        yield from _rows_one_by_one(batch, before)
        return
    for number, value in enumerate(values, start=before + 1):
        yield Row(number, value)


def _rows_one_by_one(batch: Any, before: int) -> Iterator[Row]:
    for index in range(batch.num_rows):
        try:
            value = batch.slice(index, 1).to_pylist(maps_as_pydicts="lossy")[0]
        except UnicodeDecodeError as error:
            yield Row(before + index + 1, {}, source="", error=f"not valid UTF-8: byte offset {error.start} of a value")
        except _NO_VALUE as error:
            yield Row(before + index + 1, {}, source="", error=f"holds a value out of range ({_first_line(error)})")
        else:
            yield Row(before + index + 1, value)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
