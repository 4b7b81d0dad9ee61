"""A model answers a batch beside people: estimated first, in both orders, kept apart under a name that is no person's.

Its answers check people; they are never training data, and no report speaks of one before a person has answered the
pair (`insight.judged`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from curation.batch.folder import BatchFolder, read_batch
from curation.batch.presentation import Record
from curation.batch.records import check_ids
from curation.errors import ExportError, StoreError
from curation.exchange.export import approved_only
from curation.experiments.judge import INSTRUCTION, EndpointJudge, Estimate, Match
from curation.pool.labels import JUDGE, Label
from curation.pool.schema import prompt_text
from curation.review.register import check_recorded
from curation.review.store.read_only import store_to_read
from curation.review.store.roles import Role
from curation.review.store.store import Store, open_store
from curation.settings import workspace

ROLE: Role = "reviewer"  # as for labels that people gave
FORMAT = "judge"
LONGEST_NAME = 200


def judge_cache() -> Path:
    """Where the answers that were paid for are kept, of every judge."""
    return workspace() / "judge.sqlite"


def estimate(
    folder: str | Path, judge: EndpointJudge, *, name: str | None = None, store: Store | None = None
) -> dict[str, Any]:
    """What `rate` would take: pairs, requests, tokens, cost (None: no prices). Sends and writes nothing.

    name: as in `rate`, the judge's model by default. Raises ExportError where no pair is approved, BatchError where the
    folder is not what was recorded.
    """
    batch, name = read_batch(folder), judge.model if name is None else name
    if store is not None:
        asked = _asked(batch, store, _annotator(name))
    else:
        with store_to_read() as opened:
            asked = _asked(batch, opened, _annotator(name))
    told = judge.estimate(asked.matches)
    return {**_head(batch, judge, name, asked), **_figures(told), "sentence": told.sentence()}


def rate(
    folder: str | Path, judge: EndpointJudge, *, name: str, who: str, store: Store | None = None
) -> dict[str, Any]:
    """Let a model answer the approved pairs of a batch, both orders each, and keep the answers: all of them or none.

    name: the model's; its answers are those of annotator `(judge) NAME`, a tie where the orders disagree. A pair whose
    answer is kept is not asked again. Where the judge fails nothing is recorded; what it answered stays in its cache,
    so that the next run goes on. The result says nothing of the answers.

    Raises StoreError for who may not, ExportError where no pair is approved, BatchError where the folder is not what
    was recorded, PolicyError over a limit or where the judge does not answer.
    """
    opened = store or open_store()
    who = opened.require(who, ROLE)  # before anything is sent; the transaction that writes asks again
    batch, annotator = read_batch(folder), _annotator(name)
    asked = _asked(batch, opened, annotator)
    told = judge.estimate(asked.matches)
    result = {**_head(batch, judge, name, asked), **_figures(told), "new": 0}
    if not asked.records:
        return result
    labels = [
        Label(record["pair_id"], _outcome(chance), annotator, "a", 1, None)
        for record, chance in zip(asked.records, judge(asked.matches), strict=True)
    ]
    made = opened.record_labels(
        batch.batch_id,
        labels,
        file=f"{name} at {judge.host}",
        sha256=_digest(name, judge, asked),
        format=FORMAT,
        counts={"model": name, "host": judge.host, "pairs": len(labels), **_figures(told)},
        who=who,
    )
    return {**result, "new": made.counts["new"]}


@dataclass(frozen=True)
class _Asked:
    """The pairs to ask for, with their texts, and how many approved ones are answered by this model already."""

    records: Sequence[Record]
    matches: list[Match]
    kept: int


def _asked(batch: BatchFolder, store: Store, annotator: str) -> _Asked:
    check_ids(batch)
    check_recorded(store, batch)
    approved, left_out = approved_only(batch.records, store.decided(batch.batch_id)[0])
    if not approved:
        counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
        raise ExportError(
            f"no pair of batch {batch.batch_id} is approved ({counts}), and a model answers what goes out to people; "
            "approve pairs on the Review page or with `decide`, then rate."
        )
    answered = {label.pair_id for label in store.labels(batch.batch_id) if label.annotator == annotator}
    records = [record for record in approved if record["pair_id"] not in answered]
    matches = [(prompt_text(r["prompt"]), str(r["response_a"]), str(r["response_b"])) for r in records]
    return _Asked(records, matches, len(approved) - len(records))


def _head(batch: BatchFolder, judge: EndpointJudge, name: str, asked: _Asked) -> dict[str, Any]:
    return {
        "batch_id": batch.batch_id,
        "model": name,
        "host": judge.host,
        "pairs": len(asked.records),
        "kept": asked.kept,
    }


def _figures(told: Estimate) -> dict[str, Any]:
    """Of a run: requests, those that were paid for before, tokens and cost by the estimate."""
    cost = told.cost if math.isfinite(told.cost) else None
    return {"requests": told.requests, "cached": told.cached, "tokens": told.tokens, "cost": cost}


def _annotator(name: str) -> str:
    """The model's name among annotators. Raises StoreError where it is none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        name = ""
    if not name or name != name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise StoreError(
            f"model {name!r:.80} is no name; give --judge-model up to {LONGEST_NAME} printable characters without "
            "spaces around them."
        )
    return JUDGE + name


def _outcome(chance: float) -> Literal["a", "b", "tie"]:
    """The side of a chance that a wins: 1, 0, or 0.5 for a tie."""
    return "a" if chance > 0.5 else "b" if chance < 0.5 else "tie"


def _digest(name: str, judge: EndpointJudge, asked: _Asked) -> str:
    """sha256 of what was asked, answers left out: it stands on the pages."""
    keys = [record["pair_id"] for record in asked.records]
    whole = json.dumps([name, judge.host, INSTRUCTION, keys, asked.matches])
    return hashlib.sha256(whole.encode()).hexdigest()
