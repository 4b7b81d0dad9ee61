"""What annotators' answers say about the annotating: agreement, left bias, ties, strength, time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from curation.insight.annotators import AnnotatorFigures, between, by_annotator, left_bias, median_seconds, within
from curation.insight.rater_agreement import (
    Agreement,
    Metric,
    agreement_of,
    krippendorff_alpha,
    pairwise_agreement,
)
from curation.pool.labels import MUCH, Label, graded_outcome

STEPS = ("left_much", "left_slightly", "tie", "right_slightly", "right_much", "both_bad")


@dataclass(frozen=True)
class Quality:
    """Figures of a batch's labels. Rates are shares from 0 to 1, None where nothing can be said.

    alpha: Krippendorff's alpha over pairs answered more than once (`doubled` of them), by `metric`: ordinal on the five
    steps where every answer has a strength, else nominal on a, b and tie. alpha_sides: always the nominal one, so that
    graded and binary batches compare. agreement: share of two answers with the same side; agreement_steps: the same
    step. left_share: of the decided answers, with its 95 % interval; 0.5 without bias. seconds: median per answer.
    graded: answers with a strength; steps: how often each; both_bad_rate: of these. The figures above take all answers
    to a pair alike; between: different people, everybody's first answer; within: one person with herself; None where
    there is no such pair. by_annotator: everybody's own figures.
    """

    answers: int
    pairs: int
    annotators: int
    doubled: int
    alpha: float | None
    agreement: float | None
    left_share: float | None
    left_interval: tuple[float, float] | None
    tie_rate: float | None
    skip_rate: float | None
    seconds: float | None
    metric: Metric = "nominal"
    alpha_sides: float | None = None
    agreement_steps: float | None = None
    graded: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    both_bad_rate: float | None = None
    between: Agreement | None = None
    within: Agreement | None = None
    by_annotator: list[AnnotatorFigures] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """The figures in words, one sentence each."""
        out = [f"{self.answers:,} answers of {self.annotators} annotators on {self.pairs:,} pairs."]
        if self.alpha is not None:
            out.append(
                f"On {self.doubled:,} pairs answered more than once, two answers agree in {self.agreement:.0%} "
                f"(Krippendorff's alpha{self._metric_words()} {self.alpha:.2f}; 0 is chance, 1 is perfect)."
            )
        elif not self.doubled:
            out.append("No pair was answered twice, so agreement cannot be told; keep an overlap next time.")
        if self.between is not None:
            out.append(f"Between different people: {self.between.words()}.")
        elif self.doubled:
            out.append(
                "No pair was answered by two different people, so agreement between people cannot be told: give the "
                "overlap to different people (`export --annotators`), and let answers come back with names."
            )
        if self.within is not None:
            out.append(f"One person with herself: {self.within.words()}.")
        if self.left_share is not None and self.left_interval is not None:
            low, high = self.left_interval
            verdict = "no sign of a position bias" if low <= 0.5 <= high else "a position bias"
            out.append(f"The left answer wins {self.left_share:.0%} ({low:.0%} to {high:.0%}): {verdict}.")
        if self.tie_rate is not None and self.skip_rate is not None:
            out.append(f"Ties {self.tie_rate:.0%}, skips {self.skip_rate:.0%}.")
        if self.graded and self.both_bad_rate is not None:
            told = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in self.steps.items())
            out.append(
                f"{self.graded:,} answers with strength: {told}. Both bad in {self.both_bad_rate:.0%}; these count as "
                "ties above and in training."
            )
        if self.seconds is not None:
            out.append(f"Median time per answer {self.seconds:.0f} s.")
        return out

    def _metric_words(self) -> str:
        if self.metric == "nominal":
            return ""
        sides = "" if self.alpha_sides is None else f", {self.alpha_sides:.2f} on sides alone"
        steps = "" if self.agreement_steps is None else f", the same step in {self.agreement_steps:.0%}"
        return f" on the five steps, {self.metric}{sides}{steps}:"


def label_quality(answers: Sequence[Label]) -> Quality:
    """Figures of the answers of one batch."""
    told = [answer for answer in answers if answer.outcome != "skip"]
    units: dict[str, list[Label]] = defaultdict(list)
    for answer in told:
        units[answer.pair_id].append(answer)
    doubled = [values for values in units.values() if len(values) > 1]
    sides = [[answer.outcome for answer in values] for values in doubled]
    graded = [answer for answer in told if answer.graded]
    ordinal = bool(told) and len(graded) == len(told)
    steps = [[graded_outcome(answer) for answer in values] for values in doubled] if ordinal else []
    alpha_sides = krippendorff_alpha(sides)
    left_share, left_interval = left_bias(told)
    counts = Counter(_step(answer) for answer in graded)
    return Quality(
        answers=len(answers),
        pairs=len({answer.pair_id for answer in answers}),
        annotators=len({answer.annotator for answer in answers}),
        doubled=len(doubled),
        alpha=krippendorff_alpha(steps, metric="ordinal") if ordinal else alpha_sides,
        agreement=pairwise_agreement(sides),
        left_share=left_share,
        left_interval=left_interval,
        tie_rate=sum(answer.outcome == "tie" for answer in told) / len(told) if told else None,
        skip_rate=1 - len(told) / len(answers) if answers else None,
        seconds=median_seconds(answers),
        metric="ordinal" if ordinal else "nominal",
        alpha_sides=alpha_sides,
        agreement_steps=pairwise_agreement(steps) if ordinal else None,
        graded=len(graded),
        steps={name: counts[name] for name in STEPS} if graded else {},
        both_bad_rate=counts["both_bad"] / len(graded) if graded else None,
        between=_agreement(between(told), ordinal=ordinal),
        within=_agreement(within(told), ordinal=ordinal),
        by_annotator=by_annotator(answers),
    )


def _agreement(units: Sequence[Sequence[Label]], *, ordinal: bool) -> Agreement | None:
    steps = [[graded_outcome(answer) for answer in unit] for unit in units] if ordinal else None
    return agreement_of([[str(answer.outcome) for answer in unit] for unit in units], steps)


def _step(label: Label) -> str:
    """The step of a graded answer as the annotator saw it, left and right."""
    if label.outcome == "tie":
        return "both_bad" if label.both_bad else "tie"
    return f"{'left' if label.outcome == label.left else 'right'}_{'much' if label.strength == MUCH else 'slightly'}"
