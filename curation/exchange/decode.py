"""From answers about left and right to outcomes of a batch's pairs, decoded by id; everything unusable is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from curation.batch.answers import Answers
from curation.batch.presentation import Record, decode_side, number_hint
from curation.errors import ExportError, ImportLabelsError
from curation.exchange.cells import UNNAMED
from curation.exchange.incoming import NAMED, RawLabel
from curation.pool.labels import Label, Outcome, same_answer


@dataclass(frozen=True)
class Decoded:
    """Usable labels, and what was not: labels, duplicates, changed, unknown, unclear and not answered add up.

    answers: the sum. duplicates: the same annotator's same answer again. changed: answers an annotator replaced by a
    later one. not_answered: places where nothing was answered. held: where each label came from, in their order.
    unknown: pairs, or response ids, that are not the batch's. unclear: answers whose parts contradict each other or say
    no side. without_strength: usable ones that lack the strength that was asked for. ..._examples: where they stand.
    """

    labels: tuple[Label, ...]
    answers: int
    cancelled: int
    duplicates: int
    changed: int
    unknown: int
    unknown_examples: tuple[str, ...]
    asked: Answers = "binary"
    unclear: int = 0
    unclear_examples: tuple[str, ...] = ()
    without_strength: int = 0
    without_strength_examples: tuple[str, ...] = ()
    not_answered: int = 0
    not_answered_examples: tuple[str, ...] = ()
    held: tuple[RawLabel, ...] = ()


def decode(
    raw: Sequence[RawLabel], records: Iterable[Record], *, batch_id: str, batch_seed: str | Sequence[str]
) -> Decoded:
    """Decode answers by the opaque ids their files carry.

    batch_seed: the key, or keys, of the batch's exports.

    An annotator's later answer to the same presentation, by its time where the file tells it and else by its place,
    replaces the earlier one. Two answers of nobody named that differ, and a second one that does not say which copy of
    a pair it is of, are unclear. Raises ImportLabelsError where an answer names another batch: such a file is never
    mixed in.
    """
    foreign = [label.batch_id for label in raw if label.batch_id not in (None, batch_id)]
    if foreign:
        first = min(map(str, foreign))
        raise ImportLabelsError(
            f"{len(foreign):,} of {len(raw):,} answers belong to another batch ({first}){number_hint(first)}, not to "
            f"{batch_id}; nothing was imported: give each batch its own file."
        )
    by_id = {record["pair_id"]: record for record in records}
    kept: dict[tuple[str, str, str, int], tuple[Label, RawLabel]] = {}
    duplicates = changed = cancelled = 0
    unknown: list[str] = []
    unclear: list[str] = []
    blank: list[str] = []
    bare: list[str] = []
    for answer in raw:
        record = by_id.get(answer.pair_id)
        try:
            if record is None:
                raise ExportError(f"the pair is not in this batch{number_hint(answer.pair_id)}")
            left = decode_side(answer.left_id, record, batch_seed)
            if decode_side(answer.right_id, record, batch_seed) == left:
                raise ExportError("both sides name the same response")
        except ExportError as error:
            unknown.append(f"{answer.place}: {error}")
            continue
        if answer.blank is not None:
            blank.append(f"{answer.place}: {answer.blank}")
            continue
        if answer.unclear is not None:
            unclear.append(f"{answer.place}: {answer.unclear}")
            continue
        cancelled += answer.cancelled
        if answer.graded and answer.strength is None and answer.choice != "skip":
            bare.append(f"{answer.place}: {answer.choice} without a strength")
        label = Label(
            pair_id=record["pair_id"],
            outcome=_outcome(answer, left),
            annotator=answer.annotator,
            left=left,
            copy=answer.copy or 1,
            seconds=answer.seconds,
            strength=answer.strength,
            both_bad=answer.both_bad,
        )
        key = (label.pair_id, label.annotator, label.left, label.copy)
        before, earlier = kept.get(key, (None, None))
        if before is not None and earlier is not None:
            if answer.copy is None and record.get("copies", 1) > 1 and not answer.annotation_id:
                unclear.append(f"{answer.place}: it does not say which copy of a pair that goes out more than once")
                continue
            older = _older(answer, earlier)
            if same_answer(before, label):
                duplicates += 1
                kept[key] = before, earlier if older else answer
                continue
            if answer.annotator == UNNAMED and answer.annotation_id is None:
                unclear.append(f"{answer.place}: it differs from another answer to the pair, and names no annotator")
                continue
            changed += 1
            if older:
                continue
        kept[key] = label, answer
    return Decoded(
        labels=tuple(label for label, _ in kept.values()),
        answers=len(raw),
        cancelled=cancelled,
        duplicates=duplicates,
        changed=changed,
        unknown=len(unknown),
        unknown_examples=tuple(unknown[:NAMED]),
        asked="graded" if any(answer.graded for answer in raw) else "binary",
        unclear=len(unclear),
        unclear_examples=tuple(unclear[:NAMED]),
        without_strength=len(bare),
        without_strength_examples=tuple(bare[:NAMED]),
        not_answered=len(blank),
        not_answered_examples=tuple(blank[:NAMED]),
        held=tuple(answer for _, answer in kept.values()),
    )


def _older(answer: RawLabel, other: RawLabel) -> bool:
    """Whether an answer is older than one that stands before it: by their times, else by the tool's running numbers."""
    if answer.at is not None and other.at is not None and answer.at != other.at:
        return answer.at < other.at
    numbers = [each.annotation_id or "" for each in (answer, other)]
    if not all(number.isascii() and number.isdigit() and len(number) < 19 for number in numbers):
        return False
    return int(numbers[0]) < int(numbers[1])


def _outcome(answer: RawLabel, left: Literal["a", "b"]) -> Outcome:
    if answer.choice in ("tie", "skip"):
        return answer.choice  # type: ignore[return-value]
    right: Literal["a", "b"] = "b" if left == "a" else "a"
    return left if answer.choice == "left" else right
