"""A label: one annotator's answer on one pair, decoded to the pair's own responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["a", "b", "tie", "skip"]


@dataclass(frozen=True)
class Label:
    """An annotator's answer on a pair of a batch.

    outcome: the response preferred. left: which stood on the left. copy: 1, 2, ... of a pair labelled more than once.
    """

    pair_id: str
    outcome: Outcome
    annotator: str
    left: Literal["a", "b"]
    copy: int
    seconds: float | None
