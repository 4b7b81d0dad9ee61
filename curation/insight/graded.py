"""Answers with strength: how a person answers on a scale of five, and what such an answer is worth.

A pair has the latent y = eta + noise, eta = reward difference / temperature, noise logistic. A binary answer is the
sign of y (Bradley and Terry), a graded one the band of y between -t2, -t1, t1 and t2: both come from one draw, so they
are compared on the same pairs with the same luck. Levels are 0 right much, 1 right slightly, 2 tie, 3 left slightly,
4 left much. "Both bad" says nothing about the order of the two and is no level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import bisect
from scipy.special import expit

from curation.errors import CurationError

Array = NDArray[np.float64]
Thresholds = tuple[float, float]  # t1, t2 in units of the noise: 0 <= t1 < t2
LEVELS = ("right much", "right slightly", "tie", "left slightly", "left much")
SOFT = (0.05, 0.3, 0.5, 0.7, 0.95)  # chance of `left` that a level stands for in a binary learner
LOGISTIC_VARIANCE = np.pi**2 / 3


class GradedError(CurationError):
    """Graded answers cannot be drawn or fitted as asked."""


@dataclass(frozen=True)
class Answering:
    """How annotators use the scale. ties: share of the answers to random pairs. much: share of the others that are
    `much`. jitter: standard deviation of the log factor by which an annotator's own thresholds differ from those.
    annotators: among whom the pairs are dealt."""

    ties: float = 0.2
    much: float = 0.5
    jitter: float = 0.0
    annotators: int = 10

    def __post_init__(self) -> None:
        for name, value in (("ties", self.ties), ("much", self.much)):
            if not 0 < value < 1:
                raise GradedError(
                    f"a share {name} of {value:g} is outside (0, 1); try {'0.2' if name == 'ties' else '0.5'}."
                )
        if not (self.jitter >= 0 and np.isfinite(self.jitter)):
            raise GradedError(f"a jitter of {self.jitter:g} is not a number from 0 up; 0.3 is a strong one.")
        if self.annotators < 1:
            raise GradedError(f"{self.annotators} annotators cannot answer anything; give 1 or more.")


def levels_of(latent: Array, thresholds: Thresholds | tuple[Array, Array]) -> NDArray[np.int64]:
    """Level of each latent y; thresholds may be arrays, one of each answer's annotator."""
    low, high = np.asarray(thresholds[0]), np.asarray(thresholds[1])
    above = [latent > cut for cut in (-high, -low, low, high)]
    return np.asarray(np.sum(above, axis=0, dtype=np.int64))


def level_probabilities(eta: ArrayLike, thresholds: Thresholds) -> Array:
    """Chance of each level, (..., 5), of pairs with given eta (...)."""
    above = expit(
        np.asarray(eta, dtype=np.float64)[..., None] - np.array(cuts_of(thresholds))
    )  # of lying above each cut
    edge = np.ones((*above.shape[:-1], 1))
    return -np.diff(np.concatenate([edge, above, 0 * edge], axis=-1), axis=-1)


def agreement(eta: Array) -> float:
    """Share of pairs on which two independent binary answers agree; a pair of equal rewards agrees half the time."""
    chance = expit(eta)
    return float(np.mean(chance**2 + (1 - chance) ** 2))


def graded_agreement(eta: Array, thresholds: Thresholds) -> float:
    """Share of pairs on which two independent graded answers are the same level, ties counted as one more level."""
    return float(np.square(level_probabilities(eta, thresholds)).sum(-1).mean())


def temperature_for_agreement(gaps: Array, wanted: float) -> float:
    """Temperature at which two annotators' binary answers agree on a share `wanted` of random pairs.

    gaps: reward differences of the pool's pairs, all alike likely. Found by bisection: agreement falls from 1 (1/2
    where rewards are equal) to 1/2 as the temperature rises. Raises GradedError where the pool cannot give it.
    """
    most = float(np.mean(np.where(gaps == 0, 0.5, 1.0)))
    if not 0.5 < wanted < most:
        raise GradedError(
            f"--agreement {wanted:g} cannot be had on this pool: two annotators agree on 0.5 (coins) to {most:.3g} of "
            "its random pairs (pairs of equal quality agree half the time); give a share between."
        )
    scale = float(np.mean(np.abs(gaps[gaps != 0])))
    return float(np.exp(_root(lambda log_t: agreement(gaps / np.exp(log_t)) - wanted, np.log(scale), width=4.0)))


def thresholds_by_share(eta: Array, *, ties: float = 0.2, much: float = 0.5) -> Thresholds:
    """Thresholds at which random pairs give a share `ties` of ties, and a share `much` of the other answers is much."""

    def threshold(share: float) -> float:
        def excess(log_t: float) -> float:
            t = np.exp(log_t)
            return float(np.mean(expit(t - eta) - expit(-t - eta))) - share

        return float(np.exp(_root(excess, 0.0, width=4.0)))

    return threshold(ties), threshold(ties + (1 - ties) * (1 - much))


def thresholds_by_scale(eta: Array, *, slight: float = 0.25, much: float = 1.0) -> Thresholds:
    """Thresholds at fixed multiples of the latent's standard deviation over random pairs, noise included."""
    scale = float(np.sqrt(np.mean(np.square(eta)) + LOGISTIC_VARIANCE))
    return slight * scale, much * scale


def soft_targets(eta: Array, thresholds: Thresholds) -> tuple[float, ...]:
    """Chance that a second, binary answer says left, given the level of the first: what pairs answered twice tell.

    Over pairs with given eta and the same pairs shown the other way round, so targets mirror each other.
    """
    both = np.concatenate([eta, -eta])
    p = level_probabilities(both, thresholds)
    return tuple(float(value) for value in (p * expit(both)[:, None]).sum(0) / p.sum(0))


def cuts_of(thresholds: Thresholds) -> tuple[float, float, float, float]:
    """Where the latent passes from one level to the next: -t2, -t1, t1, t2, rising."""
    low, high = thresholds
    return -high, -low, low, high


def _root(function: Callable[[float], float], middle: float, *, width: float) -> float:
    """Where a monotone function of a logarithm is 0, widening from a first guess."""
    while function(middle - width) * function(middle + width) > 0 and width < 600:
        width *= 2
    return float(bisect(function, middle - width, middle + width, xtol=1e-10))
