"""The review store, made of its parts, with decisions and exports. Every method is one short transaction.

A store may be shared by threads (a cached resource of the dashboard) and by processes on one machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curation.review.store import chain, ledger
from curation.review.store.batches import BatchStore
from curation.review.store.comments import CommentStore
from curation.review.store.connection import database_url, describe, open_engine
from curation.review.store.decisions import Decision, NewDecision, new_decision
from curation.review.store.going_on import GoingOnStore
from curation.review.store.labels import LabelStore
from curation.review.store.records import StoredExport, as_json, plain_value
from curation.review.store.row_hash import rows_hash
from curation.review.store.scenarios import ScenarioStore
from curation.review.store.signatures import SignStore
from curation.review.store.tables import DecisionRow, ExportRow
from curation.review.store.transactions import known_batch
from curation.review.store.views import ViewStore


def open_store(url: str | None = None) -> Store:
    """The store at `url`, else at DATABASE_URL, else `<workspace>/pairwright.db`; created and migrated as needed.

    Raises StoreError naming the place and the remedy when it cannot be opened.
    """
    address = database_url(url)
    return Store(open_engine(address), describe(address))


class Store(BatchStore, GoingOnStore, LabelStore, SignStore, ScenarioStore, ViewStore, CommentStore):
    """Made by `open_store`. All methods raise StoreError, and nothing else, when the database refuses."""

    # Decisions ----------------------------------------------------------------------------------------------------

    def decide(
        self,
        batch_id: str,
        pair_id: str,
        decision: str,
        *,
        who: str,
        reason: str | None = None,
        note: str | None = None,
        expected_version: int | None = None,
    ) -> Decision:
        """Write one decision (approve, reject, flag, clear). A rejection needs a reason.

        expected_version: the version the person was looking at, 0 for none; a newer one raises StoreError saying who
        decided and when, and nothing is written.
        """
        new = [new_decision(pair_id, decision, reason, note)]
        expected = None if expected_version is None else {pair_id: expected_version}
        return self.record_decisions(batch_id, new, who=who, expected_versions=expected)[0]

    def decide_many(
        self,
        batch_id: str,
        pair_ids: Iterable[str],
        decision: str,
        *,
        who: str,
        reason: str | None = None,
        note: str | None = None,
        expected_versions: Mapping[str, int] | None = None,
    ) -> list[Decision]:
        """The same decision for many pairs, all or none, as one act."""
        new = [new_decision(pair_id, decision, reason, note) for pair_id in dict.fromkeys(pair_ids)]
        return self.record_decisions(batch_id, new, who=who, expected_versions=expected_versions)

    def record_decisions(
        self,
        batch_id: str,
        new: Sequence[NewDecision],
        *,
        who: str,
        expected_versions: Mapping[str, int] | None = None,
        filed: bool = False,
    ) -> list[Decision]:
        """Different decisions for different pairs (a file's), all or none, as one act.

        filed: they come from a file, which
        `review.register.decide_from_file` looks at when the file comes again.
        """
        checked = [new_decision(row.pair_id, row.decision, row.reason, row.note) for row in new]
        if not checked:
            return []

        def work(session: Session, who: str) -> list[Decision]:
            known_batch(session, batch_id)
            return ledger.decide(session, batch_id, checked, who=who, expected_versions=expected_versions, filed=filed)

        return self._act(who, "reviewer", work)

    def decisions(self, batch_id: str) -> dict[str, Decision]:
        """pair_id -> what holds now, for every pair that was ever decided; `clear` means undecided again."""

        def work(session: Session) -> dict[str, Decision]:
            return {key: ledger.as_decision(row) for key, row in ledger.newest(session, batch_id).items()}

        return self._read(work)

    def decisions_after(self, batch_id: str, entry: int) -> tuple[list[Decision], int]:
        """Entries with a number above `entry`, in their order, and how many the batch has in all."""
        mine = select(DecisionRow).where(DecisionRow.batch_id == batch_id)
        count = select(func.count()).select_from(DecisionRow).where(DecisionRow.batch_id == batch_id)

        def work(session: Session) -> tuple[list[Decision], int]:
            total = int(session.scalar(count) or 0)
            rows = session.scalars(mine.where(DecisionRow.id > entry).order_by(DecisionRow.id))
            return [ledger.as_decision(row) for row in rows], total

        return self._read(work)

    def history(self, batch_id: str, pair_id: str | None = None) -> list[Decision]:
        """Every entry, of one pair or of the whole batch, oldest first."""
        query = select(DecisionRow).where(DecisionRow.batch_id == batch_id).order_by(DecisionRow.id)
        if pair_id is not None:
            query = query.where(DecisionRow.pair_id == pair_id)
        return self._read(lambda session: [ledger.as_decision(row) for row in session.scalars(query)])

    def undo_action(self, batch_id: str, *, who: str) -> list[Decision]:
        """Take back the person's whole last act, such as a `decide_many`; empty when none is left.

        Repeated, it walks further back. Pairs that somebody else decided since keep that decision; StoreError when
        that is all of them.
        """
        return self._act(who, "reviewer", lambda session, who: ledger.undo(session, batch_id, who=who))

    # Exports ------------------------------------------------------------------------------------------------------

    def record_export(
        self,
        batch_id: str,
        *,
        format: str,
        file: str | Path,
        sha256: str,
        rows: int,
        left_out: Mapping[str, int],
        signed: bool,
        who: str,
        answers: str = "binary",
    ) -> StoredExport:
        """Note a file that went out, with the hash of its content. answers: other than binary stand in the log."""

        def work(session: Session, who: str) -> StoredExport:
            known_batch(session, batch_id)
            row = ExportRow(
                batch_id=batch_id, format=format, file=str(file), sha256=sha256, rows=rows, left_out=as_json(left_out),
                signed=signed, who=who, at=datetime.now(UTC),
            )  # fmt: skip
            session.add(row)
            session.flush()
            body = {"format": format, "file": str(file), "sha256": sha256, "rows": rows, "signed": signed}
            body |= {} if answers == "binary" else {"answers": answers}
            session.refresh(row)
            body["row"] = rows_hash([row])
            chain.append(session, "export", who=who, batch_id=batch_id, body=body)
            return plain_value(StoredExport, row)

        return self._act(who, "approver" if signed else "reviewer", work)

    def exports(self, batch_id: str | None = None) -> list[StoredExport]:
        """Files that went out, of one batch or of all, oldest first."""
        query = select(ExportRow).order_by(ExportRow.id)
        if batch_id is not None:
            query = query.where(ExportRow.batch_id == batch_id)
        return self._read(lambda session: [plain_value(StoredExport, row) for row in session.scalars(query)])
