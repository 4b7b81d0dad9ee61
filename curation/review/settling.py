"""Settling: one answer for a pair on which people took different sides, and who gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from curation.batch.folder import read_batch
from curation.errors import BatchError
from curation.insight.annotators import conflicts
from curation.pool.labels import Label, Outcome, people_only, settled_only
from curation.review.register import check_recorded
from curation.review.store.labels import Settled
from curation.review.store.store import Store, open_store


def settle(
    folder: str | Path,
    pair_id: str,
    outcome: str,
    *,
    who: str,
    instead_of: str | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Keep the answer (a, b, tie) that counts for a pair on which people took different sides.

    instead_of: the settled answer that is kept now and is to be changed; without it a settled pair stays as it is. The
    same answer again changes nothing. What people said stays as it is.

    Raises BatchError for a pair of another batch, StoreError for who may not, where people did not differ, and where
    the pair is settled otherwise than `instead_of` says.
    """
    opened = store or open_store()
    who = opened.require(who, "reviewer")
    batch = read_batch(folder)
    check_recorded(opened, batch)
    if pair_id not in {record["pair_id"] for record in batch.records}:
        raise BatchError(
            f"pair {pair_id!r:.80} is not of batch {batch.batch_id}; `labels DIR --conflicts` names pairs to settle."
        )
    made = opened.settle_pair(batch.batch_id, pair_id, cast(Outcome, outcome), who=who, instead_of=instead_of)
    labels = opened.labels(batch.batch_id)
    told = disputes(labels, opened.settlements(batch.batch_id))
    return {
        "batch_id": batch.batch_id,
        "pair_id": pair_id,
        "outcome": outcome,
        "changed": made is not None,
        "instead_of": None if made is None else made.instead_of,
        "who": who,
        "answers": answers_of(labels, pair_id),
        "open": sum(one["settled"] is None for one in told),
    }


def disputes(labels: Sequence[Label], acts: Mapping[str, Settled]) -> list[dict[str, Any]]:
    """Conflicts of people (`insight.annotators.conflicts`), each with `settled`, and settled pairs that are none now.

    settled: outcome, who, at (UTC, ISO 8601) and instead_of; None for a pair that is open. The latter pairs are those
    on which later answers of the same people agree; `agreed` tells them. Open ones come first, then opposite sides.
    """
    people, settled = people_only(labels), settled_only(labels)
    found = [{**one, "agreed": False} for one in conflicts(people)]
    named = {one["pair_id"] for one in found}
    found += [
        {"pair_id": pair, "opposed": False, "answers": answers_of(people, pair), "agreed": True}
        for pair in sorted(set(settled) - named)
    ]
    every = [{**one, "settled": _act(settled.get(one["pair_id"]), acts.get(one["pair_id"]))} for one in found]
    return sorted(
        every, key=lambda one: (one["settled"] is not None, one["agreed"], not one["opposed"], one["pair_id"])
    )


def answers_of(labels: Sequence[Label], pair_id: str) -> list[dict[str, Any]]:
    """What people said of a pair, in the shape of a conflict's answers."""
    return [
        {"annotator": a.annotator, "outcome": a.outcome, "strength": a.strength, "both_bad": a.both_bad}
        for a in people_only(labels)
        if a.pair_id == pair_id
    ]


def dispute_words(one: Mapping[str, Any]) -> str:
    """What people said, and how and by whom it is settled."""
    told = ", ".join(f"{answer['annotator']} {answer['outcome']}" for answer in one["answers"])
    return told if one["settled"] is None else f"{told}; {settled_words(one['settled'])}"


def settled_words(act: Mapping[str, Any]) -> str:
    """How a pair is settled, and by whom."""
    before = f" instead of {act['instead_of']}" if act["instead_of"] else ""
    by = f" by {act['who']}, {act['at'][:16].replace('T', ' ')} UTC" if act["who"] else ""
    return f"settled as {act['outcome']}{before}{by}"


def _act(label: Label | None, act: Settled | None) -> dict[str, Any] | None:
    """The settled answer that is kept, with the act that brought it."""
    if label is None:
        return None
    if act is None or act.outcome != label.outcome:
        return {"outcome": label.outcome, "who": None, "at": None, "instead_of": None}
    return {"outcome": label.outcome, "who": act.who, "at": act.at.isoformat(), "instead_of": act.instead_of}
