"""The store's part for a batch that goes on: all that is read before the next one is solved, and the one act after."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.pool.labels import Label
from curation.review.store import ledger
from curation.review.store.batches import NewBatch, note_batch
from curation.review.store.decisions import Decision, NewDecision, new_decision
from curation.review.store.labels import labels_of
from curation.review.store.tables import BatchRow
from curation.review.store.transactions import Transactions


@dataclass(frozen=True)
class Standing:
    """What the store says of a batch that is to go on, read once.

    decisions: pair_id -> what holds. folders, labels: by id, of the recorded batches that it went on from itself.
    """

    decisions: dict[str, Decision]
    folders: dict[str, str]
    labels: dict[str, list[Label]]

    def said(self, *words: str) -> list[str]:
        """Pairs on which one of the words holds, in the order of deciding."""
        return [key for key, made in self.decisions.items() if made.decision in words]


class GoingOnStore(Transactions):
    """Methods of `Store` on batches that go on."""

    def standing(self, batch_id: str, pool_fingerprint: str, previous: Sequence[str]) -> Standing:
        """What there is to know before the next batch is solved.

        previous: labelled batches of the same pool that this one went on from.
        """

        def work(session: Session) -> Standing:
            held = ledger.newest(session, batch_id)
            known = select(BatchRow).where(BatchRow.pool_fingerprint == pool_fingerprint)
            found = session.scalars(known.where(BatchRow.batch_id.in_(previous)))
            folders = {row.batch_id: row.folder for row in found}
            return Standing(
                {key: ledger.as_decision(row) for key, row in held.items()},
                folders,
                {key: labels_of(session, key) for key in folders},
            )

        return self._read(work)

    def go_on(
        self,
        old: str,
        new: NewBatch,
        *,
        present: Collection[str],
        gone: Collection[str],
        publish: Callable[[], None],
        who: str,
        rejection: NewDecision | None = None,
        unrecorded: NewBatch | None = None,
    ) -> int:
        """Record the batch in which batch `old` goes on, all or nothing: it, what is carried over, the rejection.

        Approvals and flags of pairs that both batches hold are written anew by `who`, with a note of whose they were,
        unless the new batch has been decided there. present: its pairs. gone: pairs of the old one that were taken for
        rejected. publish: puts the folder of the new batch in its place; it comes last, so that no recorded batch is
        without its folder, and may be called again. rejection: of a pair whose place the new batch fills otherwise.
        unrecorded: the old batch, where it may not be recorded yet. Returns how many decisions were carried over.
        Raises StoreError where other pairs were rejected meanwhile, or that one was decided.
        """

        def work(session: Session, who: str) -> int:
            if unrecorded is not None:
                note_batch(session, unrecorded, who=who)
            held = ledger.newest(session, old)
            late = {key for key, made in held.items() if made.decision == "reject"} - set(gone)
            if late:
                raise StoreError(f"{len(late)} pairs were rejected meanwhile, so nothing was written; do it again.")
            note_batch(session, new, who=who)
            known = ledger.newest(session, new.batch_id)
            carried = [
                new_decision(key, made.decision, made.reason, f"{made.decision} by {made.who} in batch {old}")
                for key, made in held.items()
                if key in present and key not in known and made.decision in ("approve", "flag")
            ]
            if carried:
                ledger.decide(session, new.batch_id, carried, who=who, carried=True)
            if rejection is not None:
                seen = None if rejection.version is None else {rejection.pair_id: rejection.version}
                ledger.decide(session, old, [rejection], who=who, expected_versions=seen)
            publish()
            return len(carried)

        return self._act(who, "reviewer", work)
