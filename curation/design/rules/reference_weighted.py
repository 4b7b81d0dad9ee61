"""Two responses drawn by the reference policy: pairs in proportion to the product of their probabilities."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from curation.design.rules.base import Problem, Weighted
from curation.design.rules.inside import even_totals
from curation.design.sets.allotment import water_fill
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import nearest


def weights(problem: Problem) -> Tensor:
    """Design measure (pairs,)."""
    geometry = problem.feasible.geometry
    p = torch.as_tensor(problem.probabilities, dtype=torch.float64, device=geometry.device)
    return _proportional(even_totals(problem.feasible), geometry.product(p))


def _proportional(even: Feasible, rates: Tensor) -> Tensor:
    """Weights proportional to rates inside each prompt's total, clipped at the bound."""
    geometry = even.geometry
    rates = rates.masked_fill(even.blocked, 0.0)
    rates = rates.clamp_min(1e-12 * float(rates.max()))  # every pair stays possible, so that totals can be met
    rates = rates.masked_fill(even.blocked, 0.0)
    if not even.laminar or not even.counted:
        return nearest(even, rates * (even.remaining / float(even.spend(rates).sum())))
    owner = torch.arange(geometry.prompts, device=rates.device).repeat_interleave(geometry.pair_counts_tensor)
    sums = torch.zeros(geometry.prompts, dtype=torch.float64, device=rates.device).index_add_(0, owner, rates)
    weights = rates * (even.totals / sums.clamp_min(1e-300))[owner]
    if math.isfinite(even.upper):
        crowded = torch.unique(owner[weights > even.upper]).tolist()
        for x in crowded:
            span = slice(int(geometry.pair_offsets[x]), int(geometry.pair_offsets[x + 1]))
            local = rates[span].cpu().numpy()
            high = np.where(local > 0, even.upper, 0.0)
            filled = water_fill(local, np.zeros_like(local), high, float(even.totals[x]))
            weights[span] = torch.as_tensor(filled, device=rates.device)
    return weights + even.pinned_weights()


PLUG = Weighted(
    name="reference_weighted",
    rank=50,
    title="reference-weighted (two draws)",
    short="reference-weighted",
    colour="#7A5FB8",
    by_reference=True,
    weights=weights,
)
