"""What a label is worth to each constraint: the thresholds that chosen pairs pass and others do not.

Source: docs/method.md section 9.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise_by_columns
from curation.design.sets.multipliers import Multipliers


def prices(feasible: Feasible, weights: Tensor, values: Tensor) -> Multipliers:
    """Multipliers of the constraints at a design (pairs,) with q = values (pairs,).

    From the pairs chosen in part; where a prompt has none, from the worst pair it takes whole. Where sums overlap, from
    the linear program at q. Exact at the optimum up to its freedom.
    """
    if not feasible.laminar:
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
