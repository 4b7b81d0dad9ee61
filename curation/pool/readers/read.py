"""Reading a candidate pool: one entry for every format, with every row accounted for.

Opens, looks at the first rows, asks the readers (`base.READERS`) whose they are, lets one read, and keeps account.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

from curation.errors import PoolError
from curation.pool.files.lines import Row
from curation.pool.files.sources import Source, open_source
from curation.pool.readers.base import READERS, About, Reader, known_formats, reader_of
from curation.pool.readers.common import Collected
from curation.pool.readers.mapping import FIELDS, MappingChoices, guess_mapping, parse_mapping, renamed, suggest_mapping
from curation.pool.schema import Pool, PoolFile, Reject, Truth
from curation.system.collector import collector_paused

_PEEK = 100
SHOWN_ROWS, SHOWN_CELL = 3, 160  # rows, and characters of a cell, to choose columns by

__all__ = [
    "FIELDS",
    "MappingChoices",
    "asks_for_columns",
    "column_mapping_choices",
    "detect_format",
    "parse_mapping",
    "read_pool",
]


def read_pool(
    path: str | Path, *, format: str = "auto", mapping: dict[str, str] | None = None, name: str | None = None
) -> PoolFile:
    """The pool in a file, in a folder of data files, or on the hub.

    format: the name of a reader or `auto`. mapping: field -> column. Of a table with one response a row it names all
    columns that are read; of a file of another format the columns that are called otherwise there.
    Unusable rows become `rejects` with line and reason. Raises PoolError when nothing can be read: missing, empty or
    damaged file, wrong encoding, unknown format or mapping, no usable prompt.
    """
    if format != "auto" and format not in READERS:
        raise PoolError(f"format {format!r} is unknown; use auto or one of {', '.join(READERS.names())}.")
    reader = None if format == "auto" else READERS[format]
    source = open_source(path)
    first, rows = _peek(source)
    left: Mapping[str, str] | None = mapping
    if mapping and not (reader and reader.by_columns):
        first, rows, left = renamed(first, rows, _columns(first), mapping, source.place)
    if reader is None:
        reader = next(each for each in READERS if each.by_columns) if left else _detected(source, first)
    collected = Collected()
    with collector_paused():  # it would look through every response so far, again and again
        reader.read(rows, collected, About(source.place, tuple(_columns(first)), left))
    if not collected.rows:
        raise PoolError(f"{source.place} is empty; a pool needs at least one prompt with two responses.")
    rejects = tuple(sorted(collected.rejects, key=lambda reject: reject.line))
    if not collected.prompts:
        raise _no_prompt(source, reader.name, rejects)
    return PoolFile(
        pool=Pool(tuple(collected.prompts), name=name or source.name),
        truth=Truth(collected.quality, tuple(collected.labels)),
        rejects=rejects,
        format=reader.name,
        rows=collected.rows,
        rows_used=collected.used,
        notes=(*source.notes, *(f"{count:,} {text}" for text, count in sorted(collected.notes.items()))),
    )


def detect_format(path: str | Path) -> str:
    """The name of a reader, by the fields of the first rows. Raises PoolError naming the columns when none fits."""
    source = open_source(path)
    return _detected(source, _peek(source)[0]).name


def asks_for_columns(path: str | Path) -> bool:
    """Whether a file is a table of one response a row (or of nothing known), whose columns somebody should look at.
    Raises PoolError when the file cannot be read."""
    source = open_source(path)
    first, _ = _peek(source)
    if not any(row.textual for row in first):
        return False
    try:
        return _detected(source, first).by_columns
    except PoolError:
        return bool(_columns(first))


def column_mapping_choices(path: str | Path) -> MappingChoices:
    """The columns of a flat file and a guess of what they hold. Raises PoolError when the file cannot be read."""
    first = _peek(open_source(path))[0]
    columns = _columns(first)
    rows = tuple(
        {column: str(row.data.get(column, ""))[:SHOWN_CELL] for column in columns}
        for row in [row for row in first if not row.error][:SHOWN_ROWS]
    )
    return MappingChoices(tuple(columns), guess_mapping(columns), suggest_mapping(columns), rows)


def _peek(source: Source) -> tuple[list[Row], Iterator[Row]]:
    rows = iter(source.rows)
    first = list(islice(rows, _PEEK))
    return first, chain(first, rows)


def _columns(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.data))


def _detected(source: Source, first: list[Row]) -> Reader:
    readable = [row.data for row in first if not row.error]
    found = next((reader for reader in map(reader_of, readable) if reader), None)
    if found:
        others = [reader for reader in READERS if reader.instead_of == found.name]
        return next((reader for reader in others if any(reader_of(data) is reader for data in readable)), found)
    if not first:
        raise PoolError(f"{source.place} is empty; a pool needs at least one prompt with two responses.")
    columns = _columns(first)
    if not columns:
        reject = first[0]
        raise PoolError(
            f"{source.place}: none of the first {len(first)} rows can be read; line {reject.line}: {reject.error}."
        )
    raise PoolError(
        f"{source.place}: unknown format with the columns {', '.join(columns)}; formats known are {known_formats()}. "
        "Rename the columns, or say which is which, as in --map prompt=COLUMN,response=COLUMN."
    )


def _no_prompt(source: Source, format: str, rejects: tuple[Reject, ...]) -> PoolError:
    first = rejects[0]
    told = any(words in first.reason for words in ("--map", "only texts are compared"))
    remedy = "" if told else " Mend the file, or say which column is which (--map prompt=COLUMN)."
    return PoolError(
        f"{source.place} has no usable prompt when read as {format}: {len(rejects):,} rows were rejected, "
        f"first line {first.line}: {first.reason}.{remedy}"
    )
