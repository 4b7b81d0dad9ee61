"""From annotators back: labels imported, counted and judged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curation.batch.folder import (
    BatchFolder,
    read_batch,
)
from curation.batch.information import realised_information
from curation.errors import ImportLabelsError
from curation.exchange.cells import UNNAMED
from curation.exchange.decode import Decoded, decode
from curation.exchange.incoming import read_answers
from curation.exchange.people import (
    annotations_of,
    check_unnamed,
    further_of,
    newer_only,
    same_people,
    with_name,
)
from curation.exchange.tools.base import AUTO
from curation.insight.agreement import Quality, label_quality
from curation.insight.judged import second_raters
from curation.pool.labels import Label, in_force, people_only
from curation.review.register import record_batch, seeds_of
from curation.review.settling import disputes
from curation.review.store.store import Store, open_store


def import_labels(
    folder: str | Path,
    file: str | Path,
    *,
    kind: str = AUTO,
    annotator: str | None = None,
    who: str = "command line",
    store: Store | None = None,
) -> dict[str, Any]:
    """Read what annotators answered, decode it by id and keep it, all or nothing.

    annotator: whose the answers are that name nobody. Raises ImportLabelsError where the file cannot be read, belongs
    to another batch, holds no usable answer, or would replace answers of somebody unnamed by others.
    """
    opened = store or open_store()
    opened.require(who, "reviewer")
    batch = read_batch(folder)
    earlier = [made.counts for made in opened.imports(batch.batch_id)]
    found = read_answers(file, kind)
    raw = same_people(with_name(found.labels, annotator), earlier)
    decoded = decode(raw, batch.records, batch_id=batch.batch_id, batch_seed=seeds_of(opened, batch))
    if not decoded.labels:
        raise ImportLabelsError(_nothing(file, batch.batch_id, decoded, found.told))
    labels = newer_only(decoded, earlier)
    check_unnamed(labels, opened.labels(batch.batch_id))
    beside = {"annotations": annotations_of(decoded), "further": further_of(decoded)}
    told = dict(found.told)
    if lost := sum(bool(answer.further) for answer in raw) - len(beside["further"]):
        told["remarks beside answers that are no label, left out"] = lost
    outcomes = Counter(label.outcome for label in decoded.labels)
    counts = {
        "answers": decoded.answers,
        "labels": len(decoded.labels),
        "ties": outcomes["tie"],
        "skips": outcomes["skip"],
        "cancelled": decoded.cancelled,
        "duplicates": decoded.duplicates,
        "changed": decoded.changed,
        "unknown": decoded.unknown,
        "unknown_examples": list(decoded.unknown_examples),
        "asked": decoded.asked,
        "graded": sum(label.graded for label in decoded.labels),
        "both_bad": sum(label.both_bad for label in decoded.labels),
        "unclear": decoded.unclear,
        "unclear_examples": list(decoded.unclear_examples),
        "without_strength": decoded.without_strength,
        "without_strength_examples": list(decoded.without_strength_examples),
        "not_answered": decoded.not_answered,
        "not_answered_examples": list(decoded.not_answered_examples),
        "older": len(decoded.labels) - len(labels),
        "unnamed": sum(label.annotator == UNNAMED for label in decoded.labels),
        "told": told,
    }
    record_batch(opened, batch, who=who)
    made = opened.record_labels(
        batch.batch_id,
        labels,
        file=Path(file).name,
        sha256=hashlib.sha256(Path(file).read_bytes()).hexdigest(),
        format=found.format,
        counts={**counts, **beside},
        who=who,
    )
    result = {name: value for name, value in made.counts.items() if name not in beside}
    result["further"] = dict(Counter(name for *_, texts in beside["further"] for name in texts))
    return {
        "batch_id": batch.batch_id,
        "format": found.format,
        **result,
        "notes": import_notes(result),
        **label_report(batch, opened),
    }


def _nothing(file: str | Path, batch_id: str, decoded: Decoded, told: Mapping[str, int]) -> str:
    """Why a file holds no answer that can be kept."""
    first = (*decoded.unknown_examples, *decoded.unclear_examples, *decoded.not_answered_examples)[:1]
    where = f" (first: {first[0]})" if first else ""
    others = "".join(f", {count:,} {what}" for what, count in told.items())
    return (
        f"{file} holds no answer to a pair of batch {batch_id}: {decoded.answers:,} answers read, "
        f"{decoded.unknown:,} of unknown pairs or responses, {decoded.unclear:,} that say no side or contradict "
        f"themselves, {decoded.not_answered:,} not answered{others}{where}; give the export of this batch's project."
    )


def import_notes(counts: Mapping[str, Any]) -> list[str]:
    """What else there is to say of an import, a sentence a kind: whatever was in the file and is no label."""
    notes = []
    if counts["not_answered"]:
        first = counts["not_answered_examples"][0]
        notes.append(f"{counts['not_answered']:,} not answered, which is no skip (first: {first})")
    if counts["older"]:
        notes.append(f"{counts['older']:,} older than the answers that are kept, which stay")
    if counts["unnamed"]:
        notes.append(
            f"{counts['unnamed']:,} labels name no annotator and count as one person's; say whose they are with "
            "--annotator NAME or in a column `annotator`"
        )
    notes += [f"{count:,} {what}" for what, count in counts["told"].items()]
    if counts["further"]:
        named = ", ".join(f"{name} ({count:,})" for name, count in counts["further"].items())
        notes.append(f"kept with the import, and read by nothing here: {named}")
    return notes


def label_report(batch: BatchFolder, store: Store) -> dict[str, Any]:
    """Quality of a batch's labels, the information they realised against the information planned, conflicts, and models
    beside people.

    conflicts: pairs on which people took different sides, with how each is settled, open ones (open_conflicts) first;
    agreed_since: settled pairs on which people's later answers agree.
    """
    labels = store.labels(batch.batch_id)
    people, counting = people_only(labels), in_force(labels)
    quality, told = quality_of(people), disputes(labels, store.settlements(batch.batch_id))
    return {
        "quality": asdict(quality),
        "sentences": [*quality.sentences(), *filter(None, [_information_sentence(batch, counting)])],
        "information": realised_information(batch, counting),
        "conflicts": [one for one in told if not one["agreed"]],
        "open_conflicts": sum(one["settled"] is None for one in told),
        "agreed_since": [one for one in told if one["agreed"]],
        "second_raters": [{**asdict(rater), "sentence": rater.sentence()} for rater in second_raters(labels)],
    }


def quality_of(labels: Sequence[Label]) -> Quality:
    """Agreement, bias, ties, strength and time of labels."""
    return label_quality(labels)


def _information_sentence(batch: BatchFolder, labels: Sequence[Label]) -> str | None:
    told = realised_information(batch, labels)
    if told is None:
        return None
    return (
        f"{told['labelled_pairs']:,.0f} of {told['pairs']:,.0f} pairs have a label; the criterion stands at "
        f"{told['realised']:.4g} where all of them would give {told['planned']:.4g} ({told['share']:.1%} of the plan)."
    )
