"""The review store: pools, batches, decisions, scenarios, exports. Every method is one short transaction.

A store may be shared by threads (a cached resource of the dashboard) and by processes on one machine.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.store import anchor, binding, chain, ledger, roles
from curation.review.store.binding import Binding
from curation.review.store.comments import CommentStore
from curation.review.store.connection import database_url, describe, open_engine
from curation.review.store.decisions import Counts, Decision, NewDecision, new_decision
from curation.review.store.failures import DATABASE_ERRORS, in_words, passing
from curation.review.store.labels import LabelStore
from curation.review.store.names import person_name
from curation.review.store.records import StoredBatch, StoredExport, StoredPool, as_json
from curation.review.store.roles import COMMAND_LINE
from curation.review.store.row_hash import rows_hash
from curation.review.store.scenarios import ScenarioStore, known_pool
from curation.review.store.signatures import SignStore
from curation.review.store.tables import BatchRow, DecisionRow, ExportRow, PoolRow
from curation.review.store.views import ViewStore

T = TypeVar("T")
R = TypeVar("R", StoredPool, StoredBatch, StoredExport)
ATTEMPTS = 8


def open_store(url: str | None = None) -> Store:
    """The store at `url`, else at DATABASE_URL, else `<workspace>/pairwright.db`; created and migrated as needed.

    Raises StoreError naming the place and the remedy when it cannot be opened.
    """
    address = database_url(url)
    return Store(open_engine(address), describe(address))


class Store(LabelStore, SignStore, ScenarioStore, ViewStore, CommentStore):
    """Made by `open_store`. All methods raise StoreError, and nothing else, when the database refuses."""

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self.place = place

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    # Pools and batches --------------------------------------------------------------------------------------------

    def record_pool(
        self, fingerprint: str, name: str, path: str | Path | None = None, *, who: str = COMMAND_LINE
    ) -> StoredPool:
        """Note that a pool was opened now; a known one gets the new name and time, and the path if one is given."""

        def work(session: Session, who: str) -> StoredPool:
            return _plain(StoredPool, _noted_pool(session, fingerprint, name, path))

        return self._act(who, "reviewer", work)

    def pools(self) -> list[StoredPool]:
        """Pools that were opened, the last one first."""
        query = select(PoolRow).order_by(PoolRow.opened_at.desc())
        return self._read(lambda session: [_plain(StoredPool, row) for row in session.scalars(query)])

    def record_batch(
        self,
        batch_id: str,
        *,
        folder: str | Path,
        pool_fingerprint: str,
        features_fingerprint: str,
        budget: float,
        settings: Mapping[str, Any],
        objective: float | None,
        lower_bound: float | None,
        realised: float | None,
        who: str,
        author: str | None = None,
        pool_name: str | None = None,
        role: roles.Role = "reviewer",
        bound: Binding | None = None,
    ) -> StoredBatch:
        """Note a batch of a recorded pool. A known batch keeps everything but its folder, which may have moved.

        bound: what the folder holds; a known batch is refused where that is not what was recorded.

        author: who solved it, which is who proposed it; without one, whoever records it is. pool_name: notes the pool
        too. role: what it takes, where this is the beginning of an act that takes more than a reviewer.
        """
        author = None if author is None else person_name(str(author))

        def work(session: Session, who: str) -> StoredBatch:
            if pool_name is not None:
                _noted_pool(session, pool_fingerprint, pool_name, None)
            known_pool(session, pool_fingerprint)
            row = session.get(BatchRow, batch_id)
            if row is None:
                row = BatchRow(
                    batch_id=batch_id, folder=str(folder), pool_fingerprint=pool_fingerprint,
                    features_fingerprint=features_fingerprint, budget=budget, settings=as_json(settings),
                    objective=objective, lower_bound=lower_bound, realised=realised, created_at=datetime.now(UTC),
                    created_by=author or who,
                )  # fmt: skip
                session.add(row)
                binding.write(session, row, bound, who=who, author=author)
            elif row.pool_fingerprint != pool_fingerprint:
                raise StoreError(
                    f"batch {batch_id} is recorded for pool {row.pool_fingerprint}, not {pool_fingerprint}; "
                    "the manifest was changed: solve again."
                )
            else:
                if bound is not None:
                    binding.meet(session, row, bound, folder=str(folder), who=who)
                row.folder = str(folder)
            session.flush()
            return _plain(StoredBatch, row)

        return self._act(who, role, work)

    def binding(self, batch_id: str) -> Binding | None:
        """What a batch was bound to when it was recorded; None where nothing has bound it yet."""
        return self._read(lambda session: binding.recorded(session, batch_id))

    def batches(self, pool_fingerprint: str | None = None) -> list[StoredBatch]:
        """Batches, of one pool or of all, the newest first."""
        query = select(BatchRow).order_by(BatchRow.created_at.desc())
        if pool_fingerprint is not None:
            query = query.where(BatchRow.pool_fingerprint == pool_fingerprint)
        return self._read(lambda session: [_plain(StoredBatch, row) for row in session.scalars(query)])

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
        carried: bool = False,
        filed: bool = False,
    ) -> list[Decision]:
        """Different decisions for different pairs (a file's), all or none, as one act.

        carried: they came over from another batch, so that undo passes them by. filed: they come from a file, which
        `review.register.decide_from_file` looks at when the file comes again.
        """
        checked = [new_decision(row.pair_id, row.decision, row.reason, row.note) for row in new]
        if not checked:
            return []

        def work(session: Session, who: str) -> list[Decision]:
            _known_batch(session, batch_id)
            rows = ledger.append(
                session, batch_id, checked, who=who, expected_versions=expected_versions, carried=carried, filed=filed
            )
            chain.append(session, "decide", who=who, batch_id=batch_id, body=ledger.body_of(rows))
            return [ledger.as_decision(row) for row in rows]

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

    def undo(self, batch_id: str, *, who: str) -> Decision | None:
        """Take back this person's last decision by appending the state before it; None when none is left.

        Repeated, it walks further back. Raises StoreError when somebody else decided the pair since.
        """

        def work(session: Session, who: str) -> Decision | None:
            row = ledger.undo_last(session, batch_id, who=who)
            if row is None:
                return None
            chain.append(session, "undo", who=who, batch_id=batch_id, body=ledger.body_of([row]))
            return ledger.as_decision(row)

        return self._act(who, "reviewer", work)

    def undo_action(self, batch_id: str, *, who: str) -> list[Decision]:
        """Take back the person's whole last act, such as a `decide_many`; empty when none is left.

        Pairs that somebody else decided since keep that decision; StoreError when that is all of them.
        """

        def work(session: Session, who: str) -> list[Decision]:
            rows = ledger.undo_last_action(session, batch_id, who=who)
            if rows:
                chain.append(session, "undo", who=who, batch_id=batch_id, body=ledger.body_of(rows))
            return [ledger.as_decision(row) for row in rows]

        return self._act(who, "reviewer", work)

    def counts(self, batch_id: str, total: int) -> Counts:
        """How many of the `total` pairs of the batch are approved, rejected, flagged and undecided."""
        words = [decision.decision for decision in self.decisions(batch_id).values()]
        approved, rejected, flagged = (words.count(word) for word in ("approve", "reject", "flag"))
        undecided = total - approved - rejected - flagged
        if undecided < 0:
            raise StoreError(
                f"batch {batch_id} has {approved + rejected + flagged} decided pairs, more than its {total} pairs; "
                "these decisions belong to another batch: check the folder."
            )
        return Counts(approved, rejected, flagged, undecided, total)

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
            _known_batch(session, batch_id)
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
            return _plain(StoredExport, row)

        return self._act(who, "approver" if signed else "reviewer", work)

    def exports(self, batch_id: str | None = None) -> list[StoredExport]:
        """Files that went out, of one batch or of all, oldest first."""
        query = select(ExportRow).order_by(ExportRow.id)
        if batch_id is not None:
            query = query.where(ExportRow.batch_id == batch_id)
        return self._read(lambda session: [_plain(StoredExport, row) for row in session.scalars(query)])

    # Transactions -------------------------------------------------------------------------------------------------

    def _read(self, work: Callable[[Session], T]) -> T:
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                return work(session)
        except DATABASE_ERRORS as error:
            raise in_words(error, self.place) from error

    def _act(self, who: str, role: roles.Role, work: Callable[[Session, str], T]) -> T:
        """The one way to write: in a transaction of its own, asks whether `who` has `role`, then does the work.

        work: is given the session and the name under which the person acts. Writers of a server database take turns
        from before the first read, so that what an act rests on still holds when it is written. Where the database
        ends a transaction for another's sake it is done again. The new end of the log is then remembered outside the
        database. Raises StoreError for who may not.
        """

        def asked(session: Session) -> T:
            chain.take_turns(session)
            return work(session, roles.require(session, who, role))

        for attempt in range(ATTEMPTS):
            try:
                with Session(self._writer, expire_on_commit=False) as session, session.begin():
                    done = asked(session)
                    head = anchor.head_of(session, self.place)
                anchor.keep(head)
                return done
            except DATABASE_ERRORS as error:
                if attempt == ATTEMPTS - 1 or not passing(error):
                    raise in_words(error, self.place) from error
                time.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")


def _plain(kind: type[R], row: Any) -> R:
    """A row as the frozen value of the same field names."""
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)})


def _noted_pool(session: Session, fingerprint: str, name: str, path: str | Path | None) -> PoolRow:
    row = session.merge(PoolRow(fingerprint=fingerprint, name=name, opened_at=datetime.now(UTC)))
    if path is not None:
        row.path = str(path)
    session.flush()
    return row


def _known_batch(session: Session, batch_id: str) -> None:
    if session.get(BatchRow, batch_id) is None:
        raise StoreError(f"batch {batch_id} is not in the review store; open the batch folder first.")
