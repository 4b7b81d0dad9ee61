"""What a batch was when it was recorded: hashes in its first event, which every later use must meet.

Decisions are about the texts that somebody saw. A batch folder that holds other records under the same id is no longer
what was reviewed, so nothing is decided on it, signed, or sent out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.store import chain
from curation.review.store.row_hash import Covered, rows_hash
from curation.review.store.tables import BatchRow, EventRow

MOVES = ("folder",)  # columns of a recorded batch that may change


@dataclass(frozen=True)
class Binding:
    """records: sha256 of the audit records; lines: 16 hex digits of each; manifest: sha256 over what the design is and
    found; batch_seed: key of presentation order and opaque ids. event, at: where it is recorded; late: by a batch that
    an earlier version had recorded without."""

    records: str
    lines: tuple[str, ...]
    manifest: str
    batch_seed: str
    event: int = 0
    at: str = ""
    late: bool = False

    def difference(self, other: Binding) -> str | None:
        """How another binding differs, in words; None where it is the same. Of two seeds the recorded one holds."""
        if self.records != other.records:
            pairs = enumerate(zip_longest(self.lines, other.lines), start=1)
            line = next((n for n, (mine, theirs) in pairs if mine != theirs), None)
            return "its records are others" + ("" if line is None else f", the first on line {line}")
        return "its manifest says something else of the design" if self.manifest != other.manifest else None


def recorded(session: Session, batch_id: str) -> Binding | None:
    """The binding of a batch; None for one that an earlier version recorded, and that nothing has bound since."""
    query = select(EventRow).where(EventRow.batch_id == batch_id, EventRow.kind == "batch").order_by(EventRow.id)
    for row in session.scalars(query):
        found = binding_of(chain.event_of(row))
        if found is not None:
            return found
    return None


def binding_of(event: chain.Event) -> Binding | None:
    """The binding that a `batch` event holds, None where it holds none."""
    body = event.body
    if not all(isinstance(body.get(name), str) for name in ("records", "manifest", "batch_seed")):
        return None
    lines = body.get("lines")
    return Binding(
        body["records"], tuple(str(line) for line in lines) if isinstance(lines, list) else (), body["manifest"],
        body["batch_seed"], event.id, event.at, bool(body.get("late")),
    )  # fmt: skip


def write(
    session: Session, row: BatchRow, binding: Binding | None, *, who: str, author: str | None = None, late: bool = False
) -> None:
    """Note in the log that a batch is recorded, by whom it was solved, what it is bound to, and its row."""
    session.flush()
    session.refresh(row)
    body: dict[str, Any] = {"pool": row.pool_fingerprint, "row": batch_row_hash(row)}
    if author is not None:
        body["author"] = author
    if binding is not None:
        body |= {
            "records": binding.records, "lines": list(binding.lines), "manifest": binding.manifest,
            "batch_seed": binding.batch_seed,
        }  # fmt: skip
    chain.append(session, "batch", who=who, batch_id=row.batch_id, body=body | ({"late": True} if late else {}))


def batch_row_hash(row: BatchRow) -> Covered:
    """Hash over the columns of a recorded batch that never change."""
    return rows_hash([row], leave=MOVES)


def meet(session: Session, row: BatchRow, binding: Binding, *, folder: str, who: str) -> None:
    """Raise StoreError where a known batch comes with other records than those recorded; bind it where nothing has yet.

    A batch that an earlier version recorded is bound to what was signed, or to what lies in the folder it was recorded
    with; where there is neither, to what comes first.
    """
    known = recorded(session, row.batch_id)
    if known is not None:
        differs = known.difference(binding)
        if differs is not None:
            raise StoreError(
                f"{folder} is not batch {row.batch_id} as it was recorded on {known.at[:10]}: {differs}. Decisions "
                f"hold for what was recorded: bring that back (it was in {row.folder}), or solve with another --seed."
            )
        return
    signed = _signed_records(session, row.batch_id)
    if signed is not None and signed != binding.records:
        raise StoreError(
            f"{folder} is not batch {row.batch_id} as it was signed: its records are others; bring that folder back."
        )
    before = Path(row.folder) / "batch.jsonl"
    if signed is None and row.folder != folder and before.is_file() and _other(before, binding.records):
        raise StoreError(
            f"batch {row.batch_id} was recorded in {row.folder}, whose records are others than those in {folder}; use "
            "that folder, or solve with another --seed."
        )
    write(session, row, binding, who=who, late=True)


def _signed_records(session: Session, batch_id: str) -> str | None:
    query = select(EventRow).where(EventRow.batch_id == batch_id, EventRow.kind == "sign").order_by(EventRow.id.desc())
    for row in session.scalars(query):
        files = chain.event_of(row).body.get("files")
        if isinstance(files, dict) and isinstance(files.get("batch.jsonl"), str):
            return str(files["batch.jsonl"])
    return None


def _other(path: Path, records: str) -> bool:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest() != records
    except OSError:
        return False
