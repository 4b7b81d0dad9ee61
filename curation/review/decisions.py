"""Decisions on pairs: what one is, and the CSV file that brings many."""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, cast, get_args

from curation.errors import StoreError

DecisionWord = Literal["approve", "reject", "flag", "clear"]
WORDS: tuple[str, ...] = get_args(DecisionWord)
FILE_WORDS = ("approve", "reject", "flag")
ERRORS_SHOWN = 5


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
    """What somebody decides about one pair, checked and not yet written."""

    pair_id: str
    decision: DecisionWord
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Counts:
    """How far the review of a batch is; the four add up to `total` pairs."""

    approved: int
    rejected: int
    flagged: int
    undecided: int
    total: int


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
    """Decisions of a CSV `pair_id, decision (approve|reject|flag), reason, note`, in file order, each pair once.

    known: the pair ids of the batch. Raises StoreError naming the lines when one of them cannot be used: an unknown
    pair, another word, a rejection without a reason, or a pair that is repeated with something else.
    """
    path = Path(path)
    known = frozenset(known)
    found: dict[str, tuple[int, NewDecision]] = {}
    wrong: list[str] = []
    for line, row in _rows(path):
        try:
            decision = _row_decision(row, known)
            first_line, first = found.setdefault(decision.pair_id, (line, decision))
            if first != decision:
                raise StoreError(
                    f"pair {decision.pair_id} is decided otherwise on line {first_line}; keep one of them."
                )
        except StoreError as error:
            wrong.append(f"line {line}: {error}")
    if wrong:
        more = f" And {len(wrong) - ERRORS_SHOWN} more lines." if len(wrong) > ERRORS_SHOWN else ""
        raise StoreError(f"{path}: {' '.join(wrong[:ERRORS_SHOWN])}{more} Nothing was written; correct the file.")
    return [decision for _, decision in found.values()]


def _rows(path: Path) -> list[tuple[int, dict[str | None, str | None]]]:
    """(line a row starts on, row) of a CSV file, blank rows left out."""
    rows: list[tuple[int, dict[str | None, str | None]]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle, strict=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            if not {"pair_id", "decision"} <= set(columns):
                raise StoreError(
                    f"{path} has columns {columns}; it needs pair_id and decision, and may have reason and note, "
                    "separated by commas."
                )
            reader.fieldnames = columns
            while True:
                start = reader.line_num + 1
                row = next(reader, None)
                if row is None:
                    break
                if any(isinstance(value, list) or (value or "").strip() for value in row.values()):
                    rows.append((start, cast("dict[str | None, str | None]", row)))
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); give a CSV with pair_id and decision.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path} is not a UTF-8 CSV ({error}); save it as UTF-8 comma-separated text.") from None
    if not rows:
        raise StoreError(f"{path} holds no decisions; give a header and at least one row.")
    return rows


def _row_decision(row: dict[str | None, str | None], known: frozenset[str]) -> NewDecision:
    if None in row:
        raise StoreError("more cells than the header has columns; put quotes round text with commas.")
    pair_id, word = (row.get("pair_id") or "").strip(), (row.get("decision") or "").strip().lower()
    if pair_id not in known:
        raise StoreError(f"pair_id {pair_id!r} is not in this batch.")
    if word not in FILE_WORDS:
        raise StoreError(f"decision {word!r} is unknown; use approve, reject or flag.")
    return new_decision(pair_id, word, row.get("reason"), row.get("note"))
