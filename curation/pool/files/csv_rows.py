"""Rows of a table that is text: which separator, which header, where a row begins, and what is wrong with it.

The one reading of CSV for pools, labels, decisions and pins. Quotes are strict: a field that is never closed is told,
not swallowed with the rows after it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import IO, NamedTuple

SEPARATORS = ",;\t"
_NAMED_SEPARATOR = re.compile(r'"?sep=([,;\t|])"?[\r\n]*', re.IGNORECASE)  # a first line that spreadsheets write
_QUOTED = re.compile(r'"[^"]*"')


class CsvHeaderError(Exception):
    """A header that cannot be read."""


class CsvRow(NamedTuple):
    """One row. number: from 1, the header not counted; begins: its first line in the file, from 1."""

    number: int
    begins: int
    cells: list[str]
    error: str | None = None


class CsvTable:
    """A table, read once: `header`, `separator`, and its rows by iteration. Rows of blank cells only are none.

    text: opened with newline="", so that the separators inside texts stay as they are. Raises CsvHeaderError, also for
    a name that repeats unless `repeats`.
    """

    def __init__(self, text: IO[str], *, repeats: bool = False) -> None:
        csv.field_size_limit(2**31 - 1)  # answers may be longer than the default of 131,072 characters
        self._seen: list[str] = []  # the file's lines that the current row came from
        self._before = 0  # lines that csv.reader does not see
        first = self._first(text)
        named = _NAMED_SEPARATOR.fullmatch(first)
        if named:
            self._before += 1
            first = self._first(text)
        self.separator = named[1] if named else _separator(first)
        self._reader = csv.reader(self._recorded(first, text), delimiter=self.separator, strict=True)
        try:
            self.header = [name.strip() for name in next(self._reader, [])]
        except csv.Error as error:
            raise CsvHeaderError(f"the header cannot be read as CSV ({error}); quote its names.") from error
        if self.header.count("") > 1:  # columns that a spreadsheet added behind the last one
            while self.header and not self.header[-1]:
                self.header.pop()
        twice = next((name for place, name in enumerate(self.header) if name in self.header[:place]), None)
        if twice is not None and not repeats:
            raise CsvHeaderError(f"the column {twice!r} appears twice in the header; rename one.")

    def __iter__(self) -> Iterator[CsvRow]:
        number, width = 0, len(self.header)
        while True:
            self._seen.clear()
            begins = self._before + self._reader.line_num + 1
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                number += 1
                yield CsvRow(number, begins, [], _why(error))
                continue
            if not cells:
                continue
            number += 1
            while len(cells) > width and not cells[-1].strip():
                cells.pop()
            if any(map(str.strip, cells)):
                yield CsvRow(number, begins, cells)

    def source(self) -> str:
        """The current row as it stands in the file."""
        return "".join(self._seen).rstrip("\r\n")

    def _first(self, text: IO[str]) -> str:
        line = text.readline()
        while line and not line.strip(SEPARATORS + " \r\n"):
            self._before += 1
            line = text.readline()
        return line

    def _recorded(self, first: str, rest: IO[str]) -> Iterator[str]:
        for line in chain([first], rest):
            self._seen.append(line)
            yield line


def _separator(header: str) -> str:
    """The separator that stands most often in a header, outside quotes."""
    bare = _QUOTED.sub("", header)
    text = bare if any(mark in bare for mark in SEPARATORS) else header
    return max(SEPARATORS, key=text.count)


def _why(error: csv.Error) -> str:
    return "a quoted field is never closed" if "unexpected end" in str(error) else str(error)
