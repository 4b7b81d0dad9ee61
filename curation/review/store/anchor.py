"""The newest head of the audit log, kept beside the signing key, where who can write the database cannot reach.

The chain finds every change before its end; that its end was cut off, or that all of it was put back to an earlier
state, only somebody tells who remembers the end. `Store` keeps it here after every act, on machines that have a key.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from curation.review.store.tables import EventRow
from curation.settings import signing_key_file
from curation.system.file_lock import locked

log = logging.getLogger(__name__)
APPENDED = "appended event"  # in a session's info: the last one of this transaction


@dataclass(frozen=True)
class Head:
    """The end of a log as it was last seen. first: hash of its first event, which names the log; at: of the event."""

    first: str
    event: int
    hash: str
    at: str
    place: str


def heads_file() -> Path | None:
    """Where heads are kept; None on a machine without a signing key."""
    try:
        key = signing_key_file()
        return key.with_name(f"{key.name}.heads.json") if key.is_file() else None
    except (OSError, RuntimeError):
        return None


def kept_heads() -> dict[str, Head]:
    """Hash of a log's first event -> its newest head as seen here. Raises OSError or ValueError for a damaged file."""
    path = heads_file()
    if path is None or not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(first): Head(**{**head, "event": int(head["event"])}) for first, head in found.items()}
    except (AttributeError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"it holds no heads ({error})") from None


def head_of(session: Session, place: str) -> Head | None:
    """The head that the transaction made; None where it wrote no event, or the log has lost the head kept before.

    A log that has lost it must not be anchored anew, or the loss would be forgotten.
    """
    event: EventRow | None = session.info.get(APPENDED)
    if event is None or heads_file() is None:
        return None
    first = session.scalars(select(EventRow.hash).order_by(EventRow.id).limit(1)).first() or event.hash
    try:
        known = kept_heads().get(first)
    except (OSError, ValueError):
        return None  # `verify` names the damaged file
    before = None if known is None else session.scalar(select(EventRow.hash).where(EventRow.id == known.event))
    if known is not None and before != known.hash:
        return None
    return Head(first, event.id, event.hash, event.at, place)


def keep(head: Head | None) -> None:
    """Remember a head, unless a later one of the same log is kept. A place that cannot be written is logged."""
    path = heads_file()
    if head is None or path is None:
        return
    try:
        with locked(path.with_suffix(".lock")):
            heads = kept_heads()
            known = heads.get(head.first)
            if known is not None and known.event >= head.event:
                return
            plain: dict[str, Any] = {key: asdict(value) for key, value in {**heads, head.first: head}.items()}
            staging = path.with_name(f".{path.name}.{os.getpid()}")
            staging.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
            staging.replace(path)
    except (OSError, ValueError) as error:
        log.warning("the newest head of the audit log could not be kept in %s: %s", path, error)


@dataclass(frozen=True)
class Remembered:
    """What this machine remembers of logs. Read it before the log itself: acts go on meanwhile."""

    path: Path | None
    heads: dict[str, Head]
    damage: str | None = None


def remembered() -> Remembered:
    """The heads kept here, and why they cannot be read where they cannot."""
    path = heads_file()
    try:
        return Remembered(path, kept_heads())
    except (OSError, ValueError) as error:
        return Remembered(path, {}, str(error))


def compare(rows: Sequence[EventRow], place: str, known: Remembered) -> tuple[list[str], list[str]]:
    """(problems, notes) of a log, all of its rows by id, against the head kept here."""
    if known.path is None:
        return [], ["no signing key is kept here, so events taken from the end of the audit log would not be noticed"]
    if known.damage is not None:
        return [f"{known.path}: the heads of audit logs, kept beside the key, cannot be read ({known.damage})"], []
    problems, notes = [], []
    first = rows[0].hash if rows else None
    present = {(row.hash, row.id) for row in rows}
    for head in known.heads.values():
        if (head.first != first and head.place != place) or (head.hash, head.event) in present:
            continue
        if head.first == first or (rows and str(rows[0].at) <= head.at):
            problems.append(
                f"audit log: event {head.event} of {head.at[:19]}, seen on this machine, is gone or was made anew: the "
                "log was cut off, put back or rewritten (if the database was put back on purpose, take this log's "
                f"entry out of {known.path})"
            )
        else:
            notes.append(f"another audit log was kept at this place until {head.at[:19]}; this one began later")
    return problems, notes
