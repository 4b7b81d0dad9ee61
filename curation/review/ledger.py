"""The history of decisions: append, read the state that holds, take back. Runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast
from uuid import uuid4

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from curation.errors import StoreError
from curation.review.decisions import Decision, DecisionWord, NewDecision
from curation.review.tables import DecisionRow


def as_decision(row: DecisionRow) -> Decision:
    """A row of the table as a plain value."""
    return Decision(
        id=row.id, batch_id=row.batch_id, pair_id=row.pair_id, decision=cast(DecisionWord, row.decision),
        reason=row.reason, note=row.note, who=row.who, at=row.at, version=row.version, action=row.action,
        undo_of=row.undo_of,
    )  # fmt: skip


def as_rows(rows: Sequence[DecisionRow]) -> list[list[object]]:
    """What the audit log keeps of entries: pair, decision, reason, note, version."""
    return [[row.pair_id, row.decision, row.reason, row.note, row.version] for row in rows]


def newest(session: Session, batch_id: str, pair_id: str | None = None) -> dict[str, DecisionRow]:
    """pair_id -> the entry that holds, of one pair or of all pairs that were ever decided."""
    last = select(DecisionRow.pair_id, func.max(DecisionRow.version).label("version"))
    last = last.where(DecisionRow.batch_id == batch_id)
    if pair_id is not None:
        last = last.where(DecisionRow.pair_id == pair_id)
    held = last.group_by(DecisionRow.pair_id).subquery()
    query = (
        select(DecisionRow)
        .join(held, (DecisionRow.pair_id == held.c.pair_id) & (DecisionRow.version == held.c.version))
        .where(DecisionRow.batch_id == batch_id)
        .order_by(DecisionRow.id)
    )
    return {row.pair_id: row for row in session.scalars(query)}


def append(
    session: Session,
    batch_id: str,
    new: Sequence[NewDecision],
    *,
    who: str,
    expected_versions: Mapping[str, int] | None = None,
) -> list[DecisionRow]:
    """Add one entry per decision, in one act. Raises StoreError where a pair has moved on from the expected version.

    expected_versions: pair_id -> version the person was looking at (0: undecided); pairs not named are not checked.
    """
    held = newest(session, batch_id, new[0].pair_id if len(new) == 1 else None)
    at, action = datetime.now(UTC), uuid4().hex
    rows = []
    for decision in new:
        current = held.get(decision.pair_id)
        version = current.version if current is not None else 0
        expected = (expected_versions or {}).get(decision.pair_id)
        if expected is not None and expected != version:
            raise _conflict(decision.pair_id, current, expected)
        row = DecisionRow(
            batch_id=batch_id, pair_id=decision.pair_id, decision=decision.decision, reason=decision.reason,
            note=decision.note, who=who, at=at, version=version + 1, action=action,
        )  # fmt: skip
        held[decision.pair_id] = row
        rows.append(row)
    session.add_all(rows)
    session.flush()
    return rows


def undo_last(session: Session, batch_id: str, *, who: str) -> DecisionRow | None:
    """Take back the person's last decision that still stands; None when there is none.

    Raises StoreError when somebody else decided the pair since.
    """
    target = session.scalars(_standing(batch_id, who).limit(1)).first()
    if target is None:
        return None
    return _take_back(session, target, who=who, action=uuid4().hex)


def undo_last_action(session: Session, batch_id: str, *, who: str) -> list[DecisionRow]:
    """Take back everything the person's last act decided; pairs that somebody else decided since keep theirs.

    Raises StoreError when somebody else decided all of them since.
    """
    last = session.scalars(_standing(batch_id, who).limit(1)).first()
    if last is None:
        return []
    action, done = uuid4().hex, []
    refused: StoreError | None = None
    for target in session.scalars(_standing(batch_id, who).where(DecisionRow.action == last.action)).all():
        try:
            done.append(_take_back(session, target, who=who, action=action))
        except StoreError as error:
            refused = error
    if refused is not None and not done:
        raise refused
    return done


def _standing(batch_id: str, who: str | None) -> Select[DecisionRow]:
    """Decisions that were not taken back (and do not themselves take one back), newest first."""
    undo = aliased(DecisionRow)
    query = select(DecisionRow).where(
        DecisionRow.batch_id == batch_id,
        DecisionRow.undo_of.is_(None),
        ~select(undo.id).where(undo.undo_of == DecisionRow.id).exists(),
    )
    if who is not None:
        query = query.where(DecisionRow.who == who)
    return query.order_by(DecisionRow.id.desc())


def _take_back(session: Session, target: DecisionRow, *, who: str, action: str) -> DecisionRow:
    """Append the state before `target`, which must be the last standing decision of its pair."""
    same_pair = _standing(target.batch_id, None).where(DecisionRow.pair_id == target.pair_id)
    top = session.scalars(same_pair.order_by(None).order_by(DecisionRow.version.desc()).limit(1)).one()
    if top.id != target.id:
        raise StoreError(
            f"pair {target.pair_id} was decided ({top.decision}) by {top.who} at {_when(top.at)} after your "
            f"{target.decision}; taking yours back would overwrite theirs: decide the pair anew instead."
        )
    of_pair = select(DecisionRow).where(DecisionRow.batch_id == target.batch_id, DecisionRow.pair_id == target.pair_id)
    before = session.scalars(of_pair.where(DecisionRow.version == target.version - 1)).one_or_none()
    last = session.scalars(of_pair.order_by(DecisionRow.version.desc()).limit(1)).one()
    row = DecisionRow(
        batch_id=target.batch_id, pair_id=target.pair_id, decision=before.decision if before else "clear",
        reason=before.reason if before else None, note=before.note if before else None, who=who,
        at=datetime.now(UTC), version=last.version + 1, action=action, undo_of=target.id,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def _conflict(pair_id: str, current: DecisionRow | None, expected: int) -> StoreError:
    if current is None:
        return StoreError(f"pair {pair_id} is undecided, not at version {expected}; reload the page and decide again.")
    return StoreError(
        f"pair {pair_id} was decided ({current.decision}) by {current.who} at {_when(current.at)}, after what you "
        "were looking at; nothing was overwritten: reload the page and decide again."
    )


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
