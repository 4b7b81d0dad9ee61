"""The audit log as a hash chain: every act is written once, bound to the act before it, in the caller's transaction.

An event's hash covers its own content and the hash before it, so that no row can be changed, dropped, put in or moved
without breaking every hash after it. What the chain cannot tell alone, that its end was cut off, the signed head
tells up to itself, and the head that is kept beside the key (`anchor`) beyond it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from curation.review.store.anchor import APPENDED
from curation.review.store.failures import BUSY_SECONDS
from curation.review.store.records import as_json
from curation.review.store.tables import EventRow

START = "0" * 64
_LOCK = 7_260_519_607  # of PostgreSQL's advisory locks: writers of the chain take turns


@dataclass(frozen=True)
class Event:
    """One act. body: plain JSON values. at: UTC, ISO 8601."""

    id: int
    at: str
    who: str
    kind: str
    batch_id: str | None
    body: dict[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True)
class Break:
    """Where a chain does not hold, and why."""

    event: int
    what: str


def take_turns(session: Session) -> None:
    """Wait, up to BUSY_SECONDS, until no other writer is at work, and keep them waiting until the transaction ends.

    To be called before the first read. SQLite does so when a writing transaction begins; PostgreSQL would show two
    writers the same state: the same first administrator, the same version of a pair, the same end of the chain.
    """
    if session.get_bind().dialect.name == "postgresql":
        wait = "SELECT set_config('lock_timeout', :wait, true), pg_advisory_xact_lock(:key)"
        session.execute(text(wait), {"wait": f"{BUSY_SECONDS}s", "key": _LOCK})


def append(session: Session, kind: str, *, who: str, batch_id: str | None, body: dict[str, Any]) -> Event:
    """Add an act to the end of the chain. The transaction has taken its turn."""
    last = session.scalars(select(EventRow).order_by(EventRow.id.desc()).limit(1)).first()
    previous = last.hash if last is not None else START
    at = datetime.now(UTC).isoformat(timespec="microseconds")
    content = json.dumps(as_json(body), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    row = EventRow(
        at=at, who=who, kind=kind, batch_id=batch_id, body=content, previous=previous,
        hash=event_hash(at, who, kind, batch_id, content, previous),
    )  # fmt: skip
    session.add(row)
    session.flush()
    session.info[APPENDED] = row
    return event_of(row)


def event_hash(at: str, who: str, kind: str, batch_id: str | None, body: str, previous: str) -> str:
    """sha256 over an event's content and the hash before it, hex."""
    return hashlib.sha256(json.dumps([previous, at, who, kind, batch_id, body]).encode()).hexdigest()


def events(session: Session, batch_id: str | None = None) -> list[Event]:
    """Events in their order, of one batch or all."""
    query = select(EventRow).order_by(EventRow.id)
    if batch_id is not None:
        query = query.where(EventRow.batch_id == batch_id)
    return [event_of(row) for row in session.scalars(query)]


def broken(rows: Iterable[EventRow]) -> Break | None:
    """The first place where the rows, in their order, are not a whole chain; None where they are."""
    before = START
    for row in rows:
        if row.previous != before:
            return Break(row.id, "does not follow the event before it: one was put in, taken out or moved")
        if row.hash != _hash_of(row):
            return Break(row.id, "was changed: its content does not give its hash")
        before = row.hash
    return None


def _hash_of(row: EventRow) -> str | None:
    """The hash that a row's content gives; None for content that no event has (SQLite takes any type anywhere)."""
    try:
        return event_hash(row.at, row.who, row.kind, row.batch_id, row.body, row.previous)
    except TypeError:
        return None


def all_rows(session: Session) -> list[EventRow]:
    """Every row of the chain, by id."""
    return list(session.scalars(select(EventRow).order_by(EventRow.id)))


def event_of(row: EventRow) -> Event:
    """A row as a plain value; a body that is no JSON object reads as an empty one."""
    try:
        body = json.loads(row.body)
    except (TypeError, ValueError, RecursionError):
        body = {}
    body = body if isinstance(body, dict) else {}
    return Event(row.id, row.at, row.who, row.kind, row.batch_id, body, row.previous, row.hash)
