"""How many uniform labels would be worth as much, in the criterion (docs/method.md section 8)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.geometry import Geometry

DRAWS = 6  # uniform batches of every size
MOST_DRAWN = 4096  # labels: beyond, expectation and draw agree


@dataclass(frozen=True)
class LabelEquivalent:
    """Uniform labels that reach the batch's criterion (inf: no number does), and their multiple of the budget."""

    labels: float
    budget: float

    @property
    def multiple(self) -> float:
        """Uniform labels per label of the batch."""
        return self.labels / self.budget

    def sentence(self) -> str:
        """The figure in words."""
        if math.isinf(self.labels):
            return (
                f"In the criterion, no number of uniform labels reaches what these {self.budget:g} labels reach. "
                "The criterion is not the reward."
            )
        return (
            f"In the criterion, {self.labels:,.0f} uniform labels would be worth these {self.budget:g} "
            f"({self.multiple:.2f} per label). The criterion is not the reward."
        )


def label_equivalent(
    criterion: Criterion,
    geometry: Geometry,
    batch_information: Tensor,
    budget: float,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> LabelEquivalent:
    """n' with T(n', uniform) = T(budget, batch), T(n, D) = f at n Sigma_D and n times the present design's prior.

    batch_information: (d, d), labels counted 1 / budget each. Uniform: any admissible pair with equal chance. Drawn
    against drawn: T(n', uniform) is the mean over `draws` uniform batches, because under a light ridge a batch of fewer
    labels than dimensions stands far behind its own expectation. Past MOST_DRAWN labels, or past the pool's pairs, and
    with draws = 0, it is that of the expected Sigma, which large batches reach.
    """
    scaled = criterion.under(budget)
    target = float(criterion.value(batch_information) / budget**-criterion.degree)
    drawn = _drawn_equivalent(scaled, geometry, target, draws, seed) if draws else None
    if drawn is not None:
        return LabelEquivalent(drawn, budget)
    uniform = geometry.uniform_information()
    labels = scaled.along(torch.zeros_like(uniform), uniform).growing()

    def excess(log_labels: float) -> float:
        return labels.value(math.exp(log_labels)) - target

    low, high = math.log(1e-6), math.log(1e12)
    if excess(high) > 0:
        return LabelEquivalent(math.inf, budget)
    if excess(low) < 0:
        return LabelEquivalent(0.0, budget)
    return LabelEquivalent(math.exp(float(brentq(excess, low, high, xtol=1e-12))), budget)


def uniform_value(
    criterion: Criterion, geometry: Geometry, labels: int, budget: float, *, draws: int = DRAWS, seed: int = 0
) -> float:
    """The criterion that so many uniform labels reach, counted 1 / budget each: the mean over `draws` batches of
    distinct pairs, each admissible one with equal chance. Past MOST_DRAWN, or past the pool's pairs, that of the
    expected Sigma."""
    if labels > min(geometry.pairs, MOST_DRAWN):
        return criterion.value(geometry.uniform_information() * (labels / budget))
    rng, total = np.random.default_rng([seed, 31]), 0.0
    for _ in range(draws):
        drawn = torch.as_tensor(rng.choice(geometry.pairs, size=labels, replace=False), device=geometry.device)
        alike = torch.full_like(drawn, 1.0 / budget, dtype=criterion.prior.dtype)
        total += criterion.value(geometry.information_of(drawn, alike))
    return total / draws


def _drawn_equivalent(scaled: Criterion, geometry: Geometry, target: float, draws: int, seed: int) -> float | None:
    """Labels at which uniform batches reach T = target on average; None where that takes more than may be drawn.

    Every draw is one order of pairs whose beginnings are its batches, so that T falls with the labels.
    """
    top = min(geometry.pairs, MOST_DRAWN)
    sizes = np.unique(np.geomspace(1, top, 48).round().astype(int))
    rng = np.random.default_rng([seed, 23])
    mean = np.zeros(len(sizes))
    for _ in range(draws):
        order = torch.as_tensor(rng.choice(geometry.pairs, size=top, replace=False), device=geometry.device)
        information = torch.zeros_like(scaled.prior)
        for k, (start, stop) in enumerate(pairwise([0, *sizes.tolist()])):
            block = order[start:stop]
            information = information + geometry.information_of(block, torch.ones_like(block, dtype=information.dtype))
            mean[k] += scaled.value(information) / draws
    if mean[-1] > target:
        return None
    return float(np.exp(np.interp(-target, -mean, np.log(sizes))))
