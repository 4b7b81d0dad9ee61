"""From answers about left and right to outcomes of a batch's pairs, decoded by id; everything unusable is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from curation.errors import ExportError, ImportLabelsError
from curation.exchange_formats.common import Record, decode_side
from curation.exchange_formats.incoming import RawLabel
from curation.pool.labels import Label, Outcome


@dataclass(frozen=True)
class Decoded:
    """Usable labels, and what was not: counts add up to the answers read.

    duplicates: the same annotator's same answer again. changed: answers an annotator replaced by a later one.
    unknown: pairs, or response ids, that are not the batch's; unknown_examples: where they stand.
    """

    labels: tuple[Label, ...]
    answers: int
    cancelled: int
    duplicates: int
    changed: int
    unknown: int
    unknown_examples: tuple[str, ...]


def decode(raw: Sequence[RawLabel], records: Iterable[Record], *, batch_id: str, batch_seed: str) -> Decoded:
    """Decode answers by the opaque ids their files carry.

    An annotator's later answer to the same presentation replaces the earlier one. Raises ImportLabelsError where an
    answer names another batch: such a file is never mixed in.
    """
    foreign = sorted({label.batch_id for label in raw if label.batch_id not in (None, batch_id)}, key=str)
    if foreign:
        count = sum(label.batch_id in foreign for label in raw)
        raise ImportLabelsError(
            f"{count:,} of {len(raw):,} answers belong to another batch ({foreign[0]}), not to {batch_id}; nothing was "
            "imported: give each batch its own file."
        )
    by_id = {record["pair_id"]: record for record in records}
    kept: dict[tuple[str, str, str, int], Label] = {}
    duplicates = changed = cancelled = 0
    unknown: list[str] = []
    for answer in raw:
        record = by_id.get(answer.pair_id)
        try:
            if record is None:
                raise ExportError("the pair is not in this batch")
            left = decode_side(answer.left_id, record, batch_seed)
            if decode_side(answer.right_id, record, batch_seed) == left:
                raise ExportError("both sides name the same response")
        except ExportError as error:
            unknown.append(f"{answer.place}: {error}")
            continue
        cancelled += answer.cancelled
        label = Label(
            pair_id=answer.pair_id,
            outcome=_outcome(answer, left),
            annotator=answer.annotator,
            left=left,
            copy=answer.copy or 1,
            seconds=answer.seconds,
        )
        key = (label.pair_id, label.annotator, label.left, label.copy)
        before = kept.get(key)
        if before is not None:
            if before.outcome == label.outcome:
                duplicates += 1
                continue
            changed += 1
        kept[key] = label
    return Decoded(
        labels=tuple(kept.values()),
        answers=len(raw),
        cancelled=cancelled,
        duplicates=duplicates,
        changed=changed,
        unknown=len(unknown),
        unknown_examples=tuple(unknown[:5]),
    )


def _outcome(answer: RawLabel, left: Literal["a", "b"]) -> Outcome:
    if answer.choice in ("tie", "skip"):
        return answer.choice  # type: ignore[return-value]
    right: Literal["a", "b"] = "b" if left == "a" else "a"
    return left if answer.choice == "left" else right
