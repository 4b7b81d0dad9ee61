"""What each annotator's answers say of her, and the pairs on which people disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from curation.pool.labels import Label

Interval = tuple[float, float]


@dataclass(frozen=True)
class AnnotatorFigures:
    """One annotator. Rates are shares from 0 to 1, None where nothing can be said; seconds: median per answer.

    left_share: of the decided answers, with its 95 % interval. compared: answers of others to the same pairs;
    with_others: share of them that took the same side. again: pairs answered more than once; with_herself: share that
    stayed.
    """

    annotator: str
    answers: int
    pairs: int
    left_share: float | None
    left_interval: Interval | None
    tie_rate: float | None
    skip_rate: float
    seconds: float | None
    compared: int
    with_others: float | None
    again: int
    with_herself: float | None


def by_annotator(answers: Sequence[Label]) -> list[AnnotatorFigures]:
    """Figures of everybody who answered, by name."""
    own: dict[str, list[Label]] = defaultdict(list)
    for answer in answers:
        own[answer.annotator].append(answer)
    same: dict[str, list[bool]] = defaultdict(list)
    for unit in between(answers):
        for one in unit:
            same[one.annotator] += [one.outcome == other.outcome for other in unit if other is not one]
    stayed: dict[str, list[bool]] = defaultdict(list)
    for unit in within(answers):
        stayed[unit[0].annotator].append(len({answer.outcome for answer in unit}) == 1)
    return [_figures(name, own[name], same[name], stayed[name]) for name in sorted(own)]


def _figures(name: str, answers: Sequence[Label], same: Sequence[bool], stayed: Sequence[bool]) -> AnnotatorFigures:
    told = [answer for answer in answers if answer.outcome != "skip"]
    share, interval = left_bias(told)
    return AnnotatorFigures(
        annotator=name,
        answers=len(answers),
        pairs=len({answer.pair_id for answer in answers}),
        left_share=share,
        left_interval=interval,
        tie_rate=sum(answer.outcome == "tie" for answer in told) / len(told) if told else None,
        skip_rate=1 - len(told) / len(answers),
        seconds=median_seconds(answers),
        compared=len(same),
        with_others=sum(same) / len(same) if same else None,
        again=len(stayed),
        with_herself=sum(stayed) / len(stayed) if stayed else None,
    )


def left_bias(answers: Iterable[Label]) -> tuple[float | None, Interval | None]:
    """Share of decided answers that took the left side, with its 95 % interval (Wilson); 0.5 without bias."""
    decided = [answer for answer in answers if answer.outcome in ("a", "b")]
    if not decided:
        return None, None
    left = sum(answer.outcome == answer.left for answer in decided)
    found = binomtest(left, len(decided)).proportion_ci(method="wilson")
    return left / len(decided), (float(found.low), float(found.high))


def median_seconds(answers: Iterable[Label]) -> float | None:
    """Median time of the answers that have one."""
    times = [answer.seconds for answer in answers if answer.seconds is not None]
    return float(np.median(times)) if times else None


def between(answers: Iterable[Label]) -> list[list[Label]]:
    """Pairs that different people answered, each with everybody's first answer (skips are none)."""
    return [first for first in firsts(answers).values() if len(first) > 1]


def firsts(answers: Iterable[Label]) -> dict[str, list[Label]]:
    """pair_id -> everybody's first answer to the pair (skips are none)."""
    found: dict[str, dict[str, Label]] = defaultdict(dict)
    for answer in sorted(answers, key=lambda label: label.copy):
        if answer.outcome != "skip":
            found[answer.pair_id].setdefault(answer.annotator, answer)
    return {pair: list(people.values()) for pair, people in found.items()}


def within(answers: Iterable[Label]) -> list[list[Label]]:
    """Pairs that one person answered more than once, each person by herself (skips are none)."""
    found: dict[tuple[str, str], list[Label]] = defaultdict(list)
    for answer in answers:
        if answer.outcome != "skip":
            found[answer.pair_id, answer.annotator].append(answer)
    return [unit for unit in found.values() if len(unit) > 1]


def conflicts(answers: Iterable[Label]) -> list[dict[str, Any]]:
    """Pairs on which people took different sides, for somebody to settle: opposite sides first, then win against tie.

    Each has pair_id, `opposed` (somebody chose a and somebody b) and everybody's first answer.
    """
    found = []
    for unit in between(answers):
        sides = {answer.outcome for answer in unit}
        if len(sides) > 1:
            told = [
                {"annotator": a.annotator, "outcome": a.outcome, "strength": a.strength, "both_bad": a.both_bad}
                for a in sorted(unit, key=lambda label: label.annotator)
            ]
            found.append({"pair_id": unit[0].pair_id, "opposed": {"a", "b"} <= sides, "answers": told})
    return sorted(found, key=lambda conflict: (not conflict["opposed"], conflict["pair_id"]))
