"""Decisions on pairs: what one is, and the CSV file that brings many."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, cast, get_args

from curation.errors import StoreError
from curation.pool.files.text_tables import read_table

DecisionWord = Literal["approve", "reject", "flag", "clear"]
WORDS: tuple[str, ...] = get_args(DecisionWord)
FILE_WORDS = ("approve", "reject", "flag")
ERRORS_SHOWN = 5
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Decision:
    """One entry of the history of a pair. `clear` means: undecided again.

    version: 1, 2, ... within the pair; undo_of: the id of the entry this one takes back; action: shared by all
    entries of one act; at: UTC.
    """

    id: int
    batch_id: str
    pair_id: str
    decision: DecisionWord
    reason: str | None
    note: str | None
    who: str
    at: datetime
    version: int
    action: str
    undo_of: int | None = None


@dataclass(frozen=True)
class NewDecision:
    """What somebody decides about one pair, checked and not yet written. version: of what they looked at, if known."""

    pair_id: str
    decision: DecisionWord
    reason: str | None = None
    note: str | None = None
    version: int | None = None


def new_decision(pair_id: str, decision: str, reason: str | None = None, note: str | None = None) -> NewDecision:
    """Check one decision. Blank reasons and notes become None. Raises StoreError."""
    if not pair_id:
        raise StoreError("a decision needs a pair_id; it is empty.")
    if decision not in WORDS:
        raise StoreError(f"decision {decision!r} of pair {pair_id} is unknown; use {', '.join(WORDS)}.")
    reason, note = (reason or "").strip() or None, (note or "").strip() or None
    if decision == "reject" and reason is None:
        raise StoreError(f"pair {pair_id} is rejected without a reason; say why.")
    return NewDecision(pair_id, cast(DecisionWord, decision), reason, note)


def read_decisions_csv(path: str | Path, known: Collection[str]) -> list[NewDecision]:
    """Decisions of a CSV `pair_id, decision (approve|reject|flag), reason, note, version`, each pair once, in order.

    known: the pair ids of the batch. Raises StoreError naming the lines when one of them cannot be used: an unknown
    pair, another word, a rejection without a reason, or a pair that is repeated with something else.
    """
    path = Path(path)
    known = frozenset(known)
    found: dict[str, tuple[str, NewDecision]] = {}
    wrong: list[str] = []
    for place, row in _rows(path):
        try:
            decision = _row_decision(row, known)
            first_place, first = found.setdefault(decision.pair_id, (place, decision))
            if first != decision:
                raise StoreError(f"pair {decision.pair_id} is decided otherwise on {first_place}; keep one of them.")
        except StoreError as error:
            wrong.append(f"{place}: {error}")
    if wrong:
        more = f" And {len(wrong) - ERRORS_SHOWN} more lines." if len(wrong) > ERRORS_SHOWN else ""
        raise StoreError(f"{path}: {' '.join(wrong[:ERRORS_SHOWN])}{more} Nothing was written; correct the file.")
    return [decision for _, decision in found.values()]


def _rows(path: Path) -> list[tuple[str, dict[str | None, str]]]:
    """The place of each row ("line 3"), and the row; blank rows are left out. Raises StoreError."""
    remedy = "save it as UTF-8 text, separated by commas, semicolons or tabs"
    columns, rows = read_table(path, most=MOST_BYTES, error=StoreError, remedy=remedy)
    if not {"pair_id", "decision"} <= set(columns):
        raise StoreError(
            f"{path} has columns {columns}; it needs pair_id and decision, and may have reason, note and version, "
            "separated by commas, semicolons or tabs."
        )
    if not rows:
        raise StoreError(f"{path} holds no decisions; give a header and at least one row.")
    return rows


def _row_decision(row: dict[str | None, str], known: frozenset[str]) -> NewDecision:
    if None in row:
        raise StoreError("more cells than the header has columns; put quotes round text with commas.")
    pair_id, word = (row.get("pair_id") or "").strip(), (row.get("decision") or "").strip().lower()
    if pair_id not in known:
        raise StoreError(f"pair_id {pair_id!r} is not in this batch.")
    if word not in FILE_WORDS:
        raise StoreError(f"decision {word!r} is unknown; use approve, reject or flag.")
    version = (row.get("version") or "").strip()
    if version and not (version.isascii() and version.isdigit() and len(version) < 10):
        raise StoreError(f"version {version!r} of pair {pair_id} is not a whole number; leave it empty.")
    made = new_decision(pair_id, word, row.get("reason"), row.get("note"))
    return replace(made, version=int(version)) if version else made
