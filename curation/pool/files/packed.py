"""Packed text: gzip, zstd, bzip2, xz and a zip of one file, told by their first bytes and unpacked in bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import zstandard

from curation.errors import PoolError
from curation.system.columns import expansion_limit

_ZSTD_CHUNK = 1024  # bytes read at once: one of them can stand for 32 KiB
ZIP = b"PK\x03\x04"
PACKINGS = {  # ending -> first bytes, name
    ".gz": (b"\x1f\x8b", "gzip"),
    ".zst": (b"\x28\xb5\x2f\xfd", "zstd"),
    ".bz2": (b"BZh", "bzip2"),
    ".xz": (b"\xfd7zXZ\x00", "xz"),
    ".zip": (ZIP, "zip"),
}
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"Obj\x01": "an Avro file",
    b"ARROW1": "an Arrow file",
    b"\x04\x22\x4d\x18": "LZ4 data",
    b"%PDF": "a PDF document",
    b"\x80\x04\x95": "a Python pickle",
    b"\x80\x05\x95": "a Python pickle",
}
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_CHUNK = 1 << 20
_WORKBOOK = "xl/workbook.xml"
_DATA = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt")


def is_workbook(path: Path) -> bool:
    """Whether a zip file is an Excel workbook. Raises PoolError where it cannot be opened."""
    with _zip(path) as archive:
        return _WORKBOOK in archive.namelist()


def zip_member(path: Path) -> str:
    """The name of the one data file in a zip file. Raises PoolError where there is none, or another file beside it."""
    with _zip(path) as archive:
        names = [
            info.filename
            for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX/")
        ]
    if len(names) != 1 or not names[0].lower().endswith(_DATA):
        raise PoolError(
            f"{path} is a zip file of {len(names)} files, and only one of a single JSON Lines, JSON or CSV file is "
            "read; unpack it and open the file in it."
        )
    return names[0]


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise PoolError(f"{path} is a damaged or cut-off zip file ({error}); copy it again.") from error


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
    """Unpacked bytes of a text file. Raises PoolError when the packed data is damaged or cut off, or UTF-16."""
    with path.open("rb") as raw:
        magic = raw.read(8)
        raw.seek(0)
        kind = next((ending for ending, (first, _) in PACKINGS.items() if magic.startswith(first)), "")
        try:
            inner = _unpacked(kind, raw, path)
            if kind:
                inner = _Bounded(inner, path, expansion_limit(path))
            stream = io.BufferedReader(inner, _CHUNK) if kind else raw
            head = stream.peek(512)[:512]
            _refuse_others(path, head, packed=bool(kind))
            _refuse_wide(path, head[:256])
            yield stream
        except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError, lzma.LZMAError) as error:
            raise PoolError(f"{path} holds damaged or cut-off compressed data ({error}); copy it again.") from error
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            if kind != ".zip":
                raise
            raise PoolError(f"{path} cannot be unpacked ({error}); unpack it yourself and open the file.") from error
        except OSError as error:
            if kind != ".bz2":
                raise
            raise PoolError(f"{path} holds damaged or cut-off compressed data ({error}); copy it again.") from error


def _unpacked(kind: str, raw: BinaryIO, path: Path) -> Any:
    if kind == ".gz":
        return gzip.GzipFile(fileobj=raw)
    if kind == ".zst":
        return _ZstdReader(raw)
    if kind == ".bz2":
        return bz2.BZ2File(raw)
    if kind == ".xz":
        return lzma.LZMAFile(raw)
    return zipfile.ZipFile(raw).open(zip_member(path)) if kind == ".zip" else raw


def packed_name(path: Path, kind: str) -> str:
    """The name by which a packed file's content is told: the zip's file, else its own without the packing's ending."""
    name = PurePosixPath(zip_member(path)).name if kind == ".zip" else path.name
    return name[: -len(kind)] if name.lower().endswith(kind) else name


def _refuse_others(path: Path, head: bytes, *, packed: bool) -> None:
    """Raises PoolError that names a file of another kind for what it is."""
    what = next((name for first, name in _OTHERS.items() if head.startswith(first)), None)
    if head[257:262] == b"ustar":
        what = "a tar archive"
    elif packed and what is None:
        what = next((f"{name} data" for first, name in PACKINGS.values() if head.startswith(first)), None)
        what = "a Parquet file" if head.startswith(b"PAR1") else what
    if what is not None:
        where = " inside its packing" if packed else ""
        raise PoolError(
            f"{path} holds {what}{where}, which is not read; give the data in it as JSON Lines, CSV, Parquet or .xlsx."
        )


def _refuse_wide(path: Path, head: bytes) -> None:
    if head.startswith(_WIDE_MARKS) or head.count(0) > len(head) // 4:
        raise PoolError(f"{path} looks like UTF-16 or UTF-32 (byte offset 0: {head[:4].hex(' ')}); save it as UTF-8.")
