"""What the store hands out besides decisions: plain frozen values, and JSON that every database takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from curation.errors import StoreError

T = TypeVar("T", "StoredBatch", "StoredExport")


@dataclass(frozen=True)
class StoredBatch:
    """A batch folder, with the figures of its manifest (criterion units; None where unknown)."""

    batch_id: str
    folder: str
    pool_fingerprint: str
    features_fingerprint: str
    budget: float
    settings: dict[str, Any]
    objective: float | None
    lower_bound: float | None
    realised: float | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True)
class Scenario:
    """Design settings with the figures they gave, under a name that is unique within the pool."""

    name: str
    pool_fingerprint: str
    settings: dict[str, Any]
    figures: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class StoredExport:
    """A file that went out. left_out: reason -> pairs."""

    id: int
    batch_id: str
    format: str
    file: str
    sha256: str
    rows: int
    left_out: dict[str, int]
    signed: bool
    who: str
    at: datetime


def plain_value(kind: type[T], row: Any) -> T:
    """A row as the frozen value of the same field names."""
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)})


def as_json(value: Any) -> Any:
    """The value in JSON's own types: tuples as lists, paths as text, and inf, -inf and nan as those words.

    Raises StoreError for anything else, so that nothing is stored that reads back as something different.
    """
    if isinstance(value, Mapping):
        return {check_text(str(key)): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, float):
        return float(value)  # numpy's float64 is a float, and is stored as one
    if isinstance(value, str):
        return check_text(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, Path):
        return check_text(str(value))
    if hasattr(value, "item"):  # other numpy scalars
        return as_json(value.item())
    raise StoreError(f"a value of type {type(value).__name__} cannot be stored; give text, numbers, lists or objects.")


def check_text(text: str, *, nul: bool = True) -> str:
    """The text, if a database can keep it. Raises StoreError for half a surrogate pair and, unless `nul`, for NUL."""
    odd = "" if nul or "\0" not in text else "\0"
    if not odd and not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            odd = text[error.start]
    if odd:
        start = max(text.index(odd) - 20, 0)
        near = text[start : start + 41].encode("unicode_escape").decode()
        raise StoreError(
            f"the text {near!r} holds U+{ord(odd):04X}, which is no character that can be kept (a name or a file that "
            "is not UTF-8?) and cannot be used here; write it without."
        )
    return text
