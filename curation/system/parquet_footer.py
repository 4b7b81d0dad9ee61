"""What the footer of a Parquet file claims, read without Arrow.

pyarrow ends the process on some damaged column descriptions, where no handler of ours can say a sentence: it throws
through a function that may not. So the number of values is read from the footer itself, which is a struct of Thrift's
compact protocol (github.com/apache/thrift, doc/specs/thrift-compact-protocol.md; the fields: parquet-format,
parquet.thrift).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

DEEPEST = 16  # structs and lists within one another; Parquet's own are 6 deep
_ROW_GROUPS, _COLUMNS, _META_DATA, _NUM_VALUES = 4, 1, 3, 5  # of FileMetaData, RowGroup, ColumnChunk, ColumnMetaData


def declared_values(path: str | Path) -> int:
    """How many values the columns of a file claim to hold together. Raises OSError, and pa.ArrowInvalid for damage."""
    try:
        footer = _Compact(_footer(Path(path))).struct()
        chunks = [chunk for group in footer.get(_ROW_GROUPS, []) for chunk in group.get(_COLUMNS, [])]
        return sum(max(chunk[_META_DATA][_NUM_VALUES], 0) for chunk in chunks if _META_DATA in chunk)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise pa.ArrowInvalid("the footer is damaged") from error


def _footer(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        end = file.read(8)
        length = int.from_bytes(end[:4], "little")
        if end[4:] != b"PAR1" or length > size - 8:
            raise pa.ArrowInvalid("no Parquet footer stands at the end")
        file.seek(size - 8 - length)
        return file.read(length)


class _Compact:
    """Values of the compact protocol: field number -> value of a struct, numbers, lists; None for what is passed."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while kind := (head := self._byte()) & 0x0F:
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth + 1)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > DEEPEST:
            raise IndexError("nested too deeply")
        if kind in (1, 2, 3):  # a truth value within a list takes a byte
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind in (7, 8):
            return self._pass(8 if kind == 7 else self._unsigned())
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            return [self._value(head & 0x0F, depth + 1) for _ in range(count)]
        if kind == 11:
            count = self._unsigned()
            kinds = self._byte() if count else 0
            for _ in range(count):
                self._value(kinds >> 4, depth + 1), self._value(kinds & 0x0F, depth + 1)
            return None
        if kind == 12:
            return self.struct(depth)
        raise IndexError(f"no type {kind}")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _pass(self, count: int) -> None:
        if count > len(self._data) - self._at:
            raise IndexError("longer than the footer")
        self._at += count

    def _unsigned(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return found
            if shift > 63:
                raise IndexError("a number of more than 64 bits")

    def _signed(self) -> int:
        found = self._unsigned()
        return (found >> 1) ^ -(found & 1)
