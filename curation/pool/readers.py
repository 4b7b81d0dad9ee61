"""Reading a candidate pool: one entry for every format, with every row accounted for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, get_args

from curation.errors import PoolError
from curation.pool.lines import Row
from curation.pool.readers_common import Collected
from curation.pool.readers_flat import FIELDS, MappingChoices, guess_mapping, read_flat, resolve_mapping
from curation.pool.readers_preference import TURN, read_preference
from curation.pool.readers_rows import read_canonical, read_distilabel, read_ultrafeedback
from curation.pool.schema import Pool, PoolFile, Reject, Truth
from curation.pool.sources import Source, open_source

Format = Literal["canonical", "trl", "hh", "ultrafeedback", "distilabel", "flat"]
FORMATS: tuple[str, ...] = get_args(Format)
KNOWN_FORMATS = (
    "canonical (prompt, responses), trl (chosen, rejected, maybe prompt), hh (chosen and rejected transcripts), "
    "ultrafeedback (instruction, completions), distilabel (instruction, generations), "
    "flat (a prompt and a response column)"
)
_PEEK = 100

__all__ = ["FIELDS", "FORMATS", "MappingChoices", "column_mapping_choices", "detect_format", "read_pool"]


def read_pool(
    path: str | Path, *, format: str = "auto", mapping: dict[str, str] | None = None, name: str | None = None
) -> PoolFile:
    """The pool in a file, in a folder of data files, or on the hub.

    format: one of FORMATS or `auto`. mapping: field -> column of a flat file; giving one implies `flat` under `auto`.
    Unusable rows become `rejects` with line and reason. Raises PoolError when nothing can be read: missing, empty or
    damaged file, wrong encoding, unknown format or mapping, no usable prompt.
    """
    if format != "auto" and format not in FORMATS:
        raise PoolError(f"format {format!r} is unknown; use auto or one of {', '.join(FORMATS)}.")
    source = open_source(path)
    first, rows = _peek(source)
    if format == "auto":
        format = "flat" if mapping else _detected(source, first)
    collected = Collected()
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
    elif format == "flat":
        read_flat(rows, collected, resolve_mapping(mapping, _columns(first), source.place))
    else:
        read_preference(rows, collected, transcripts=format == "hh")


def _peek(source: Source) -> tuple[list[Row], Iterator[Row]]:
    rows = iter(source.rows)
    first = list(islice(rows, _PEEK))
    return first, chain(first, rows)


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
        "Rename the columns, or give a format or a column mapping."
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
    guess = guess_mapping(list(data))
    return "flat" if "prompt" in guess and "response" in guess else None


def _holds_transcripts(data: dict[str, Any]) -> bool:
    return all(isinstance(data.get(side), str) and TURN in data[side] for side in ("chosen", "rejected"))


def _no_prompt(source: Source, format: str, rejects: tuple[Reject, ...]) -> PoolError:
    first = rejects[0]
    return PoolError(
        f"{source.place} has no usable prompt when read as {format}: {len(rejects):,} rows were rejected, "
        f"first line {first.line}: {first.reason}. Mend the file or choose another format."
    )
