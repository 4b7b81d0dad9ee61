"""A label: one annotator's answer on one pair, decoded to the pair's own responses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["a", "b", "tie", "skip"]
SLIGHTLY, MUCH = 1, 2


@dataclass(frozen=True)
class Label:
    """An annotator's answer on a pair of a batch.

    outcome: the response preferred. left: which stood on the left. copy: 1, 2, ... of a pair labelled more than once.
    strength: 0 for a tie, 1 slightly, 2 much better; None where strength was not asked for, or not given. both_bad: a
    tie because neither response will do. Raises ValueError where strength and outcome do not go together.
    """

    pair_id: str
    outcome: Outcome
    annotator: str
    left: Literal["a", "b"]
    copy: int
    seconds: float | None
    strength: int | None = None
    both_bad: bool = False

    def __post_init__(self) -> None:
        fits = {"a": (SLIGHTLY, MUCH), "b": (SLIGHTLY, MUCH), "tie": (0,), "skip": ()}[self.outcome]
        if self.strength is not None and self.strength not in fits:
            raise ValueError(
                f"strength {self.strength!r} does not go with outcome {self.outcome!r}; a win has 1 (slightly) or 2 "
                "(much), a tie 0, a skip none."
            )
        if self.both_bad and (self.outcome != "tie" or self.strength != 0):
            raise ValueError(f"both_bad is a tie of strength 0, not {self.outcome!r} of strength {self.strength!r}.")

    @property
    def graded(self) -> bool:
        """Whether the answer says how much better; a binary answer and a skip do not."""
        return self.strength is not None


def graded_outcome(label: Label) -> int:
    """The answer on one scale, -2 to 2: b much, b slightly, tie or both bad, a slightly, a much better.

    A binary answer says only the side and is given as -1 or 1; `label.graded` tells it from "slightly" (a cumulative
    logit must treat it as "any win": the sum of both steps of its side). Raises ValueError for a skip.
    """
    if label.outcome == "skip":
        raise ValueError(f"the answer of {label.annotator!r} on pair {label.pair_id} is a skip: it has no outcome.")
    sign = {"a": 1, "b": -1, "tie": 0}[label.outcome]
    return sign * (SLIGHTLY if label.strength is None else label.strength)


def same_answer(one: Label, other: Label) -> bool:
    """Whether two labels say the same: outcome, strength, and whether both are bad."""
    return (one.outcome, one.strength, one.both_bad) == (other.outcome, other.strength, other.both_bad)


SETTLED = "(settled)"  # whose the answer on a pair is that was settled after people took different sides
JUDGE = "(judge) "  # how the name of a model that answers as a second rater begins; never a person


def reserved(annotator: str) -> bool:
    """Whether no person can have this name: it is the settled answer's, or a model's."""
    return annotator == SETTLED or annotator.startswith(JUDGE)


def people_only(labels: Iterable[Label]) -> list[Label]:
    """What people answered by themselves: neither settled answers nor a model's."""
    return [label for label in labels if not reserved(label.annotator)]


def settled_only(labels: Iterable[Label]) -> dict[str, Label]:
    """pair_id -> the settled answer."""
    return {label.pair_id: label for label in labels if label.annotator == SETTLED}


def in_force(labels: Sequence[Label]) -> list[Label]:
    """The labels that count for training and later batches: a settled pair's answer, else what people answered.

    A model's answers never count.
    """
    settled = settled_only(labels)
    return [*(label for label in people_only(labels) if label.pair_id not in settled), *settled.values()]
