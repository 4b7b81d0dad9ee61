"""What a unit of each constraint is worth, and the thresholds that follow. Source: docs/method.md section 9."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from curation.design.sets.feasible import Feasible


@dataclass(frozen=True)
class Multipliers:
    """What a unit of each constraint is worth: spend (P,) per unit of spend, label (P,) and generator per weight.

    means: per limit on a mean, what a unit over it costs.
    """

    spend: Tensor
    label: Tensor
    generator: dict[int, float]
    means: tuple[float, ...] = ()

    def excess(self, feasible: Feasible, values: Tensor) -> Tensor:
        """(pairs,) values over the threshold, -inf for pairs that may not be chosen."""
        threshold = float(self.spend[0]) if self.is_flat and feasible.counted else self.threshold(feasible)
        return (values - threshold).masked_fill_(feasible.blocked, -math.inf)

    @property
    def is_flat(self) -> bool:
        """Whether every pair has the same threshold per unit of spend."""
        return (
            not self.generator
            and not any(self.means)
            and not bool(self.label.any())
            and bool((self.spend == self.spend[0]).all())
        )

    def threshold(self, feasible: Feasible) -> Tensor:
        """(pairs,) the sum of the multipliers of each pair's constraints: what its q must be worth."""
        repeats = feasible.geometry.pair_counts_tensor
        out = feasible.spend(self.spend.repeat_interleave(repeats))
        if bool((self.label != 0).any()):
            out = out + self.label.repeat_interleave(repeats)
        for multiplier, over in zip(self.means, feasible.over, strict=False):
            if multiplier:
                out = out + multiplier * over
        return out + generator_toll(feasible, self.generator) if self.generator else out


def generator_toll(feasible: Feasible, multipliers: dict[int, float]) -> Tensor:
    """(pairs,) sum of the multipliers of a pair's generators, one that appears twice counted once."""
    geometry = feasible.geometry
    out = torch.zeros(geometry.pairs, dtype=torch.float64, device=geometry.device)
    if feasible.generators is None:
        return out
    for g, amount in multipliers.items():
        if amount:
            out += amount * (geometry.sums((feasible.generators == g).to(torch.float64)) > 0).to(torch.float64)
    return out
