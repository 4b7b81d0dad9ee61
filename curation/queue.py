"""The review queue: which pairs of a batch to look at, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from curation.batch import Record
from curation.pool.schema import prompt_text

STATES = ("undecided", "approve", "reject", "flag")
SORTS = {
    "price of dropping, highest first": ("drop_cost", False),
    "score, highest first": ("score", False),
    "feature distance, smallest first": ("feature_distance", True),
    "prompt": ("prompt_id", True),
    "batch order": ("position", True),
}


@dataclass(frozen=True)
class Filter:
    """What the queue shows. states, strata, generators: empty means all. words: must occur in prompt or responses."""

    states: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    words: str = ""
    sort: str = "price of dropping, highest first"
    only: tuple[str, ...] = ()  # pair ids sent over from the map


def decision_words(decisions: Mapping[str, Any], records: Sequence[Record]) -> dict[str, str]:
    """The word of every pair of a batch: approve, reject, flag or undecided."""
    words = {}
    for record in records:
        made = decisions.get(record["pair_id"])
        words[record["pair_id"]] = "undecided" if made is None or made.decision == "clear" else made.decision
    return words


def review_queue(records: Sequence[Record], words: Mapping[str, str], wanted: Filter) -> pd.DataFrame:
    """Rows pair_id, decision, stratum, prompt, drop_cost, score, ... of the pairs that match, sorted."""
    rows = []
    needle = wanted.words.strip().lower()
    for position, record in enumerate(records):
        key = record["pair_id"]
        text = prompt_text(record["prompt"])
        if wanted.only and key not in wanted.only:
            continue
        if wanted.states and words[key] not in wanted.states:
            continue
        if wanted.strata and (record["stratum"] or "(none)") not in wanted.strata:
            continue
        if wanted.generators and not {record["generator_a"], record["generator_b"]} & set(wanted.generators):
            continue
        if needle and not any(needle in part.lower() for part in (text, record["response_a"], record["response_b"])):
            continue
        rows.append(
            {
                "pair_id": key,
                "decision": words[key],
                "stratum": record["stratum"] or "(none)",
                "prompt_id": record["prompt_id"],
                "prompt": " ".join(text.split())[:160],
                "drop_cost": record["drop_cost"],
                "score": record["score"],
                "feature_distance": record["feature_distance"],
                "position": position,
            }
        )
    frame = pd.DataFrame(
        rows,
        columns=[
            "pair_id",
            "decision",
            "stratum",
            "prompt_id",
            "prompt",
            "drop_cost",
            "score",
            "feature_distance",
            "position",
        ],
    )
    column, ascending = SORTS[wanted.sort]
    return frame.sort_values(column, ascending=ascending, kind="stable", ignore_index=True)


def next_pair(queue: Sequence[str], words: Mapping[str, str], current: str | None) -> str | None:
    """The next undecided pair after the current one, going round; else the next pair; None for an empty queue."""
    if not queue:
        return None
    place = queue.index(current) if current in queue else -1
    order = [*queue[place + 1 :], *queue[: place + 1]]
    return next((key for key in order if words.get(key) == "undecided" and key != current), order[0])
