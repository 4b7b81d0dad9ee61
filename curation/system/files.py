"""Reading files that somebody else may have written: regular, of a bounded size, JSON told from what is none.

Errors are of the class the caller names, so that a pool, a batch or labels each fail as what they are.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from curation.errors import CurationError


def read_bounded(path: str | Path, *, most: int, error: type[CurationError]) -> bytes:
    """The bytes of a regular file of at most `most` bytes. Raises `error` for any other, before it is read."""
    source = Path(path)
    try:
        status = source.stat()
        if not stat.S_ISREG(status.st_mode):
            raise error(f"{shown_path(source)} is not a regular file; give a file.")
        if status.st_size > most:
            raise error(
                f"{shown_path(source)} has {status.st_size:,} bytes, over the {most:,} such a file may have; check "
                "that it is the right one."
            )
        with source.open("rb") as handle:
            data = handle.read(status.st_size + 1)  # no more: a buffer of that size is set aside first
    except OSError as problem:
        raise error(f"{shown_path(source)} cannot be read ({problem.strerror or problem}); check the path.") from None
    except ValueError:  # a NUL in the name
        raise error(f"{shown_path(source)} is no name of a file; check the path.") from None
    if len(data) > status.st_size:
        raise error(f"{shown_path(source)} grew while it was read; wait until it is whole.")
    return data


def read_text(path: str | Path, *, most: int, error: type[CurationError], remedy: str) -> str:
    """`read_bounded` as UTF-8 text, without a byte order mark. Raises `error`."""
    try:
        return read_bounded(path, most=most, error=error).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(
            f"{shown_path(path)} is not UTF-8 text: byte offset {problem.start}, {problem.reason}; {remedy}."
        ) from None


def parse_json(text: str | bytes, *, place: str, error: type[CurationError], remedy: str) -> Any:
    """The JSON value in a text. Raises `error` for what is no JSON, nested too deeply, or a number of many digits."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        raise error(
            f"{place} is not JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}; {remedy}."
        ) from None
    except UnicodeDecodeError as problem:
        raise error(f"{place} is not UTF-8 at byte offset {problem.start}; {remedy}.") from None
    except RecursionError:
        raise error(f"{place} is not usable JSON: brackets are nested too deeply; {remedy}.") from None
    except ValueError:  # an integer of thousands of digits
        raise error(f"{place} is not usable JSON: a number has too many digits; {remedy}.") from None


def shown_path(path: str | Path) -> str:
    """A path for messages: at most 200 characters, what cannot be printed escaped."""
    text = str(path)
    text = text if len(text) <= 200 else f"{text[:197]}..."
    return text if text.isprintable() else ascii(text)[1:-1]


def out_of_memory(what: str = "this") -> str:
    """What is said where memory ran out."""
    return (
        f"there is not enough memory for {what}; close other programs, allow the process more, or use a smaller pool, "
        "fewer features or a smaller budget."
    )
