"""The history of decisions: append, read the state that holds, take back. Runs inside the caller's transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

from sqlalchemy import Select, func, insert, select
from sqlalchemy.orm import Session, aliased

from curation.errors import StoreError
from curation.review.store import chain
from curation.review.store.decisions import Decision, DecisionWord, NewDecision
from curation.review.store.row_hash import rows_hash
from curation.review.store.tables import DecisionRow

CARRIED = "carried-"  # begins the action of decisions that came over from another batch: nobody's act to take back

FILED = "file-"  # begins the action of decisions that came from a file


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


def body_of(rows: Sequence[DecisionRow]) -> dict[str, object]:
    """What the audit log keeps of an act: its entries, and a hash over all that their rows hold."""
    return {"rows": as_rows(rows), "entries": rows_hash(rows)}


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


def digest_of(held: Mapping[str, DecisionRow]) -> str:
    """sha256 over what holds for every pair: decision, reason, note, who, version. held: of `newest`."""
    plain = [[key, r.decision, r.reason, r.note, r.who, r.version] for key, r in sorted(held.items())]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def decisions_digest(session: Session, batch_id: str) -> str:
    """`digest_of` what holds now."""
    return digest_of(newest(session, batch_id))


def decide(
    session: Session,
    batch_id: str,
    new: Sequence[NewDecision],
    *,
    who: str,
    expected_versions: Mapping[str, int] | None = None,
    carried: bool = False,
    filed: bool = False,
) -> list[Decision]:
    """Add one entry per decision, in one act. Raises StoreError where a pair has moved on from the expected version.

    expected_versions: pair_id -> version the person was looking at (0: undecided); pairs not named are not checked.
    carried: they came over from another batch, so that undo passes them by. filed: they come from a file.
    """
    held = newest(session, batch_id, new[0].pair_id if len(new) == 1 else None)
    at, action = datetime.now(UTC), (CARRIED if carried else FILED if filed else "") + uuid4().hex
    rows: list[dict[str, Any]] = []
    at_version: dict[str, int] = {}
    for decision in new:
        current = held.get(decision.pair_id)
        version = at_version.get(decision.pair_id, current.version if current is not None else 0)
        expected = (expected_versions or {}).get(decision.pair_id)
        if expected is not None and expected != version:
            raise _conflict(decision.pair_id, current, expected)
        at_version[decision.pair_id] = version + 1
        rows.append(
            {
                "batch_id": batch_id, "pair_id": decision.pair_id, "decision": decision.decision,
                "reason": decision.reason, "note": decision.note, "who": who, "at": at, "version": version + 1,
                "action": action, "undo_of": None,
            }
        )  # fmt: skip
    return _logged(session, "decide", _written(session, rows, action), who)


def _logged(session: Session, kind: str, rows: Sequence[DecisionRow], who: str) -> list[Decision]:
    """The entries of one act as plain values, once the audit log holds them."""
    if rows:
        chain.append(session, kind, who=who, batch_id=rows[0].batch_id, body=body_of(rows))
    return [as_decision(row) for row in rows]


def _written(session: Session, rows: list[dict[str, Any]], action: str) -> list[DecisionRow]:
    """Add the entries of one act and read them back with their numbers, in order: two statements however many."""
    if not rows:
        return []
    session.execute(insert(DecisionRow), rows)
    query = select(DecisionRow).where(DecisionRow.batch_id == rows[0]["batch_id"], DecisionRow.action == action)
    if len(rows) == 1:
        query = query.where(DecisionRow.pair_id == rows[0]["pair_id"])  # by the index, however long the history
    return list(session.scalars(query.order_by(DecisionRow.id)))


def undo(session: Session, batch_id: str, *, who: str) -> list[Decision]:
    """Take back everything the person's last act decided; pairs that somebody else decided since keep theirs.

    Raises StoreError when somebody else decided all of them since.
    """
    last = session.scalars(_standing(batch_id, who).limit(1)).first()
    if last is None:
        return []
    targets = session.scalars(_standing(batch_id, who).where(DecisionRow.action == last.action)).all()
    done, refused = _take_back(session, targets, who=who)
    if refused is not None and not done:
        raise refused
    return _logged(session, "undo", done, who)


def _standing(batch_id: str, who: str) -> Select[DecisionRow]:
    """This person's decisions that were not taken back (and do not themselves take one back), newest first.

    What was carried over is no act of hers.
    """
    undo = aliased(DecisionRow)
    return (
        select(DecisionRow)
        .where(
            DecisionRow.batch_id == batch_id,
            DecisionRow.undo_of.is_(None),
            ~select(undo.id).where(undo.undo_of == DecisionRow.id).exists(),
            DecisionRow.who == who,
            ~DecisionRow.action.startswith(CARRIED),
        )
        .order_by(DecisionRow.id.desc())
    )


def _take_back(
    session: Session, targets: Sequence[DecisionRow], *, who: str
) -> tuple[list[DecisionRow], StoreError | None]:
    """Append, as one act, the state before each of `targets`, newest first and all of one act.

    Reads the histories of their pairs at once: fifty thousand pairs one by one would hold the database for minutes.
    Returns the new entries, and why the last one that somebody decided since could not be taken back.
    """
    batch_id = targets[0].batch_id
    mine = DecisionRow.batch_id == batch_id
    pairs = (
        DecisionRow.pair_id == targets[0].pair_id
        if len(targets) == 1
        else DecisionRow.pair_id.in_(select(DecisionRow.pair_id).where(mine, DecisionRow.action == targets[0].action))
    )
    histories: dict[str, list[DecisionRow]] = {}
    last: dict[str, int] = {}
    for row in session.scalars(select(DecisionRow).where(mine, pairs).order_by(DecisionRow.version)):
        histories.setdefault(row.pair_id, []).append(row)
        last[row.pair_id] = row.version
    undone = {row.undo_of for history in histories.values() for row in history}
    at, action = datetime.now(UTC), uuid4().hex
    rows: list[dict[str, Any]] = []
    refused: StoreError | None = None
    for target in targets:
        history = histories[target.pair_id]
        top = next(row for row in reversed(history) if row.undo_of is None and row.id not in undone)
        if top.id != target.id:
            refused = _decided_since(target, top)
            continue
        before = next((row for row in history if row.version == target.version - 1), None)
        last[target.pair_id] += 1
        undone.add(target.id)
        rows.append(
            {
                "batch_id": batch_id, "pair_id": target.pair_id, "decision": before.decision if before else "clear",
                "reason": before.reason if before else None, "note": before.note if before else None, "who": who,
                "at": at, "version": last[target.pair_id], "action": action, "undo_of": target.id,
            }
        )  # fmt: skip
    return _written(session, rows, action), refused


def _decided_since(target: DecisionRow, top: DecisionRow) -> StoreError:
    return StoreError(
        f"pair {target.pair_id} was decided ({top.decision}) by {top.who} at {_when(top.at)} after your "
        f"{target.decision}; taking yours back would overwrite theirs: decide the pair anew instead."
    )


def _conflict(pair_id: str, current: DecisionRow | None, expected: int) -> StoreError:
    if current is None:
        return StoreError(f"pair {pair_id} is undecided, not at version {expected}; reload the page and decide again.")
    return StoreError(
        f"pair {pair_id} was decided ({current.decision}) by {current.who} at {_when(current.at)}, after what you "
        "were looking at; nothing was overwritten: reload the page and decide again."
    )


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
