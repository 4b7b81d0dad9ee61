"""Reading a candidate pool: one entry for every format, with every row accounted for."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, get_args

from curation.errors import PoolError
from curation.pool.files.lines import Row
from curation.pool.files.sources import Source, open_source
from curation.pool.readers.common import Collected
from curation.pool.readers.flat import FIELDS, MappingChoices, guess_mapping, read_flat, resolve_mapping
from curation.pool.readers.pairs import answer_columns, as_preference
from curation.pool.readers.preference import TURN, read_preference
from curation.pool.readers.ranked import is_tree, list_column, read_ranked
from curation.pool.readers.rows import GENERATIONS, read_canonical, read_distilabel, read_ultrafeedback
from curation.pool.schema import Pool, PoolFile, Reject, Truth
from curation.system.collector import collector_paused

Format = Literal["canonical", "trl", "hh", "ultrafeedback", "distilabel", "flat", "pairs", "ranked"]
FORMATS: tuple[str, ...] = get_args(Format)
KNOWN_FORMATS = (
    "canonical (prompt, responses), trl (chosen, rejected, maybe prompt), hh (chosen and rejected transcripts), "
    "ultrafeedback (instruction, completions), distilabel (instruction, generations), "
    "pairs (response_1, response_2 or the like, and who won), ranked (answers or completions with rank or score), "
    "flat (a prompt and a response column)"
)
_PEEK = 100
_OTHERS = """chosen rejected responses system history tools chosen_model rejected_model score_chosen score_rejected
answers completions generations response_a response_b winner rating"""
RENAMED = tuple(dict.fromkeys((*FIELDS, *_OTHERS.split())))  # what --map may name

__all__ = [
    "FIELDS",
    "FORMATS",
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

    format: one of FORMATS or `auto`. mapping: field -> column. Of a table with one response a row it names all columns
    that are read; of a file of another format the columns that are called otherwise there.
    Unusable rows become `rejects` with line and reason. Raises PoolError when nothing can be read: missing, empty or
    damaged file, wrong encoding, unknown format or mapping, no usable prompt.
    """
    if format != "auto" and format not in FORMATS:
        raise PoolError(f"format {format!r} is unknown; use auto or one of {', '.join(FORMATS)}.")
    source = open_source(path)
    first, rows = _peek(source)
    if mapping and format != "flat":
        first, rows, mapping = _renamed(first, rows, mapping, source.place)
    if format == "auto":
        format = "flat" if mapping else _detected(source, first)
    collected = Collected()
    with collector_paused():  # it would look through every response so far, again and again
        _read(format, rows, collected, first, mapping, source)
    if not collected.rows:
        raise PoolError(f"{source.place} is empty; a pool needs at least one prompt with two responses.")
    rejects = tuple(sorted(collected.rejects, key=lambda reject: reject.line))
    if not collected.prompts:
        raise _no_prompt(source, format, rejects)
    return PoolFile(
        pool=Pool(tuple(collected.prompts), name=name or source.name),
        truth=Truth(collected.quality, tuple(collected.labels)),
        rejects=rejects,
        format=format,
        rows=collected.rows,
        rows_used=collected.used,
        notes=(*source.notes, *(f"{count:,} {text}" for text, count in sorted(collected.notes.items()))),
    )


def detect_format(path: str | Path) -> str:
    """One of FORMATS, by the fields of the first rows. Raises PoolError naming the columns found when none fits."""
    source = open_source(path)
    return _detected(source, _peek(source)[0])


def parse_mapping(texts: Sequence[str]) -> dict[str, str] | None:
    """`prompt=question,response=answer` as field -> column; None for no text. Raises PoolError.

    A column whose name holds a comma is quoted as in CSV: `"prompt=Question, in full"`.
    """
    found: dict[str, str] = {}
    for text in texts:
        for part in next(csv.reader([text], skipinitialspace=True), []):
            name, equals, column = (piece.strip() for piece in part.partition("="))
            if not (name and equals and column):
                raise PoolError(f"--map {part!r} is no FIELD=COLUMN; write --map prompt=question,response=answer.")
            if name in found:
                raise PoolError(f"--map names the field {name!r} twice; leave one.")
            if name not in RENAMED:
                raise PoolError(f"--map names the field {name!r}; fields are {', '.join(RENAMED)}.")
            found[name] = column
    return found or None


def asks_for_columns(path: str | Path) -> bool:
    """Whether a file is a table of one response a row (or of nothing known), whose columns somebody should look at.
    Raises PoolError when the file cannot be read."""
    source = open_source(path)
    first, _ = _peek(source)
    if not any(row.textual for row in first):
        return False
    try:
        return _detected(source, first) == "flat"
    except PoolError:
        return bool(_columns(first))


def column_mapping_choices(path: str | Path) -> MappingChoices:
    """The columns of a flat file and a guess of what they hold. Raises PoolError when the file cannot be read."""
    columns = _columns(_peek(open_source(path))[0])
    return MappingChoices(tuple(columns), guess_mapping(columns))


