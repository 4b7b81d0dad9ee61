"""The review store: pools, batches, decisions, scenarios, exports. Every method is one short transaction.

A store may be shared by threads (a cached resource of the dashboard) and by processes on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review import chain, ledger, roles
from curation.review.comment_store import CommentStore
from curation.review.connection import DATABASE_ERRORS, database_url, describe, in_words, open_engine
from curation.review.decisions import Counts, Decision, NewDecision, new_decision
from curation.review.label_store import LabelStore
from curation.review.records import Scenario, StoredBatch, StoredExport, StoredPool, as_json
from curation.review.sign_store import SignStore
from curation.review.tables import BatchRow, DecisionRow, ExportRow, PoolRow, ScenarioRow
from curation.review.view_store import ViewStore

T = TypeVar("T")
R = TypeVar("R", StoredPool, StoredBatch, Scenario, StoredExport)
ATTEMPTS = 5


def open_store(url: str | None = None) -> Store:
    """The store at `url`, else at DATABASE_URL, else `<workspace>/pairwright.db`; created and migrated as needed.

    Raises StoreError naming the place and the remedy when it cannot be opened.
    """
    address = database_url(url)
    return Store(open_engine(address), describe(address))


class Store(LabelStore, SignStore, ViewStore, CommentStore):
    """Made by `open_store`. All methods raise StoreError, and nothing else, when the database refuses."""

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self.place = place

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    # Pools and batches --------------------------------------------------------------------------------------------

    def record_pool(self, fingerprint: str, name: str, path: str | Path | None = None) -> StoredPool:
        """Note that a pool was opened now; a known one gets the new name and time, and the path if one is given."""

        def work(session: Session) -> StoredPool:
            row = session.merge(PoolRow(fingerprint=fingerprint, name=name, opened_at=datetime.now(UTC)))
            if path is not None:
                row.path = str(path)
            session.flush()
            return _plain(StoredPool, row)

        return self._write(work)

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
    ) -> StoredBatch:
        """Note a batch of a recorded pool. A known batch keeps everything but its folder, which may have moved."""
        _named(who)

        def work(session: Session) -> StoredBatch:
            _known_pool(session, pool_fingerprint)
            row = session.get(BatchRow, batch_id)
            if row is None:
                row = BatchRow(
                    batch_id=batch_id, folder=str(folder), pool_fingerprint=pool_fingerprint,
                    features_fingerprint=features_fingerprint, budget=budget, settings=as_json(settings),
                    objective=objective, lower_bound=lower_bound, realised=realised, created_at=datetime.now(UTC),
                    created_by=who,
                )  # fmt: skip
                session.add(row)
                chain.append(session, "batch", who=who, batch_id=batch_id, body={"pool": pool_fingerprint})
            elif row.pool_fingerprint != pool_fingerprint:
                raise StoreError(
                    f"batch {batch_id} is recorded for pool {row.pool_fingerprint}, not {pool_fingerprint}; "
                    "the manifest was changed: solve again."
                )
            else:
                row.folder = str(folder)
            session.flush()
            return _plain(StoredBatch, row)

        return self._write(work)

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
    ) -> list[Decision]:
        """Different decisions for different pairs (a file's), all or none, as one act.

        carried: they came over from another batch, so that undo passes them by.
        """
        _named(who)
        checked = [new_decision(row.pair_id, row.decision, row.reason, row.note) for row in new]
        if not checked:
            return []

        def work(session: Session) -> list[Decision]:
            roles.require(session, who, "reviewer")
            _known_batch(session, batch_id)
            rows = ledger.append(
                session, batch_id, checked, who=who, expected_versions=expected_versions, carried=carried
            )
            chain.append(session, "decide", who=who, batch_id=batch_id, body={"rows": ledger.as_rows(rows)})
            return [ledger.as_decision(row) for row in rows]

        return self._write(work)

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
        _named(who)

        def work(session: Session) -> Decision | None:
            roles.require(session, who, "reviewer")
            row = ledger.undo_last(session, batch_id, who=who)
            if row is None:
                return None
            chain.append(session, "undo", who=who, batch_id=batch_id, body={"rows": ledger.as_rows([row])})
            return ledger.as_decision(row)

        return self._write(work)

    def undo_action(self, batch_id: str, *, who: str) -> list[Decision]:
        """Take back the person's whole last act, such as a `decide_many`; empty when none is left.

        Pairs that somebody else decided since keep that decision; StoreError when that is all of them.
        """
        _named(who)

        def work(session: Session) -> list[Decision]:
            roles.require(session, who, "reviewer")
            rows = ledger.undo_last_action(session, batch_id, who=who)
            if rows:
                chain.append(session, "undo", who=who, batch_id=batch_id, body={"rows": ledger.as_rows(rows)})
            return [ledger.as_decision(row) for row in rows]

        return self._write(work)

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

    # Scenarios ----------------------------------------------------------------------------------------------------

    def save_scenario(
        self,
        pool_fingerprint: str,
        name: str,
        *,
        settings: Mapping[str, Any],
        figures: Mapping[str, Any],
        replace: bool = False,
    ) -> Scenario:
        """Keep settings and figures under a name. Raises StoreError for a name in use, unless `replace`."""
        name = name.strip()
        if not name:
            raise StoreError("a scenario needs a name; it is empty.")

        def work(session: Session) -> Scenario:
            _known_pool(session, pool_fingerprint)
            row = session.scalars(_scenarios(pool_fingerprint).where(ScenarioRow.name == name)).one_or_none()
            if row is not None and not replace:
                raise StoreError(f"a scenario named {name!r} exists for this pool; choose another name or replace it.")
            if row is None:
                row = ScenarioRow(pool_fingerprint=pool_fingerprint, name=name)
                session.add(row)
            row.settings, row.figures, row.created_at = as_json(settings), as_json(figures), datetime.now(UTC)
            session.flush()
            return _plain(Scenario, row)

        return self._write(work)

    def scenarios(self, pool_fingerprint: str) -> list[Scenario]:
        """The scenarios of a pool, oldest first."""
        query = _scenarios(pool_fingerprint)
        return self._read(lambda session: [_plain(Scenario, row) for row in session.scalars(query)])

    def delete_scenario(self, pool_fingerprint: str, name: str) -> bool:
        """Remove a scenario; whether there was one."""
        query = delete(ScenarioRow).where(ScenarioRow.pool_fingerprint == pool_fingerprint, ScenarioRow.name == name)
        return self._write(lambda session: bool(session.connection().execute(query).rowcount))

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
    ) -> StoredExport:
        """Note a file that went out, with the hash of its content."""
        _named(who)

        def work(session: Session) -> StoredExport:
            roles.require(session, who, "approver" if signed else "reviewer")
            _known_batch(session, batch_id)
            row = ExportRow(
                batch_id=batch_id, format=format, file=str(file), sha256=sha256, rows=rows, left_out=as_json(left_out),
                signed=signed, who=who, at=datetime.now(UTC),
            )  # fmt: skip
            session.add(row)
            session.flush()
            body = {"format": format, "file": str(file), "sha256": sha256, "rows": rows, "signed": signed}
            chain.append(session, "export", who=who, batch_id=batch_id, body=body)
            return _plain(StoredExport, row)

        return self._write(work)

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

    def _write(self, work: Callable[[Session], T]) -> T:
        """Run in a transaction of its own; again when another process of a server database wrote the same version."""
        try:
            for _ in range(ATTEMPTS - 1):
                with suppress(IntegrityError):
                    return self._transaction(work)
            return self._transaction(work)
        except DATABASE_ERRORS as error:
            raise in_words(error, self.place) from error

    def _transaction(self, work: Callable[[Session], T]) -> T:
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            return work(session)


def _plain(kind: type[R], row: Any) -> R:
    """A row as the frozen value of the same field names."""
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)})


def _scenarios(pool_fingerprint: str) -> Any:
    return select(ScenarioRow).where(ScenarioRow.pool_fingerprint == pool_fingerprint).order_by(ScenarioRow.id)


def _named(who: str) -> None:
    if not who.strip():
        raise StoreError("nobody is named; say who decides (--as NAME, or the name in the sidebar).")


def _known_pool(session: Session, fingerprint: str) -> None:
    if session.get(PoolRow, fingerprint) is None:
        raise StoreError(f"pool {fingerprint} is not in the review store; open the pool first.")


def _known_batch(session: Session, batch_id: str) -> None:
    if session.get(BatchRow, batch_id) is None:
        raise StoreError(f"batch {batch_id} is not in the review store; open the batch folder first.")
