"""What goes out to annotators, whatever the format: two texts, left and right, under ids that tell nothing.

Response ids and generators can name models, so the files carry neither: `left_id` and `right_id` are hashes under a
random key that stays in the house, which the batch's own records decode on the way back. `pair_id` and `batch_id` are
plain hashes: who knows a pool's ids can tell from them which two responses a row compares, never which stands where.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from curation.batch.answers import Answers
from curation.errors import ExportError
from curation.pool.schema import Message

Order = Literal["random", "both", "fixed"]
ORDERS: tuple[str, ...] = get_args(Order)
OPAQUE_HEX = 12
IDENTICAL = "identical responses"
# What Excel, LibreOffice, Java's Double.parseDouble and the like read as a number, of hex digits.
_NUMERIC = re.compile(r"[0-9]+(?:[ed][0-9]+)?[df]?")
_MADE_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?")
NEEDED = ("pair_id", "prompt", "response_a_id", "response_b_id", "response_a", "response_b", "copies")

Record = Mapping[str, Any]


@dataclass(frozen=True)
class ExportHeader:
    """Where a file comes from. batch_seed: key of order and ids, 32 random bytes; nothing that goes out gives it.

    pool_name is for messages only: a pool's name can name a model, so no file carries it. answers: what annotators
    are asked for; a binary file carries no word of it, so that it is what it always was.
    """

    batch_id: str
    batch_seed: str
    manifest_hash: str
    pool_name: str
    signed: bool
    audit_head: str | None = None  # hash of the audit log's event that signed the batch
    answers: Answers = "binary"
    assigned: bool = False  # whether every row has its annotator

    @property
    def graded(self) -> bool:
        """Whether annotators are asked how much better."""
        return self.answers == "graded"


@dataclass(frozen=True)
class Presented:
    """One row of an outgoing file. copy: 1, 2, ... of a pair that is labelled more than once; number: of the pair.

    annotator: who is to answer it; None where that is not laid down.
    """

    pair_id: str
    prompt: str | list[Message]
    left: str
    right: str
    left_id: str
    right_id: str
    copy: int
    number: int
    annotator: str | None = None


def keyed_hash(batch_seed: str, text: str) -> bytes:
    """HMAC-SHA256 of a text under the batch's seed."""
    return hmac.new(batch_seed.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def swapped(batch_seed: str, pair_id: str) -> bool:
    """Whether response b stands on the left under `random`: the last bit of the keyed hash of the pair."""
    return bool(keyed_hash(batch_seed, pair_id)[-1] & 1)


def sheet_safe(name: str) -> str:
    """An id under which no spreadsheet takes it for a number: hex digits that read as one get an x before them.

    Others stay as they are, so that what went out before is what goes out now. `sheet_original` gives the id back.
    """
    return f"x{name}" if _NUMERIC.fullmatch(name) else name


def sheet_original(name: str) -> str:
    """The id that `sheet_safe` was given; ids that went out without an x are themselves."""
    return name[1:] if name[:1] in ("x", "X") and _NUMERIC.fullmatch(name[1:]) else name


def number_hint(name: str) -> str:
    """Why an id may be unknown: what a spreadsheet makes of hex digits that read as a number. Else nothing."""
    if not _MADE_NUMBER.fullmatch(name):
        return ""
    return (
        " (it looks like a number that a spreadsheet made of an id: fill in a file whose id columns are read as text)"
    )


def opaque_id(batch_seed: str, pair_id: str, response_id: str) -> str:
    """The id a response goes out under: 12 hex digits (`sheet_safe`), different in every pair and every batch."""
    return sheet_safe(keyed_hash(batch_seed, pair_id + response_id).hex()[:OPAQUE_HEX])


def decode_side(opaque: str, record: Record, batch_seed: str | Sequence[str]) -> Literal["a", "b"]:
    """Which response of a record an opaque id stands for. Raises ExportError when it is neither.

    batch_seed: the key of the export, or all keys that the batch's exports may have been made with.
    """
    sides: tuple[Literal["a", "b"], ...] = ("a", "b")
    for seed in [batch_seed] if isinstance(batch_seed, str) else batch_seed:
        for side in sides:
            known = opaque_id(seed, record["pair_id"], record[f"response_{side}_id"])
            if opaque in (known, sheet_original(known)):  # earlier versions sent the digits bare
                return side
    raise ExportError(
        f"response id {opaque!r} is not one of pair {record['pair_id']}; the file belongs to another batch, or was "
        f"changed{number_hint(opaque)}."
    )


def present(
    records: Sequence[Record], *, header: ExportHeader, order: str, copies_respected: bool = True
) -> tuple[list[Presented], dict[str, int]]:
    """The rows to write, and how many pairs are left out and why.

    order: `random` (seeded per pair), `both` (each copy twice, once each way), `fixed` (a on the left). All first
    rows of the pairs come before all second ones, so that nobody sees a pair twice in a row. Raises ExportError.
    """
    if order not in ORDERS:
        raise ExportError(f"order {order!r} is unknown; use {', '.join(ORDERS)}.")
    if not records:
        raise ExportError(
            f"no pair of batch {header.batch_id} (pool {header.pool_name}) is approved, so there is nothing to export; "
            "approve pairs first."
        )
    rounds: list[list[Presented]] = []
    seen: set[str] = set()
    identical = 0
    for record in records:
        _check(record, seen)
        if record["response_a"] == record["response_b"]:
            identical += 1
            continue
        for number, row in enumerate(_rows(record, header, order, copies_respected)):
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(row)
    if not rounds:
        raise ExportError(
            f"every one of the {identical} approved pairs has two identical responses, so there is nothing to compare; "
            "approve other pairs."
        )
    return [row for one_round in rounds for row in one_round], {IDENTICAL: identical}


def _rows(record: Record, header: ExportHeader, order: str, copies_respected: bool) -> list[Presented]:
    pair, seed = record["pair_id"], header.batch_seed
    first = order != "fixed" and swapped(seed, pair)
    if order == "random" and record.get("left") not in (None, "b" if first else "a"):
        raise ExportError(
            f"pair {pair} is recorded with response {record['left']} on the left, which this batch's seed does not "
            "give; records and manifest do not belong together: solve again."
        )
    turns = [first, not first] if order == "both" else [first]
    texts = {side: record[f"response_{side}"] for side in "ab"}
    ids = {side: opaque_id(seed, pair, record[f"response_{side}_id"]) for side in "ab"}
    rows: list[Presented] = []
    for copy in range(1, (record["copies"] if copies_respected else 1) + 1):
        for swap in turns:
            left, right = ("b", "a") if swap else ("a", "b")
            rows.append(
                Presented(
                    sheet_safe(pair),
                    record["prompt"],
                    texts[left],
                    texts[right],
                    ids[left],
                    ids[right],
                    copy,
                    len(rows) + 1,
                )
            )
    return rows


def _check(record: Record, seen: set[str]) -> None:
    """Raises ExportError where a record cannot go out."""
    missing = [key for key in NEEDED if key not in record]
    if missing:
        raise ExportError(f"an audit record lacks {missing}; the batch folder was changed: solve again.")
    pair = record["pair_id"]
    if pair in seen:
        raise ExportError(f"pair {pair} stands twice in the batch; the batch folder was changed: solve again.")
    seen.add(pair)
    if not isinstance(record["copies"], int) or record["copies"] < 1:
        raise ExportError(f"pair {pair} has copies {record['copies']!r}; it must be a whole number of 1 or more.")
    prompt = record["prompt"]
    messages = [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]
    for text in (*messages, record["response_a"], record["response_b"]):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ExportError(
                f"pair {pair} holds half a character (a lone surrogate), which is no text; reject the pair or repair "
                "the pool."
            ) from None
