"""What a label is worth to each constraint: the thresholds that chosen pairs pass and others do not.

Source: docs/method.md section 9.
"""

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
        if self.is_flat and feasible.price is None:
            out = values - float(self.spend[0])
        else:
            out = values - self.threshold(feasible)
        return out if feasible.blocked is None else out.masked_fill_(feasible.blocked, -math.inf)

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
        for price, over in zip(self.means, feasible.over, strict=False):
            if price:
                out = out + price * over
        return out + generator_toll(feasible, self.generator) if self.generator else out


def generator_toll(feasible: Feasible, price: dict[int, float]) -> Tensor:
    """(pairs,) sum of the prices of the generators that take part in a pair, one that appears twice counted once."""
    geometry = feasible.geometry
    out = torch.zeros(geometry.pairs, dtype=torch.float64, device=geometry.device)
    if feasible.generators is None:
        return out
    for g, amount in price.items():
        if amount:
            out += amount * (geometry.sums((feasible.generators == g).to(torch.float64)) > 0).to(torch.float64)
    return out


def prices(feasible: Feasible, weights: Tensor, values: Tensor) -> Multipliers:
    """Multipliers of the constraints at a design (pairs,) with q = values (pairs,).

    From the pairs chosen in part; where a prompt has none, from the worst pair it takes whole. Where sums overlap, from
    the linear program at q. Exact at the optimum up to its freedom.
    """
    if not feasible.laminar:
        from curation.design.sets.linear import maximise_by_columns

        return maximise_by_columns(feasible, values)[3]
    geometry = feasible.geometry
    support = weights.nonzero().squeeze(1)
    if feasible.blocked is not None:
        support = support[~feasible.blocked[support]]
    w = weights[support]
    q = values[support] if feasible.price is None else values[support] / feasible.price[support]
    spent = feasible.spend(w, support)
    prompt = torch.as_tensor(geometry.prompt_of(support), device=values.device)
    partial = torch.ones_like(q, dtype=torch.bool)
    if math.isfinite(feasible.upper):
        partial = w < feasible.upper * (1 - 1e-9)
    zeros = torch.zeros(geometry.prompts, dtype=torch.float64, device=values.device)

    def average(group: Tensor, size: int, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Spend-weighted mean of q over the chosen pairs of each group, and their spend."""
        none = torch.zeros(size, dtype=torch.float64, device=values.device)
        mass = none.index_add(0, group[chosen], spent[chosen])
        total = none.index_add(0, group[chosen], spent[chosen] * q[chosen])
        return total / mass.clamp_min(1e-300), mass

    def worst(group: Tensor, size: int) -> Tensor:
        top = torch.full((size,), math.inf, dtype=torch.float64, device=values.device)
        return top.scatter_reduce(0, group, q, "amin")

    if feasible.spread == "balanced":
        mean, mass = average(prompt, geometry.prompts, partial)
        return Multipliers(torch.where(mass > 0, mean, worst(prompt, geometry.prompts)), zeros, {})
    used = zeros.index_add(0, prompt, w)
    slack = torch.ones_like(zeros, dtype=torch.bool)
    if feasible.spread == "capped":
        slack = used < feasible.totals * (1 - 1e-9)
    block, blocks = feasible.block[prompt], len(feasible.block_totals)
    overall, mass = average(block, blocks, partial & slack[prompt])
    # no prompt with room holds a pair in part: what the least of the chosen pairs is worth
    overall = torch.where(mass > 0, overall, worst(block, blocks))
    spend = overall[feasible.block]
    if feasible.spread == "free":
        return Multipliers(spend, zeros, {})
    mean, mass = average(prompt, geometry.prompts, partial)
    own = torch.where(mass > 0, mean, worst(prompt, geometry.prompts))
    label = torch.where(slack, zeros, (own - spend).clamp_min(0.0))
    return Multipliers(spend, label, {})  # inf where a prompt without room holds nothing but pins
