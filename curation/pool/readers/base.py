"""What the reader of a pool format is. A module beside this one that offers such a `PLUG` is found, asked and named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from curation.errors import PoolError
from curation.pool.files.lines import Row
from curation.pool.readers.common import Collected
from curation.registry import Registry


@dataclass(frozen=True)
class About:
    """What a reader may know of the whole file. place: for messages. columns: those of its first rows.

    mapping: field -> column, as somebody named them; None where nobody did.
    """

    place: str
    columns: tuple[str, ...]
    mapping: Mapping[str, str] | None = None


class Reader(Protocol):
    """One format. name: what a pool is said to be read as. rank: its place where formats are listed.

    says: what tells it, as in `NAME (prompt, responses)`. turn: when it is asked whether a row is its own, lowest
    first: a shape of many columns before one that is content with few. instead_of: a format that a file is taken for by
    its first row, but not where any row is of this one. by_columns: whether somebody may say which column is what.
    """

    name: str
    rank: int
    says: str
    turn: int
    instead_of: str | None = None
    by_columns: bool = False

    def fits(self, data: dict[str, Any]) -> bool:
        """Whether a row, as its fields and their values, is of this format."""
        ...

    def may_fit(self, data: dict[str, Any]) -> bool:
        """Whether a row that fits no format is still of this one."""
        return False

    def read(self, rows: Iterator[Row], collected: Collected, about: About) -> None:
        """Add the prompts of all rows, and the rows that cannot be used with their reasons.

        Takes the rows from `collected.readable(rows)`, which counts them. Raises PoolError only for the whole file.
        """
        ...


READERS: Registry[Reader] = Registry("curation.pool.readers", "format", PoolError)


def known_formats() -> str:
    """Every format with what tells it, for messages."""
    return ", ".join(f"{reader.name} ({reader.says})" for reader in READERS)


def reader_of(data: dict[str, Any]) -> Reader | None:
    """The reader of a row, None where none is its own."""
    asked = sorted(READERS, key=lambda reader: reader.turn)
    return next((each for each in asked if each.fits(data)), None) or next((r for r in asked if r.may_fit(data)), None)
