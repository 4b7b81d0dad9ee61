"""What labels said: the figures of `learning.learn`, and their words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from curation.insight.clustered import Interval

Array = NDArray[np.float64]
Verdict = Literal["leading", "even", "small", "unknown"]


@dataclass(frozen=True)
class Leading:
    """Share of the logit's variance over random pairs in the `directions` leading Fisher directions of `of`.

    share: posterior mean with its 95 % interval. chance: of theta without a preferred direction (a = 0).
    """

    directions: int
    of: int
    share: Interval
    chance: float


@dataclass(frozen=True)
class HeldOut:
    """How the fitted policy does on labels of prompts it did not see: a fold of the prompts left out in turn.

    accuracy: share of labels it calls, ties counting half. log_loss: nats a label. gain: log 2 less log_loss, above 0
    where it knows more than a coin.
    """

    accuracy: Interval
    log_loss: float
    gain: Interval

    @property
    def proved(self) -> bool:
        """Whether it knows more than a coin, by either figure's interval."""
        return self.accuracy.low > 0.5 or self.gain.low > 0


@dataclass(frozen=True)
class Learnt:
    """What the labels say. log_evidence, weights: (powers, spreads), nats and posterior weights summing to 1.

    theta: (d,) posterior mean, length aside. precision: (d, d) of theta's posterior; prior_precision of theta under the
    best prior. by_direction, chance_by_direction: (d,) share of a random pair's logit variance along each Fisher
    direction, as fitted and at a = 0. length_effect: logits per unit of log length; length_evidence: log Bayes factor
    of there being one; length_share: of the fitted logit variance on the labelled pairs. signal: log evidence of the
    best prior over theta = 0.
    """

    labels: int
    pairs: int
    prompts: int
    powers: tuple[float, ...]
    spreads: tuple[float, ...]
    log_evidence: Array
    weights: Array
    theta: Array
    precision: Array
    prior_precision: Array
    leading: tuple[Leading, ...]
    by_direction: Array
    chance_by_direction: Array
    longer: Interval | None
    length_effect: Interval | None
    length_evidence: float
    length_share: float
    held_out: HeldOut | None
    signal: float
    decisive_at: float

    @property
    def evidence(self) -> Array:
        """Log evidence of every power, (powers,), its spread averaged out."""
        return np.asarray(logsumexp(self.log_evidence, axis=1) - math.log(len(self.spreads)))

    @property
    def lead(self) -> Array:
        """Log evidence of every power over a = 0, (powers,)."""
        evidence = self.evidence
        return np.asarray(evidence - evidence[self.powers.index(0.0)])

    @property
    def power(self) -> float:
        """The power with the highest evidence."""
        return self.powers[int(self.evidence.argmax())]

    @property
    def spread(self) -> float:
        """The spread with the highest evidence at that power."""
        return self.spreads[int(self.log_evidence[self.powers.index(self.power)].argmax())]

    @property
    def margin(self) -> float:
        """Nats by which the best power is ahead of a = 0, or a = 0 of every other: what `decisive_at` is asked of."""
        others = np.delete(self.lead, self.powers.index(0.0))
        return float(abs(others.max())) if len(others) else 0.0

    @property
    def verdict(self) -> Verdict:
        """Where quality lies: in the leading directions, as responses differ, in small ones, or nobody can say."""
        if self.margin < self.decisive_at or not len(self.powers) > 1:
            return "unknown"
        return "leading" if self.power < 0 else "small" if self.power > 0 else "even"

    @property
    def length_matters(self) -> bool:
        """Whether the labels are decisive that length has an effect of its own."""
        return self.length_evidence >= self.decisive_at

    def sentences(self) -> list[str]:
        """For people: where quality lies, whether longer wins, how well the fitted policy calls unseen labels."""
        return [self._where(), *filter(None, [self._length(), self._accuracy()])]

    def _where(self) -> str:
        first = self.leading[0]
        put = f"{first.share.value:.0%} of it in {first.directions} of {first.of}"
        if self.verdict == "unknown":
            return (
                f"{self.labels:,} labels are too few to say where quality lies (log evidence {self.margin:.1f} of the "
                f"{self.decisive_at:g} asked); the ridge stays as it is."
            )
        where = {
            "leading": f"quality lies in the leading directions ({put}; chance would put {first.chance:.0%} there)",
            "small": "quality lies in directions in which responses differ little "
            f"(only {put}; chance would put {first.chance:.0%} there)",
            "even": f"quality is spread over the directions as responses differ in them ({put})",
        }[self.verdict]
        return f"Your labels say: {where}; log evidence {self.margin:.1f} of the {self.decisive_at:g} asked."

    def _length(self) -> str | None:
        if self.longer is None:
            return None
        told = f"Longer wins {self.longer.value:.0%} ({self.longer.low:.0%} to {self.longer.high:.0%})"
        if not self.length_matters:
            return f"{told}; no length effect beside quality is proved."
        side = "longer" if self.length_effect is not None and self.length_effect.value > 0 else "shorter"
        return f"{told}; with quality held alike the {side} one is still preferred."

    def _accuracy(self) -> str | None:
        if self.held_out is None:
            return None
        right = self.held_out.accuracy
        verdict = (
            "more than a coin knows, by log loss or accuracy"
            if self.held_out.proved
            else "not provably more than a coin knows"
        )
        return (
            f"Held-out accuracy of the fitted policy {right.value:.0%} ({right.low:.0%} to {right.high:.0%}) on "
            f"{self.labels:,} labels of {self.prompts:,} prompts: {verdict}."
        )

    def to_dict(self) -> dict[str, Any]:
        """The figures as strict JSON, without the (d, d) matrices."""
        return {
            "labels": self.labels,
            "pairs": self.pairs,
            "prompts": self.prompts,
            "verdict": self.verdict,
            "power": self.power,
            "spread": self.spread,
            "margin": self.margin,
            "decisive_at": self.decisive_at,
            "signal": self.signal,
            "powers": list(self.powers),
            "lead": self.lead.tolist(),
            "weights": self.weights.tolist(),
            "spreads": list(self.spreads),
            "leading": [
                {"directions": one.directions, "of": one.of, "share": _triple(one.share), "chance": one.chance}
                for one in self.leading
            ],
            "longer_wins": _triple(self.longer),
            "length_effect": _triple(self.length_effect),
            "length_evidence": self.length_evidence,
            "length_share": self.length_share,
            "held_out": None
            if self.held_out is None
            else {
                "accuracy": _triple(self.held_out.accuracy),
                "log_loss": self.held_out.log_loss,
                "gain": _triple(self.held_out.gain),
            },
            "sentences": self.sentences(),
        }


def _triple(interval: Interval | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: value if math.isfinite(value) else None for name, value in ends.items()}
