"""Shares and means of labels with intervals that do not take labels of one prompt for independent."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from curation.insight.clustered import Interval

Array = NDArray[np.float64]


def clustered_share(wins: Array, trials: Array, groups: NDArray[np.int64], *, inflation: float = 1.0) -> Interval:
    """A share with a 95 % interval that does not take labels of one prompt for independent.

    Wilson's interval at the effective number of labels, n over the design effect (variance of the share between
    prompts over the binomial one, at least 1), with the t quantile of the number of prompts. Where all labels agree
    the effective number is that of the prompts. inflation: of the variance, where labels hang together otherwise too.
    """
    _, place = np.unique(groups, return_inverse=True)
    won, count = np.bincount(place, weights=wins), np.bincount(place, weights=trials)
    prompts, n = len(won), float(trials.sum())
    p = float(won.sum()) / n
    effective = float(prompts)
    if 0.0 < p < 1.0 and prompts > 1:
        between = float(np.square(won - p * count).sum()) / n**2 * prompts / (prompts - 1)
        effective = n / max(between / (p * (1 - p) / n), 1.0)
    effective /= inflation
    z2 = float(student.ppf(0.975, max(prompts - 1, 1))) ** 2
    centre = (p + z2 / (2 * effective)) / (1 + z2 / effective)
    half = math.sqrt(z2 * (p * (1 - p) / effective + z2 / (4 * effective**2))) / (1 + z2 / effective)
    return Interval(p, max(centre - half, 0.0), min(centre + half, 1.0))


def clustered_mean(sums: Array, counts: Array) -> Interval:
    """Mean per label of sums (G,) over counts (G,), with the t interval that takes prompts as independent."""
    mean, prompts = float(sums.sum() / counts.sum()), len(sums)
    if prompts < 2:
        return Interval(mean, -math.inf, math.inf)
    error = math.sqrt(float(np.square(sums - mean * counts).sum()) * prompts / (prompts - 1)) / float(counts.sum())
    width = float(student.ppf(0.975, prompts - 1)) * error
    return Interval(mean, mean - width, mean + width)
