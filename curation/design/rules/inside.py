"""Prompts get their even share, and a rule chooses inside each: what rules that rank the pairs of a prompt share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from curation.design.sets.allotment import water_fill
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise
from curation.design.sets.spreads import SPREADS


def choose_inside(feasible: Feasible, values: Tensor) -> Tensor:
    """Design measure (pairs,) that takes the pairs of largest value (pairs,) inside prompts of even totals."""
    pairs, amounts, _ = maximise(even_totals(feasible), values)
    return feasible.pinned_weights().index_add(0, pairs, amounts)


def even_totals(feasible: Feasible) -> Feasible:
    """The same bounds with prompt totals fixed, prompts by their weight.

    Where sums overlap such totals may not exist; the rules then choose over the whole set.
    """
    if feasible.spread.fixes or not feasible.laminar:
        return feasible
    geometry = feasible.geometry
    ones = torch.ones(geometry.pairs, dtype=torch.float64, device=geometry.device)
    cost = feasible.spend(ones).masked_fill(feasible.blocked, 0.0)
    owner = torch.arange(geometry.prompts, device=geometry.device).repeat_interleave(geometry.pair_counts_tensor)
    supply = torch.zeros(geometry.prompts, dtype=torch.float64, device=geometry.device).index_add_(0, owner, cost)
    capacity = torch.where(supply > 0, supply * feasible.upper, torch.zeros_like(supply))
    high = torch.minimum(capacity, feasible.totals).cpu().numpy()
    totals, block = np.zeros(geometry.prompts), feasible.block.cpu().numpy()
    for b, total in enumerate(feasible.block_totals.tolist()):
        inside = np.flatnonzero(block == b)
        if total > 0:
            weights = geometry.prompt_weights[inside]
            totals[inside] = water_fill(weights, np.zeros(len(inside)), high[inside], total)
    return replace(feasible, spread=SPREADS["balanced"], totals=torch.as_tensor(totals, device=geometry.device))
