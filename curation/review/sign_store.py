"""The store's part for sign-off, people and the audit log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review import chain, roles
from curation.review.label_store import labels_digest
from curation.review.ledger import newest
from curation.review.tables import BatchRow, DecisionRow, ExportRow, LabelRow


class SignStore:
    """Methods of `Store` on signatures, people and the chain of events."""

    _write: Callable[[Callable[[Session], Any]], Any]
    _read: Callable[[Callable[[Session], Any]], Any]

    def record_signature(
        self, batch_id: str, *, who: str, body: dict[str, Any], second_person: bool
    ) -> tuple[chain.Event, str]:
        """Note that `who` signs a batch; body: what is signed. Returns the event and the digest of the decisions.

        Raises StoreError when `who` may not sign, or made the batch and a second person is asked for.
        """

        def work(session: Session) -> tuple[chain.Event, str]:
            roles.require(session, who, "approver")
            row = session.get(BatchRow, batch_id)
            if row is None:
                raise StoreError(f"batch {batch_id} is not in the review store; open the batch folder first.")
            if second_person and row.created_by == who:
                raise StoreError(
                    f"{who} proposed batch {batch_id} and may not sign it as well; let a second person sign, or set "
                    "CURATION_SELF_SIGN=1 where one person does both."
                )
            digest = decisions_digest(session, batch_id)
            event = chain.append(session, "sign", who=who, batch_id=batch_id, body={**body, "decisions": digest})
            return event, digest

        return cast(tuple[chain.Event, str], self._write(work))

    def events(self, batch_id: str | None = None) -> list[chain.Event]:
        """The audit log, of one batch or whole, oldest first."""
        return cast(list[chain.Event], self._read(lambda session: chain.events(session, batch_id)))

    def check_log(self, batch_id: str) -> list[str]:
        """What in the store does not agree with the audit log, in words; empty where all of it does."""
        return cast(list[str], self._read(lambda session: _check(session, batch_id)))

    def decisions_digest(self, batch_id: str) -> str:
        """sha256 over what holds for every pair of a batch."""
        return cast(str, self._read(lambda session: decisions_digest(session, batch_id)))

    def set_role(self, name: str, role: str, *, who: str) -> None:
        """Give a person a role; takes an administrator once anybody is named."""

        def work(session: Session) -> None:
            roles.require(session, who, "admin")
            roles.set_role(session, name, role)
            chain.append(session, "role", who=who, batch_id=None, body={"name": name, "role": role})

        self._write(work)

    def people(self) -> dict[str, str]:
        """name -> role; empty in single-user mode."""
        return cast(dict[str, str], self._read(roles.people))

    def require(self, who: str, role: roles.Role) -> None:
        """Raise StoreError unless `who` has the role, or a higher one."""
        self._read(lambda session: roles.require(session, who, role))


def decisions_digest(session: Session, batch_id: str) -> str:
    """sha256 over what holds for every pair: decision, reason, note, who, version."""
    held = newest(session, batch_id)
    plain = [[key, r.decision, r.reason, r.note, r.who, r.version] for key, r in sorted(held.items())]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def _check(session: Session, batch_id: str) -> list[str]:
    found = []
    broken = chain.broken(chain.all_rows(session))
    if broken is not None:
        found.append(f"audit log, event {broken.event}: {broken.what}")
    log = chain.events(session, batch_id)
    acts = [event for event in log if event.kind in ("decide", "undo", "earlier")]
    told = {(row[0], row[4]): (*row[:4], event.who) for event in acts for row in event.body.get("rows", [])}
    kept = {
        (r.pair_id, r.version): (r.pair_id, r.decision, r.reason, r.note, r.who)
        for r in session.scalars(select(DecisionRow).where(DecisionRow.batch_id == batch_id))
    }
    for key in sorted({*told, *kept}):
        pair, version = key
        if key not in kept:
            found.append(f"decisions: version {version} of pair {pair} is gone; the audit log has it")
        elif key not in told:
            found.append(f"decisions: version {version} of pair {pair} stands in no event of the audit log")
        elif told[key] != kept[key]:
            found.append(f"decisions: version {version} of pair {pair} is not what the audit log says")
    sent = sorted((e.body.get("file"), e.body.get("sha256"), e.body.get("rows")) for e in log if e.kind == "export")
    rows = session.scalars(select(ExportRow).where(ExportRow.batch_id == batch_id))
    if sorted((r.file, r.sha256, r.rows) for r in rows) != sent:
        found.append("exports: the table is not what the audit log says")
    imports = [event for event in log if event.kind == "import"]
    labels = list(session.scalars(select(LabelRow).where(LabelRow.batch_id == batch_id)))
    if imports and labels_digest(labels) != imports[-1].body.get("labels"):
        found.append("labels: they are not those of the last import in the audit log")
    if labels and not imports:
        found.append("labels: no import in the audit log brought them")
    return found
