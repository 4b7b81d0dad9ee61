"""The review queue: which pairs of a batch to look at, in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from curation.batch.folder import Record
from curation.health.foregone import Foregone, foregone
from curation.pool.schema import prompt_text

STATES = ("undecided", "approve", "reject", "flag")
SORTS = {
    "price of dropping, highest first": ("drop_cost", False),
    "score, highest first": ("score", False),
    "feature distance, smallest first": ("feature_distance", True),
    "prompt": ("prompt_id", True),
    "batch order": ("position", True),
    "random, the same for everybody": ("chance", True),
}


@dataclass(frozen=True)
class Filter:
    """What the queue shows. states, strata, generators: empty means all. words: must occur in prompt or responses, or
    be how the pair's or the prompt's id begins. known: only pairs whose outcome is known beforehand.
    """

    states: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    words: str = ""
    sort: str = "price of dropping, highest first"
    only: tuple[str, ...] = ()  # pair ids sent over from another page
    known: bool = False


def decision_words(decisions: Mapping[str, Any], records: Sequence[Record]) -> dict[str, str]:
    """The word of every pair of a batch: approve, reject, flag or undecided."""
    words = {}
    for record in records:
        made = decisions.get(record["pair_id"])
        words[record["pair_id"]] = "undecided" if made is None or made.decision == "clear" else made.decision
    return words


def known_beforehand(record: Record, prompt: str | None = None) -> Foregone | None:
    """What is known of a record's outcome from its texts; sides as on screen, 0 left. prompt: its text, if at hand."""
    order = ("a", "b") if record["left"] == "a" else ("b", "a")
    left, right = (record[f"response_{side}"] for side in order)
    return foregone(prompt_text(record["prompt"]) if prompt is None else prompt, left, right)


class QueueTable:
    """The pairs of a batch as a table made once, so that filters and sorts of a long queue answer at once.

    seed: of the random order, which is the same wherever it is given. known: pair_id -> what is known of its outcome
    before anybody is asked, by `left` and `right` as 0 and 1.
    """

    def __init__(self, records: Sequence[Record], *, seed: str = "") -> None:
        texts = [prompt_text(record["prompt"]) for record in records]
        self.known = {record["pair_id"]: told for record, text in zip(records, texts, strict=True)
                      if (told := known_beforehand(record, text)) is not None}  # fmt: skip
        self.frame = pd.DataFrame(
            {
                "pair_id": [record["pair_id"] for record in records],
                "stratum": [record["stratum"] or "(none)" for record in records],
                "prompt_id": [record["prompt_id"] for record in records],
                "prompt": [" ".join(text[:2000].split())[:160] for text in texts],
                "drop_cost": [record["drop_cost"] for record in records],
                "score": [record["score"] for record in records],
                "feature_distance": [record["feature_distance"] for record in records],
                "position": range(len(records)),
                "chance": [hashlib.sha256(f"{seed}:{record['pair_id']}".encode()).hexdigest() for record in records],
                "known": [record["pair_id"] in self.known for record in records],
            }
        )
        self.generators = [{record["generator_a"], record["generator_b"]} for record in records]
        self._records, self._texts = records, texts

    def select(self, words: Mapping[str, str], wanted: Filter) -> pd.DataFrame:
        """Rows pair_id, decision, stratum, prompt, drop_cost, score, ... of the pairs that match, sorted."""
        frame = self.frame.assign(decision=self.frame["pair_id"].map(words))
        keep = pd.Series(True, index=frame.index)
        if wanted.only:
            keep &= frame["pair_id"].isin(wanted.only)
        if wanted.known:
            keep &= frame["known"]
        if wanted.states:
            keep &= frame["decision"].isin(wanted.states)
        if wanted.strata:
            keep &= frame["stratum"].isin(wanted.strata)
        if wanted.generators:
            chosen = set(wanted.generators)
            keep &= pd.Series([bool(names & chosen) for names in self.generators], index=frame.index)
        needle = wanted.words.strip().lower()
        if needle:
            keep &= pd.Series([self._holds(n, needle) for n in range(len(frame))], index=frame.index)
        column, ascending = SORTS[wanted.sort]
        return frame[keep].sort_values(column, ascending=ascending, kind="stable", ignore_index=True)

    def _holds(self, position: int, needle: str) -> bool:
        record = self._records[position]
        if record["pair_id"].lower().startswith(needle) or str(record["prompt_id"]).lower().startswith(needle):
            return True
        parts = (self._texts[position], record["response_a"], record["response_b"])
        return any(needle in part.lower() for part in parts)


def next_pair(queue: Sequence[str], words: Mapping[str, str], current: str | None) -> str | None:
    """The next undecided pair after the current one, going round; else the next pair; None for an empty queue."""
    if not queue:
        return None
    place = queue.index(current) if current in queue else -1
    order = [*queue[place + 1 :], *queue[: place + 1]]
    return next((key for key in order if words.get(key) == "undecided" and key != current), order[0])
