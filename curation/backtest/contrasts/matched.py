"""The pair of every prompt that is far apart in the Fisher metric for how little its answers differ in length."""

from __future__ import annotations

from torch import Tensor

from curation.backtest.contrasts import length_gap
from curation.backtest.contrasts.base import Contrast, Sight

MATCHED = 0.3  # of the mean squared difference of log length: what is added to a pair's own


def values(sight: Sight) -> Tensor:
    """(pairs,) z'Mz over the squared difference of log length."""
    gap = length_gap.values(sight)
    return sight.prepared.geometry.quadratic(sight.criterion.root) / (MATCHED * gap.mean().clamp_min(1e-12) + gap)


PLUG = Contrast(name="matched", rank=20, values=values)
