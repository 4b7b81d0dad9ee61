"""The uniform design of a feasible set: all admissible pairs alike, as far as the constraints allow.

Source: docs/method.md section 4.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from curation.design.sets.allotment import water_fill
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import nearest


def uniform_design(feasible: Feasible) -> Tensor:
    """All admissible pairs alike, as far as the constraints allow, pins included. Returns (pairs,)."""
    if "uniform" not in feasible.memory:
        feasible.memory["uniform"] = _even(feasible)
        if not feasible.laminar:
            feasible.memory["uniform"] = nearest(feasible, feasible.memory["uniform"])
    return feasible.memory["uniform"]


def uniform_information(feasible: Feasible) -> Tensor:
    """Sigma (d, d) of the uniform design."""
    if "uniform_information" not in feasible.memory:
        feasible.memory["uniform_information"] = feasible.geometry.information(uniform_design(feasible))
    return feasible.memory["uniform_information"]


def _even(feasible: Feasible) -> Tensor:
    """Pairs alike within prompts and strata; label caps beside costs and generator shares not yet looked at."""
    geometry = feasible.geometry
    repeats = geometry.pair_counts_tensor
    open_cost = feasible.cost.masked_fill(feasible.blocked, 0.0)
    owner = torch.arange(geometry.prompts, device=geometry.device).repeat_interleave(repeats)
    supply = torch.zeros(geometry.prompts, dtype=torch.float64, device=geometry.device)
    supply = supply.index_add_(0, owner, open_cost)
    if feasible.spread.fixes:
        totals = feasible.totals
    else:
        totals = torch.zeros_like(supply)
        capacity = torch.where(supply > 0, supply * feasible.upper, torch.zeros_like(supply))
        if feasible.counted:
            capacity = torch.minimum(feasible.totals, capacity)
        for b, total in enumerate(feasible.block_totals.tolist()):
            inside = feasible.block == b
            rates, highs = supply[inside].cpu().numpy(), capacity[inside].cpu().numpy()
            filled = water_fill(rates, np.zeros(len(rates)), highs, total) if total > 0 else np.zeros(len(rates))
            totals[inside] = torch.as_tensor(filled, device=totals.device)
    share = torch.where(supply > 0, totals / supply.clamp_min(1e-300), torch.zeros_like(supply))
    weights = share.repeat_interleave(repeats).masked_fill(feasible.blocked, 0.0)
    return weights + feasible.pinned_weights()
