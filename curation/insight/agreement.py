"""What annotators' answers say about the annotating: agreement, left bias, ties, time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

Answer = tuple[str, str, str, str, float | None]  # pair_id, annotator, outcome (a, b, tie, skip), left (a, b), seconds


@dataclass(frozen=True)
class Quality:
    """Figures of a batch's labels. Rates are shares from 0 to 1, None where nothing can be said.

    alpha: Krippendorff's alpha, nominal, over pairs answered more than once (`doubled` of them). left_share: of the
    decided answers, with its 95 % interval; 0.5 without bias. seconds: median per answer.
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

    def sentences(self) -> list[str]:
        """The figures in words, one sentence each."""
        out = [f"{self.answers:,} answers of {self.annotators} annotators on {self.pairs:,} pairs."]
        if self.alpha is not None:
            out.append(
                f"On {self.doubled:,} pairs answered more than once, two answers agree in {self.agreement:.0%} "
                f"(Krippendorff's alpha {self.alpha:.2f}; 0 is chance, 1 is perfect)."
            )
        elif not self.doubled:
            out.append("No pair was answered twice, so agreement cannot be told; keep an overlap next time.")
        if self.left_share is not None and self.left_interval is not None:
            low, high = self.left_interval
            verdict = "no sign of a position bias" if low <= 0.5 <= high else "a position bias"
            out.append(f"The left answer wins {self.left_share:.0%} ({low:.0%} to {high:.0%}): {verdict}.")
        if self.tie_rate is not None and self.skip_rate is not None:
            out.append(f"Ties {self.tie_rate:.0%}, skips {self.skip_rate:.0%}.")
        if self.seconds is not None:
            out.append(f"Median time per answer {self.seconds:.0f} s.")
        return out


def label_quality(answers: Sequence[Answer]) -> Quality:
    """Figures of the answers of one batch."""
    told = [answer for answer in answers if answer[2] != "skip"]
    units = defaultdict(list)
    for pair, _, outcome, _, _ in told:
        units[pair].append(outcome)
    doubled = [values for values in units.values() if len(values) > 1]
    decided = [answer for answer in told if answer[2] in ("a", "b")]
    left = sum(outcome == side for _, _, outcome, side, _ in decided)
    interval = None
    if decided:
        found = binomtest(left, len(decided)).proportion_ci(method="wilson")
        interval = (float(found.low), float(found.high))
    times = [seconds for *_, seconds in answers if seconds is not None]
    return Quality(
        answers=len(answers),
        pairs=len({answer[0] for answer in answers}),
        annotators=len({answer[1] for answer in answers}),
        doubled=len(doubled),
        alpha=krippendorff_alpha(doubled),
        agreement=_pairwise(doubled),
        left_share=left / len(decided) if decided else None,
        left_interval=interval,
        tie_rate=sum(answer[2] == "tie" for answer in told) / len(told) if told else None,
        skip_rate=1 - len(told) / len(answers) if answers else None,
        seconds=float(np.median(times)) if times else None,
    )


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Krippendorff's alpha for nominal values, 1 - observed / expected disagreement, from the coincidence matrix.

    units: the values given to each unit; units with fewer than two are left out. None where there is nothing to
    compare, or only one value was ever given (chance agreement is then certain). Krippendorff (2011), "Computing
    Krippendorff's Alpha-Reliability".
    """
    coincidence: Counter[tuple[str, str]] = Counter()
    for values in units:
        m = len(values)
        if m < 2:
            continue
        counts = Counter(values)
        for first, n in counts.items():
            for second, k in counts.items():
                pairs = n * (k - 1) if first == second else n * k
                if pairs:
                    coincidence[first, second] += pairs / (m - 1)  # type: ignore[assignment]
    totals: Counter[str] = Counter()
    for (first, _), count in coincidence.items():
        totals[first] += count
    n = sum(totals.values())
    expected = sum(totals[c] * totals[k] for c in totals for k in totals if c != k)
    if n <= 1 or not expected:
        return None
    observed = sum(count for (c, k), count in coincidence.items() if c != k)
    return 1 - (n - 1) * observed / expected


def _pairwise(units: Sequence[Sequence[str]]) -> float | None:
    """Share of pairs of answers to the same unit that are equal."""
    same = total = 0
    for values in units:
        m = len(values)
        total += m * (m - 1) // 2
        same += sum(n * (n - 1) // 2 for n in Counter(values).values())
    return same / total if total else None