def _read(
    format: str,
    rows: Iterator[Row],
    collected: Collected,
    first: list[Row],
    mapping: Mapping[str, str] | None,
    source: Source,
) -> None:
    if format == "canonical":
        read_canonical(rows, collected)
    elif format == "ultrafeedback":
        read_ultrafeedback(rows, collected)
    elif format == "distilabel":
        read_distilabel(rows, collected)
    elif format == "ranked":
        read_ranked(rows, collected)
    elif format == "pairs":
        read_preference(rows, collected, transcripts=False, columns=_columns(first), parse=as_preference)
    elif format == "flat":
        read_flat(rows, collected, resolve_mapping(mapping, _columns(first), source.place))
    else:
        read_preference(rows, collected, transcripts=format == "hh", columns=_columns(first))


def _peek(source: Source) -> tuple[list[Row], Iterator[Row]]:
    rows = iter(source.rows)
    first = list(islice(rows, _PEEK))
    return first, chain(first, rows)


def _renamed(
    first: list[Row], rows: Iterator[Row], mapping: dict[str, str], place: str
) -> tuple[list[Row], Iterator[Row], dict[str, str] | None]:
    """Rows with the columns of `mapping` under the names of its fields, where they are not a flat table; else as they
    are, with the mapping. Raises PoolError for a column that is not there."""
    columns = _columns(first)
    names = {mapping.get(name, name).lower() for name in ("chosen", "rejected")}
    lowered = {column.lower() for column in columns}
    flat = "response" in mapping or "response" in guess_mapping(columns)
    other = not mapping.keys() <= set(FIELDS) or names <= lowered or answer_columns(frozenset(lowered)) is not None
    if flat and not other:
        return first, rows, mapping
    for name, column in mapping.items():
        if name not in RENAMED:
            raise PoolError(f"{place}: the mapping names the field {name!r}; fields are {', '.join(RENAMED)}.")
        if column not in columns:
            raise PoolError(
                f"{place}: the mapping gives {name} the column {column!r}; columns are {', '.join(columns)}."
            )
    back = {column: name for name, column in mapping.items()}

    def renamed(row: Row) -> Row:
        kept = {name: value for name, value in row.data.items() if name not in mapping or name in back}
        return replace(row, data={back.get(name, name): value for name, value in kept.items()})

    return [renamed(row) for row in first], map(renamed, rows), None


def _columns(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.data))


def _detected(source: Source, first: list[Row]) -> str:
    readable = [row.data for row in first if not row.error]
    found = next((format for format in map(_format_of, readable) if format), None)
    if found == "trl" and any(_format_of(data) == "hh" for data in readable):
        return "hh"  # the first row is an odd one in a file of transcripts
    if found:
        return found
    if not first:
        raise PoolError(f"{source.place} is empty; a pool needs at least one prompt with two responses.")
    columns = _columns(first)
    if not columns:
        reject = first[0]
        raise PoolError(
            f"{source.place}: none of the first {len(first)} rows can be read; line {reject.line}: {reject.error}."
        )
    raise PoolError(
        f"{source.place}: unknown format with the columns {', '.join(columns)}; formats known are {KNOWN_FORMATS}. "
        "Rename the columns, or say which is which, as in --map prompt=COLUMN,response=COLUMN."
    )


def _format_of(data: dict[str, Any]) -> str | None:
    names = set(data)
    if "responses" in names and names & {"prompt", "prompt_messages"}:
        return "canonical"
    if {"instruction", "completions"} <= names:
        return "ultrafeedback"
    if "generations" in names and names & {"instruction", "input"}:
        return "distilabel"
    lowered = {name.lower(): value for name, value in data.items()}
    if {"chosen", "rejected"} <= lowered.keys():
        return "hh" if "prompt" not in lowered and _holds_transcripts(lowered) else "trl"
    if {"chosen_response", "rejected_response"} <= lowered.keys():
        return "trl"
    guess = guess_mapping(list(data))
    if "prompt" in guess and "response" in guess:
        return "flat"
    if answer_columns(lowered):
        return "pairs"
    if is_tree(data) or list_column(data):
        return "ranked"
    return "distilabel" if names & {*GENERATIONS} and names & {"instruction", "input", "prompt"} else None


def _holds_transcripts(data: dict[str, Any]) -> bool:
    return all(isinstance(data.get(side), str) and TURN in data[side] for side in ("chosen", "rejected"))


def _no_prompt(source: Source, format: str, rejects: tuple[Reject, ...]) -> PoolError:
    first = rejects[0]
    told = any(words in first.reason for words in ("--map", "only texts are compared"))
    remedy = "" if told else " Mend the file, or say which column is which (--map prompt=COLUMN)."
    return PoolError(
        f"{source.place} has no usable prompt when read as {format}: {len(rejects):,} rows were rejected, "
        f"first line {first.line}: {first.reason}.{remedy}"
    )
