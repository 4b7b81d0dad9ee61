"""The store's part for labels: imports are written whole, later answers replace earlier ones, a settled one if seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.pool.labels import SETTLED, Label, Outcome, people_only, same_answer, settled_only
from curation.review.store import chain
from curation.review.store.records import as_json
from curation.review.store.row_hash import rows_hash
from curation.review.store.tables import ImportRow, LabelRow
from curation.review.store.transactions import Transactions, known_batch

T = TypeVar("T")
SETTLING = "settled"  # the format of the import that a settled answer is kept as
SIDES = ("a", "b", "tie")


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


@dataclass(frozen=True)
class Settled:
    """The answer that a pair was settled with. instead_of: the settled answer before it, None for the first."""

    pair_id: str
    outcome: Outcome
    who: str
    at: datetime
    instead_of: Outcome | None = None


class LabelStore(Transactions):
    """Methods of `Store` on labels."""

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
            known_batch(session, batch_id)
            made = _bring(
                session, batch_id, labels, file=str(file), sha256=sha256, format=format, counts=counts, who=who
            )
            return _stored(made)

        return self._act(who, "reviewer", work)

    def settle_pair(
        self, batch_id: str, pair_id: str, outcome: Outcome, *, who: str, instead_of: str | None = None
    ) -> Settled | None:
        """Keep the answer (a, b, tie) of a pair on which people took different sides; None where it is kept already.

        What people said and what is kept are read in the transaction that writes. Raises StoreError where people did
        not differ, and where the pair is settled otherwise than `instead_of` says.
        """
        for word in (outcome, outcome if instead_of is None else instead_of):
            if word not in SIDES:
                raise StoreError(f"{word!r:.80} is no answer a pair is settled with; use {', '.join(SIDES)}.")

        def work(session: Session, who: str) -> Settled | None:
            known_batch(session, batch_id)
            query = select(LabelRow).where(LabelRow.batch_id == batch_id, LabelRow.pair_id == pair_id)
            told = [_label(row) for row in session.scalars(query.order_by(LabelRow.id))]
            present = settled_only(told).get(pair_id)
            if present is not None and present.outcome == outcome:
                return None
            if present is not None and instead_of != present.outcome:
                raise StoreError(_kept(pair_id, present, _settlements(session, batch_id).get(pair_id), instead_of))
            if present is None:
                _check_differ(pair_id, told, instead_of)
            before = None if present is None else present.outcome
            words = f"pair {pair_id}: {outcome}" + ("" if before is None else f" instead of {before}")
            answer = {"pair": pair_id, "outcome": outcome, "instead_of": before}
            made = _bring(
                session, batch_id, [Label(pair_id, outcome, SETTLED, "a", 1, None)], file=words, format=SETTLING,
                sha256=hashlib.sha256(json.dumps([batch_id, answer], sort_keys=True).encode()).hexdigest(),
                counts=answer, who=who,
            )  # fmt: skip
            return _settled(made)

        return self._act(who, "reviewer", work)

    def settlements(self, batch_id: str) -> dict[str, Settled]:
        """pair_id -> the last act of settling it."""
        return self._read(lambda session: _settlements(session, batch_id))

    def labels(self, batch_id: str) -> list[Label]:
        """Every label of a batch, in the order of import."""
        return self._read(lambda session: labels_of(session, batch_id))

    def imports(self, batch_id: str) -> list[StoredImport]:
        """The files that were imported for a batch, oldest first."""
        query = select(ImportRow).where(ImportRow.batch_id == batch_id).order_by(ImportRow.id)
        return self._read(lambda session: [_stored(row) for row in session.scalars(query)])


def labels_of(session: Session, batch_id: str) -> list[Label]:
    """Every label of a batch, in the order of import."""
    query = select(LabelRow).where(LabelRow.batch_id == batch_id).order_by(LabelRow.id)
    return [_label(row) for row in session.scalars(query)]


def _bring(
    session: Session,
    batch_id: str,
    labels: Sequence[Label],
    *,
    file: str,
    sha256: str,
    format: str,
    counts: Mapping[str, Any],
    who: str,
) -> ImportRow:
    """Write labels and the import that brings them, and the event that covers both."""
    known = {_key(row): row for row in session.scalars(select(LabelRow).where(LabelRow.batch_id == batch_id))}
    made = ImportRow(
        batch_id=batch_id, file=file, sha256=sha256, format=format, counts={}, who=who, at=datetime.now(UTC)
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
        "file": file, "sha256": sha256, "format": format, "labels": labels_digest(held),
        "row": rows_hash([made]), "label_rows": rows_hash(held),
    }  # fmt: skip
    chain.append(session, "import", who=who, batch_id=batch_id, body=body)
    return made


def _check_differ(pair_id: str, told: Sequence[Label], instead_of: str | None) -> None:
    """Raises StoreError where people took no different sides on a pair, or a settled answer is to be replaced."""
    from curation.insight.annotators import conflicts

    people = people_only(told)
    if not conflicts(people):
        said = ", ".join(f"{label.annotator}: {label.outcome}" for label in people) or "nobody answered it"
        raise StoreError(
            f"people did not take different sides on pair {pair_id} ({said}), so there is nothing to settle; "
            "`labels DIR --conflicts` lists the pairs that can be."
        )
    if instead_of is not None:
        raise StoreError(f"pair {pair_id} is not settled yet, so {instead_of} is not what is kept; leave it out.")


def _kept(pair_id: str, present: Label, act: Settled | None, instead_of: str | None) -> str:
    """Why a settled pair is not overruled."""
    by = "" if act is None else f" by {act.who} at {act.at:%Y-%m-%d %H:%M} UTC"
    seen = "" if instead_of is None else f", not {instead_of}"
    return (
        f"pair {pair_id} was settled as {present.outcome}{by}{seen}, and that stays; to change it, say what you have "
        f"seen: instead of {present.outcome}."
    )


def _settlements(session: Session, batch_id: str) -> dict[str, Settled]:
    query = select(ImportRow).where(ImportRow.batch_id == batch_id, ImportRow.format == SETTLING)
    acts = [_settled(row) for row in session.scalars(query.order_by(ImportRow.id))]
    return {act.pair_id: act for act in acts}


def _settled(row: ImportRow) -> Settled:
    counts = row.counts if isinstance(row.counts, dict) else {}
    return Settled(str(counts.get("pair")), counts.get("outcome"), row.who, row.at, counts.get("instead_of"))  # type: ignore[arg-type]


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
