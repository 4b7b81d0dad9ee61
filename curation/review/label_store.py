"""The store's part for labels that come back: imports are written whole, later answers replace earlier ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.pool.labels import Label, same_answer
from curation.review import chain, roles
from curation.review.records import as_json
from curation.review.row_hash import rows_hash
from curation.review.tables import BatchRow, ImportRow, LabelRow

T = TypeVar("T")


@dataclass(frozen=True)
class StoredImport:
    """A labels file that was imported. counts: what was in it; new, replaced, same: of its labels."""

    id: int
    batch_id: str
    file: str
    sha256: str
    format: str
    counts: dict[str, Any]
    who: str
    at: datetime


class LabelStore:
    """Methods of `Store` on labels."""

    _act: Callable[[str, roles.Role, Callable[[Session, str], Any]], Any]
    _read: Callable[[Callable[[Session], Any]], Any]

    def record_labels(
        self,
        batch_id: str,
        labels: Sequence[Label],
        *,
        file: str | Path,
        sha256: str,
        format: str,
        counts: Mapping[str, Any],
        who: str,
    ) -> StoredImport:
        """Keep the labels of a file, all or none. An answer to a presentation that is known replaces the one kept.

        Raises StoreError when the batch is not recorded or nobody is named.
        """

        def work(session: Session, who: str) -> StoredImport:
            if session.get(BatchRow, batch_id) is None:
                raise StoreError(f"batch {batch_id} is not in the review store; open the batch folder first.")
            known = {_key(row): row for row in session.scalars(select(LabelRow).where(LabelRow.batch_id == batch_id))}
            made = ImportRow(
                batch_id=batch_id, file=str(file), sha256=sha256, format=format, counts={}, who=who,
                at=datetime.now(UTC),
            )  # fmt: skip
            session.add(made)
            session.flush()
            new = replaced = same = 0
            for label in labels:
                row = known.get((label.pair_id, label.annotator, label.left, label.copy))
                if row is None:
                    new += 1
                    session.add(
                        LabelRow(
                            import_id=made.id, batch_id=batch_id, pair_id=label.pair_id, annotator=label.annotator,
                            outcome=label.outcome, left=label.left, copy=label.copy, seconds=label.seconds,
                            strength=label.strength, both_bad=label.both_bad,
                        )
                    )  # fmt: skip
                elif same_answer(_label(row), label):
                    same += 1
                else:
                    replaced += 1
                    row.outcome, row.seconds, row.import_id = label.outcome, label.seconds, made.id
                    row.strength, row.both_bad = label.strength, label.both_bad
            made.counts = as_json({**counts, "new": new, "replaced": replaced, "same": same})
            session.flush()
            session.refresh(made)
            kept = select(LabelRow).where(LabelRow.batch_id == batch_id).execution_options(populate_existing=True)
            held = list(session.scalars(kept))
            body = {
                "file": str(file), "sha256": sha256, "format": format, "labels": labels_digest(held),
                "row": rows_hash([made]), "label_rows": rows_hash(held),
            }  # fmt: skip
            chain.append(session, "import", who=who, batch_id=batch_id, body=body)
            return _stored(made)

        return cast(StoredImport, self._act(who, "reviewer", work))

    def labels(self, batch_id: str) -> list[Label]:
        """Every label of a batch, in the order of import."""
        query = select(LabelRow).where(LabelRow.batch_id == batch_id).order_by(LabelRow.id)
        return cast(list[Label], self._read(lambda session: [_label(row) for row in session.scalars(query)]))

    def imports(self, batch_id: str) -> list[StoredImport]:
        """The files that were imported for a batch, oldest first."""
        query = select(ImportRow).where(ImportRow.batch_id == batch_id).order_by(ImportRow.id)
        return cast(list[StoredImport], self._read(lambda session: [_stored(row) for row in session.scalars(query)]))


def labels_digest(rows: Iterable[LabelRow]) -> str:
    """sha256 over all labels of a batch, whatever their order.

    Strength stands in it where there is one: labels without have the digest they had before strength was known.
    """
    plain = sorted(
        [row.pair_id, row.annotator, row.left, row.copy, row.outcome, row.seconds or 0.0]
        + ([] if row.strength is None else [row.strength, bool(row.both_bad)])
        for row in rows
    )
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def _key(row: LabelRow) -> tuple[str, str, str, int]:
    return row.pair_id, row.annotator, row.left, row.copy


def _label(row: LabelRow) -> Label:
    return Label(
        row.pair_id, row.outcome, row.annotator, row.left, row.copy, row.seconds, row.strength, bool(row.both_bad)  # type: ignore[arg-type]
    )  # fmt: skip


def _stored(row: ImportRow) -> StoredImport:
    return StoredImport(row.id, row.batch_id, row.file, row.sha256, row.format, row.counts, row.who, row.at)
