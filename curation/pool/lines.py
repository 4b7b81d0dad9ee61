"""Opening a data file row by row: JSON Lines, JSON arrays, CSV, Parquet and Arrow, plain or compressed.

Every row keeps its number and its raw text, so that an unusable one can be shown to the person who sent the file.
Compression and Parquet are told by the first bytes, text formats by the file name.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, BinaryIO

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import zstandard

from curation.errors import PoolError
from curation.pool.schema import RAW_CLIP, canonical_json

EXPANSION = 100  # times its size that compressed text may grow; real pools grow 3 to 20 times
EXPANSION_FLOOR = 64 << 20  # bytes that any file may grow to
_ZSTD_CHUNK = 1024  # bytes read at once: one of them can stand for 32 KiB
_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_CHUNK = 1 << 20


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
    """jsonl, json, csv, parquet or arrow, by first bytes and name. Raises PoolError: unreadable, empty, misnamed."""
    head = _head(path)
    if head.startswith(_PARQUET):
        return "parquet"
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in {".gz", ".zst"}:
        expected = _GZIP if suffixes[-1] == ".gz" else _ZSTD
        if not head.startswith(expected):
            kind = "gzip" if suffixes[-1] == ".gz" else "zstd"
            raise PoolError(f"{path} is named {suffixes[-1]} but is not {kind} data; rename it or compress it again.")
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    if last == ".parquet":
        raise PoolError(f"{path} is named .parquet but does not begin as a Parquet file; write it again.")
    if last == ".arrow":
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
    if container == "json":
        return _json_rows(path)
    return _jsonl_rows(path)


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


class _ZstdReader(io.RawIOBase):
    """Decompressed bytes of a zstd file of any number of frames. zstandard's own reader ends quietly when cut off."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._left, self._ready = raw, b"", memoryview(b"")
        self._frame: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._left or self._raw.read(_ZSTD_CHUNK)
            if not data:
                if self._frame is not None:
                    raise EOFError("the last zstd frame is cut off")
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._ready = memoryview(self._frame.decompress(data))
            self._left = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than `most` bytes: a small file may not fill memory or disk."""

    def __init__(self, inner: Any, path: Path, most: int) -> None:
        self._inner, self._path, self._most, self._given = inner, path, most, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = int(self._inner.readinto(buffer) or 0)
        self._given += size
        if self._given > self._most:
            raise PoolError(
                f"{self._path} expands to more than {self._most >> 20:,} MiB, far more than pools of text do; if you "
                "trust it, unpack it yourself and open the plain file."
            )
        return size


@contextmanager
def open_stream(path: Path) -> Iterator[io.BufferedReader]:
    """Decompressed bytes of a text file. Raises PoolError when the compressed data is damaged or cut off, or UTF-16."""
    with path.open("rb") as raw:
        magic = raw.read(4)
        raw.seek(0)
        inner: Any = raw
        if magic.startswith(_GZIP):
            inner = gzip.GzipFile(fileobj=raw)
        elif magic == _ZSTD:
            inner = _ZstdReader(raw)
        if inner is not raw:
            inner = _Bounded(inner, path, max(EXPANSION_FLOOR, EXPANSION * path.stat().st_size))
        stream = inner if inner is raw else io.BufferedReader(inner, _CHUNK)
        try:
            _refuse_wide(path, stream.peek(256)[:256])
            yield stream
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
            raise PoolError(f"{path} holds damaged or cut-off compressed data ({error}); copy it again.") from error


def _refuse_wide(path: Path, head: bytes) -> None:
    if head.startswith(_WIDE_MARKS) or head.count(0) > len(head) // 4:
        raise PoolError(f"{path} looks like UTF-16 or UTF-32 (byte offset 0: {head[:4].hex(' ')}); save it as UTF-8.")


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
        return Row(line, {}, source=text, error=f"invalid JSON: {error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; brackets nested too deeply
        return Row(line, {}, source=text, error=f"invalid JSON: {error}")
    return _object_row(value, line, source=text, suspicious=bool(_SURROGATE.search(text)))


def _object_row(value: Any, line: int, *, source: str | None = None, suspicious: bool = False) -> Row:
    if not isinstance(value, dict):
        shown = canonical_json(value) if source is None else source
        kind = {list: "a list", str: "text", type(None): "null"}.get(type(value), "a single value")
        return Row(line, {}, source=shown, error=f"not an object but {kind}")
    if suspicious:
        try:
            canonical_json(value).encode("utf-8")
        except UnicodeEncodeError:
            return Row(
                line, {}, source=source, error="holds half of a surrogate pair (\\ud800..\\udfff), which is no text"
            )
    return Row(line, value, source=source)


def _json_rows(path: Path) -> Iterator[Row]:
    """A JSON array of objects; a .json file that does not begin with [ is read as JSON Lines."""
    with open_stream(path) as stream:
        array = stream.peek(256)[:256].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
        data = stream.read() if array else b""
    if not array:
        yield from _jsonl_rows(path)
        return
    try:
        text = data.decode("utf-8-sig")
        items = json.loads(text)
    except UnicodeDecodeError as error:
        raise PoolError(f"{path} is not UTF-8 at byte offset {error.start}; save it as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise PoolError(f"{path} is not valid JSON: {error.msg} at line {error.lineno}; write it again.") from error
    except (ValueError, RecursionError) as error:
        raise PoolError(f"{path} is not valid JSON: {error}; write it again.") from error
    suspicious = bool(_SURROGATE.search(text))
    for number, item in enumerate(items, start=1):
        yield _object_row(item, number, suspicious=suspicious)


def _csv_rows(path: Path) -> Iterator[Row]:
    """Rows of a CSV with a header; commas, semicolons or tabs. Raises PoolError for a repeated column."""
    encoding = _Encoding(path)
    csv.field_size_limit(2**31 - 1)  # answers may be longer than the default of 131,072 characters
    with open_stream(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        yield from _csv_cells(path, text, encoding)
    encoding.check()


def _csv_cells(path: Path, text: IO[str], encoding: _Encoding) -> Iterator[Row]:
    first = text.readline()
    while first and not first.strip():
        first = text.readline()
    delimiter = max(",;\t", key=first.count)
    seen: list[str] = []  # the file's lines that the current row came from
    reader = csv.reader(_recorded(first, text, seen), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise PoolError(f"{path}: the header cannot be read as CSV ({error}); quote its names.") from error
    if any(header.count(name) > 1 for name in header):
        twice = next(name for name in header if header.count(name) > 1)
        raise PoolError(f"{path}: the column {twice!r} appears twice in the header; rename one.")
    number = 0
    while True:
        seen.clear()
        begins = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            hint = "a quoted field is never closed" if "unexpected end" in str(error) else str(error)
            yield Row(number, {}, _shown(seen), error=f"invalid CSV from file line {begins} on: {hint}", textual=True)
            continue
        if not cells:
            continue
        number += 1
        problem = encoding.see(delimiter.join(cells), place=f"row {number}")
        if not problem and len(cells) != len(header):
            problem = f"has {len(cells)} cells where the header has {len(header)}"
        if problem:
            yield Row(number, {}, _shown(seen), error=problem, textual=True)
        else:
            yield Row(number, dict(zip(header, cells, strict=True)), textual=True)


def _recorded(first: str, rest: IO[str], seen: list[str]) -> Iterator[str]:
    for line in chain([first], rest):
        seen.append(line)
        yield line


def _shown(seen: list[str]) -> str:
    return "".join(seen).rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# Columns -------------------------------------------------------------------------------------------------------------


def _parquet_rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from _batch_rows(batch, number)
                number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise PoolError(f"{path} cannot be read as Parquet ({_first_line(error)}); write it again.") from error


def _arrow_rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with pa.memory_map(str(path)) as source:
            try:
                batches: Any = pa.ipc.open_stream(source)
            except pa.ArrowInvalid:
                source.seek(0)
                file = pa.ipc.open_file(source)
                batches = (file.get_batch(index) for index in range(file.num_record_batches))
            for batch in batches:
                yield from _batch_rows(batch, number)
                number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise PoolError(f"{path} cannot be read as Arrow ({_first_line(error)}); write it again.") from error


def _batch_rows(batch: Any, before: int) -> Iterator[Row]:
    try:
        values = batch.to_pylist(maps_as_pydicts="lossy")
    except UnicodeDecodeError:
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
        else:
            yield Row(before + index + 1, value)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
