"""A hash over whole rows, kept in the event that wrote them: it covers the columns that the event does not spell.

Beside the hash stand the columns it was made of, so that columns which come later change no hash that is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from curation.review.store.tables import Base

Covered = dict[str, Any]  # {"columns": [...], "sha256": "..."}


def rows_hash(rows: Iterable[Base], *, leave: Sequence[str] = ()) -> Covered:
    """Hash of rows of one table, whatever their order, as they were read from the database. leave: columns left out."""
    every = list(rows)
    columns = [] if not every else [c.key for c in every[0].__table__.columns if c.key not in leave]
    return {"columns": columns, "sha256": _hash(every, columns)}


def same_rows(rows: Iterable[Base], kept: Any) -> bool:
    """Whether rows still give the hash that was kept of them."""
    if not isinstance(kept, dict) or not isinstance(kept.get("columns"), list):
        return False
    try:
        return _hash(list(rows), [str(column) for column in kept["columns"]]) == kept.get("sha256")
    except AttributeError:
        return False


def _hash(rows: Sequence[Base], columns: Sequence[str]) -> str:
    spelt = sorted(json.dumps([_plain(getattr(row, name)) for name in columns], sort_keys=True) for row in rows)
    return hashlib.sha256(json.dumps(spelt).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The same for what was written and what is read back: moments in UTC, other odd values as their text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if value is None or isinstance(value, str | int | float | dict | list):
        return value
    return repr(value)
