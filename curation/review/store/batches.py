"""The store's part for pools and batches: what is recorded of a batch folder, and what it is bound to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.store import binding, roles
from curation.review.store.binding import Binding
from curation.review.store.names import person_name
from curation.review.store.records import StoredBatch, as_json, plain_value
from curation.review.store.roles import COMMAND_LINE
from curation.review.store.tables import BatchRow, DecisionRow, PoolRow
from curation.review.store.transactions import Transactions, known_pool


@dataclass(frozen=True)
class NewBatch:
    """A batch folder to be recorded, with the figures of its manifest.

    author: who solved it, which is who proposed it; without one, whoever records it is. pool_name: notes the pool too.
    bound: what the folder holds; a known batch is refused where that is not what was recorded.
    """

    batch_id: str
    folder: str | Path
    pool_fingerprint: str
    features_fingerprint: str
    budget: float
    settings: Mapping[str, Any]
    objective: float | None
    lower_bound: float | None
    realised: float | None
    author: str | None = None
    pool_name: str | None = None
    bound: Binding | None = None


class BatchStore(Transactions):
    """Methods of `Store` on pools and batches."""

    def record_pool(
        self, fingerprint: str, name: str, path: str | Path | None = None, *, who: str = COMMAND_LINE
    ) -> None:
        """Note that a pool was opened now; a known one gets the new name and time, and the path if one is given."""
        self._act(who, "reviewer", lambda session, who: _note_pool(session, fingerprint, name, path))

    def record_batch(self, batch: NewBatch, *, who: str, role: roles.Role = "reviewer") -> StoredBatch:
        """Note a batch of a recorded pool. A known batch keeps everything but its folder, which may have moved.

        role: what it takes, where this is the beginning of an act that takes more than a reviewer.
        """
        return self._act(who, role, lambda session, who: note_batch(session, batch, who=who))

    def binding(self, batch_id: str) -> Binding | None:
        """What a batch was bound to when it was recorded; None where nothing has bound it yet."""
        return self._read(lambda session: binding.recorded(session, batch_id))

    def batches(self, pool_fingerprint: str | None = None) -> list[StoredBatch]:
        """Batches, of one pool or of all, the newest first."""
        query = select(BatchRow).order_by(BatchRow.created_at.desc())
        if pool_fingerprint is not None:
            query = query.where(BatchRow.pool_fingerprint == pool_fingerprint)
        return self._read(lambda session: [plain_value(StoredBatch, row) for row in session.scalars(query)])

    def tallies(self, pool_fingerprint: str) -> dict[str, dict[str, int]]:
        """batch_id -> how many of its pairs hold approve, reject or flag, of a pool's decided batches."""
        last = (
            select(DecisionRow.batch_id, DecisionRow.pair_id, func.max(DecisionRow.version).label("version"))
            .join(BatchRow, BatchRow.batch_id == DecisionRow.batch_id)
            .where(BatchRow.pool_fingerprint == pool_fingerprint)
            .group_by(DecisionRow.batch_id, DecisionRow.pair_id)
            .subquery()
        )
        same = [DecisionRow.batch_id == last.c.batch_id, DecisionRow.pair_id == last.c.pair_id]
        query = (
            select(DecisionRow.batch_id, DecisionRow.decision, func.count())
            .join(last, and_(*same, DecisionRow.version == last.c.version))
            .where(DecisionRow.decision != "clear")
            .group_by(DecisionRow.batch_id, DecisionRow.decision)
        )

        def work(session: Session) -> dict[str, dict[str, int]]:
            found: dict[str, dict[str, int]] = {}
            for batch_id, word, count in session.execute(query):
                found.setdefault(batch_id, {})[word] = int(count)
            return found

        return self._read(work)


def note_batch(session: Session, batch: NewBatch, *, who: str) -> StoredBatch:
    """`BatchStore.record_batch` inside the caller's transaction."""
    author = None if batch.author is None else person_name(str(batch.author))
    if batch.pool_name is not None:
        _note_pool(session, batch.pool_fingerprint, batch.pool_name, None)
    known_pool(session, batch.pool_fingerprint)
    row = session.get(BatchRow, batch.batch_id)
    if row is None:
        row = BatchRow(
            batch_id=batch.batch_id, folder=str(batch.folder), pool_fingerprint=batch.pool_fingerprint,
            features_fingerprint=batch.features_fingerprint, budget=batch.budget, settings=as_json(batch.settings),
            objective=batch.objective, lower_bound=batch.lower_bound, realised=batch.realised,
            created_at=datetime.now(UTC), created_by=author or who,
        )  # fmt: skip
        session.add(row)
        binding.write(session, row, batch.bound, who=who, author=author)
    elif row.pool_fingerprint != batch.pool_fingerprint:
        raise StoreError(
            f"batch {batch.batch_id} is recorded for pool {row.pool_fingerprint}, not {batch.pool_fingerprint}; "
            "the manifest was changed: solve again."
        )
    else:
        if batch.bound is not None:
            binding.meet(session, row, batch.bound, folder=str(batch.folder), who=who)
        row.folder = str(batch.folder)
    session.flush()
    return plain_value(StoredBatch, row)


def _note_pool(session: Session, fingerprint: str, name: str, path: str | Path | None) -> None:
    row = session.merge(PoolRow(fingerprint=fingerprint, name=name, opened_at=datetime.now(UTC)))
    if path is not None:
        row.path = str(path)
    session.flush()
