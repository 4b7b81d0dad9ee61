"""A model as a second rater: how far it agrees with people on what they answered, and where it does not.

Nothing here speaks of a pair that no person has answered: a model's answer must not reach people before they gave
theirs, or it would move them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import binomtest

from curation.insight.annotators import firsts
from curation.insight.rater_agreement import gwet_ac1
from curation.pool.labels import JUDGE, Label, people_only

Interval = tuple[float, float]
SIDES = ("a", "b")


@dataclass(frozen=True)
class SecondRater:
    """A model beside people, on the pairs that both answered; skips are no answers.

    answers: people's, everybody's first on each of the `pairs`. decided: those that chose a side; same, opposite and
    model_ties: what the model says of these. people_ties: the rest, of which tied: the model says tie, too.
    agreement: same / decided with its 95 % interval (Wilson, answers as independent); None where nobody chose a side.
    ac1: Gwet's, over every answer beside the model's, ties included. disagreements: one a pair on which somebody
    answered otherwise than the model, in the order of `disagreements`.
    """

    model: str
    pairs: int
    answers: int
    decided: int
    same: int
    opposite: int
    model_ties: int
    people_ties: int
    tied: int
    agreement: float | None
    interval: Interval | None
    ac1: float
    disagreements: list[dict[str, Any]]

    def sentence(self) -> str:
        """The figures in words."""
        told = (
            f"{self.model} beside people, on the {self.pairs:,} {'pair' if self.pairs == 1 else 'pairs'} that both "
            f"answered ({self.answers:,} answers of people): "
        )
        if self.agreement is not None and self.interval is not None:
            low, high = self.interval
            told += (
                f"where people chose a side ({self.decided:,}) the model takes the same in {self.agreement:.0%} "
                f"({low:.0%} to {high:.0%}), the opposite in {self.opposite:,} and none in {self.model_ties:,}"
            )
        else:
            told += "nobody chose a side"
        ties = f"; of people's {self.people_ties:,} ties it calls {self.tied:,} a tie, too" if self.people_ties else ""
        return f"{told}{ties}. Gwet's AC1 {self.ac1:.2f}."


def second_raters(labels: Sequence[Label]) -> list[SecondRater]:
    """Figures of every model, by name, that answered a pair which a person has answered; other models are left out."""
    people = firsts(people_only(labels))
    models: dict[str, dict[str, Label]] = defaultdict(dict)
    for label in labels:
        if label.annotator.startswith(JUDGE) and label.pair_id in people and label.outcome != "skip":
            models[label.annotator][label.pair_id] = label
    return [_beside(name.removeprefix(JUDGE), models[name], people) for name in sorted(models)]


def _beside(model: str, answers: dict[str, Label], people: dict[str, list[Label]]) -> SecondRater:
    both = [(person, answers[pair]) for pair in answers for person in people[pair]]
    decided = [(person, its) for person, its in both if person.outcome in SIDES]
    same = sum(person.outcome == its.outcome for person, its in decided)
    model_ties = sum(its.outcome == "tie" for _, its in decided)
    ties = [its for person, its in both if person.outcome == "tie"]
    interval = binomtest(same, len(decided)).proportion_ci(method="wilson") if decided else None
    ac1 = gwet_ac1([[person.outcome, its.outcome] for person, its in both])
    assert ac1 is not None  # there is no model without a pair that a person answered
    return SecondRater(
        model=model,
        pairs=len(answers),
        answers=len(both),
        decided=len(decided),
        same=same,
        opposite=len(decided) - same - model_ties,
        model_ties=model_ties,
        people_ties=len(ties),
        tied=sum(its.outcome == "tie" for its in ties),
        agreement=same / len(decided) if decided else None,
        interval=None if interval is None else (float(interval.low), float(interval.high)),
        ac1=ac1,
        disagreements=disagreements(answers, people),
    )


def disagreements(answers: dict[str, Label], people: dict[str, list[Label]]) -> list[dict[str, Any]]:
    """Pairs on which somebody answered otherwise than the model: opposite sides first, then a side against a tie.

    Among these, pairs on which nobody is with the model come first. Each has pair_id, the model's `outcome`, `opposed`
    and everybody's first answer.
    """
    found = []
    for pair, its in answers.items():
        given = sorted(people[pair], key=lambda label: label.annotator)
        sides = {answer.outcome for answer in given}
        if sides != {its.outcome}:
            told = [
                {"annotator": a.annotator, "outcome": a.outcome, "strength": a.strength, "both_bad": a.both_bad}
                for a in given
            ]
            opposed = {its.outcome, *sides} >= set(SIDES) and its.outcome in SIDES
            found.append({"pair_id": pair, "outcome": its.outcome, "opposed": opposed, "answers": told})
    return sorted(
        found,
        key=lambda one: (
            not one["opposed"],
            any(answer["outcome"] == one["outcome"] for answer in one["answers"]),
            one["pair_id"],
        ),
    )
