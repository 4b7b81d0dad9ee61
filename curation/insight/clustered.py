"""Means over seeds and prompts at once, and how sure they are (two-way clustering).

Every seed judges policies on half of the same prompts, so neither seeds nor prompts are independent on their own. The
covariance of the means is V_seeds + V_prompts - V_cells (Cameron, Gelbach and Miller 2011), each from the cells'
influence on the means. On pools of random quality it matches the true spread, where resampling seeds and prompts
together gives 1.5 times as much and resampling seeds alone 0.8 times (experiments/LOG.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 3) -> str:
        """`+0.123 (+0.04 to +0.21)`."""
        return f"{self.value:+.{digits}f} ({self.low:+.{digits}f} to {self.high:+.{digits}f})"


@dataclass(frozen=True)
class Means:
    """Means (C,) with their three covariances, (C, C) each. freedom: degrees of freedom of their t distribution."""

    value: Array
    by_seed: Array
    by_prompt: Array
    by_cell: Array
    freedom: int

    def contrast(self, direction: Array) -> tuple[Interval, float]:
        """A linear combination (C,) of the means, with its 95 % t interval and one-sided p of not being above 0.

        Its variance is the two-way one, never below that of seeds or of prompts alone.
        """
        seed, prompt, cell = (float(direction @ v @ direction) for v in (self.by_seed, self.by_prompt, self.by_cell))
        error = math.sqrt(max(seed + prompt - cell, seed, prompt, 0.0))
        value = float(direction @ self.value)
        width = float(stdtrit(self.freedom, 0.975)) * error
        p = 1.0 - float(stdtr(self.freedom, value / error)) if error > 0 else 1.0
        return Interval(value, value - width, value + width), p

    def draws(self, count: int, rng: np.random.Generator) -> Array:
        """Means as they might have come out, (count, C): multivariate t with the two-way covariance."""
        values, vectors = np.linalg.eigh(self.by_seed + self.by_prompt - self.by_cell)
        root = vectors * np.sqrt(values.clip(min=0.0))
        normal = rng.standard_normal((count, len(values))) @ root.T
        scale = np.sqrt(self.freedom / rng.chisquare(self.freedom, size=(count, 1)))
        return np.asarray(self.value + normal * scale)


def clustered_means(values: Array, weights: Array) -> Means:
    """Weighted means of values (S, C, P), nan where a prompt was not judged, with prompt weights (P,)."""
    seeds, columns, prompts = values.shape
    judged = np.isfinite(values)
    mass = judged * weights
    total = mass.sum((0, 2))
    filled = np.where(judged, values, 0.0)
    mean = (filled * mass).sum((0, 2)) / total
    influence = mass * (filled - mean[:, None]) / total[:, None]
    by_seed = influence.sum(2)
    by_prompt = influence.sum(0)
    cells = influence.transpose(0, 2, 1).reshape(-1, columns)
    return Means(
        value=mean,
        by_seed=by_seed.T @ by_seed * (seeds / (seeds - 1)),
        by_prompt=by_prompt @ by_prompt.T * (prompts / (prompts - 1)),
        by_cell=cells.T @ cells,
        freedom=min(seeds, prompts) - 1,
    )
