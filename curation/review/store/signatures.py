"""The store's part for sign-off, people and the audit log."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.store import anchor, chain, roles
from curation.review.store.ledger import decisions_digest, digest_of, newest
from curation.review.store.log_check import LogReport, check
from curation.review.store.names import look
from curation.review.store.tables import EventRow
from curation.review.store.transactions import Transactions, known_batch


class SignStore(Transactions):
    """Methods of `Store` on signatures, people and the chain of events."""

    def record_signature(
        self, batch_id: str, *, who: str, body: dict[str, Any], second_person: bool, expected: str | None = None
    ) -> tuple[chain.Event, str]:
        """Note that `who` signs a batch; body: what is signed. Returns the event and the digest of the decisions.

        expected: digest of the decisions that the checklist was made from; others that came meanwhile are not signed.
        Raises StoreError when `who` may not sign, or made the batch and a second person is asked for.
        """

        def work(session: Session, who: str) -> tuple[chain.Event, str]:
            row = known_batch(session, batch_id)
            if second_person and look(row.created_by) == look(who):
                raise StoreError(
                    f"{who} proposed batch {batch_id} and may not sign it as well; let a second person sign, or set "
                    "CURATION_SELF_SIGN=1 where one person does both."
                )
            digest = decisions_digest(session, batch_id)
            if expected not in (None, digest):
                raise StoreError(
                    f"decisions of batch {batch_id} changed while it was being signed, so nothing was signed; look at "
                    "the checklist again, then sign."
                )
            event = chain.append(session, "sign", who=who, batch_id=batch_id, body={**body, "decisions": digest})
            return event, digest

        return self._act(who, "approver", work)

    def events(self, batch_id: str | None = None) -> list[chain.Event]:
        """The audit log, of one batch or whole, oldest first."""
        return self._read(lambda session: chain.events(session, batch_id))

    def check_log(self, batch_id: str) -> list[str]:
        """What in the store does not agree with the audit log, in words; empty where all of it does."""
        return self.log_report(batch_id).problems

    def log_report(self, batch_id: str) -> LogReport:
        """Everything in the store about a batch against the audit log, and its end against the head kept here."""
        known = anchor.remembered()
        return self._read(lambda session: check(session, batch_id, place=self.place, known=known))

    def keep_head(self) -> None:
        """Remember the newest head of the log on this machine, as every act does."""

        def work(session: Session) -> anchor.Head | None:
            last = session.scalars(select(EventRow).order_by(EventRow.id.desc()).limit(1)).first()
            session.info[anchor.APPENDED] = last
            return anchor.head_of(session, self.place)

        anchor.keep(self._read(work))

    def decided(self, batch_id: str) -> tuple[dict[str, str], str]:
        """What holds for every pair that was ever decided (pair_id -> word), and the digest over it: of one moment."""

        def work(session: Session) -> tuple[dict[str, str], str]:
            held = newest(session, batch_id)
            return {key: row.decision for key, row in held.items()}, digest_of(held)

        return self._read(work)

    def set_role(self, name: str, role: str, *, who: str) -> None:
        """Give a person a role, or take it away (`none`); takes an administrator once anybody is named."""

        def work(session: Session, who: str) -> None:
            kept = roles.set_role(session, name, role)
            chain.append(session, "role", who=who, batch_id=None, body={"name": kept, "role": role})

        self._act(who, "admin", work)

    def people(self) -> dict[str, str]:
        """name -> role; empty in single-user mode."""
        return self._read(roles.people)

    def require(self, who: str, role: roles.Role) -> str:
        """The name under which `who` acts. Raises StoreError unless that person has the role, or a higher one."""
        return self._read(lambda session: roles.require(session, who, role))

    def may(self, who: str, role: roles.Role) -> bool:
        """Whether `who` has the role, or a higher one."""
        return self._read(lambda session: roles.may(session, who, role))
