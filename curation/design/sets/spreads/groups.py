"""What spreads with sums of their own share: the restricted master's groups of active pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from curation.design.programs.quadratic import Polytope
from curation.design.sets.feasible import Feasible


def one_sum(feasible: Feasible, weights: Tensor, active: Tensor) -> Polytope:
    """Bounds of the active pairs (m,) in spend, and what they spend together. weights: (pairs,) the whole design."""
    current = weights[active]
    everything = float(feasible.spend(current, active).sum())
    return Polytope(feasible.spend(torch.full_like(current, feasible.upper), active), None, None, False, everything)


def prompt_groups(prompt: Tensor, totals: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Group number of each active pair (m,), what each group may spend (k,), and bounds (m,) where they matter."""
    present, group = prompt.unique(return_inverse=True)
    group_totals = torch.zeros(len(present), dtype=torch.float64, device=prompt.device)
    group_totals[group] = totals
    return group, group_totals, torch.where(upper >= totals * (1 - 1e-12), torch.full_like(upper, torch.inf), upper)
