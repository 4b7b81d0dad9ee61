"""`capped`: no prompt gets more labels than its share of the pool's weight, rounded up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from curation.design.programs.quadratic import Polytope
from curation.design.sets.allotment import SLACK, Supply, rounded_caps
from curation.design.sets.chosen import Chosen
from curation.design.sets.feasible import Bounds, Feasible, Spread
from curation.design.sets.greedy import best_of_prompts, within_strata
from curation.design.sets.spreads import SPREADS
from curation.design.sets.spreads.groups import one_sum, prompt_groups


class Capped(Spread):
    """The weight of every prompt is bounded, that of the strata fixed. Caps count labels: costs cut across them."""

    name, rank = "capped", 2
    per_prompt, fixes = True, False

    def shared(self, inside: np.ndarray, total: float, weights: np.ndarray, supply: Supply, unit: float) -> np.ndarray:
        return rounded_caps(weights / weights.sum(), total, inside, supply, unit)

    def bounds(self, shared: np.ndarray, supply: Supply, *, budget: float, unit: float, counted: bool) -> Bounds:
        if counted and bool((shared >= supply.capacity * (1 - 1e-12)).all()):  # the pairs' own bounds say as much
            return Bounds(SPREADS["free"], np.full(len(shared), np.inf), shared)
        return Bounds(self, (shared - supply.pinned).clip(min=0.0) / (budget / unit), shared)

    def caps(self, feasible: Feasible) -> Tensor | None:
        return feasible.totals

    def laminar(self, feasible: Feasible) -> bool:
        return feasible.counted

    def pivots(self, feasible: Feasible) -> bool:
        return len(feasible.block_totals) == 1

    def top(self, feasible: Feasible, worth: Tensor) -> tuple[Tensor, Tensor]:
        return within_strata(feasible, worth, *best_of_prompts(feasible, worth))  # of counted labels: spend is weight

    def multipliers(self, feasible: Feasible, chosen: Chosen) -> tuple[Tensor, Tensor]:
        zeros = torch.zeros_like(feasible.totals)
        used = zeros.index_add(0, chosen.prompt, chosen.weight)
        slack = used < feasible.totals * (1 - 1e-9)
        block, blocks = feasible.block[chosen.prompt], len(feasible.block_totals)
        # where no prompt with room holds a pair in part: what the least of the chosen pairs is worth
        spend = chosen.typical(block, blocks, chosen.partial & slack[chosen.prompt])[feasible.block]
        own = chosen.typical(chosen.prompt, len(zeros), chosen.partial)
        return spend, torch.where(slack, zeros, (own - spend).clamp_min(0.0))  # inf: without room, nothing but pins

    def program(self, feasible: Feasible, weights: Tensor, active: Tensor, prompt: Tensor) -> tuple[Tensor, Polytope]:
        zeros = torch.zeros_like(feasible.totals)
        inside = zeros.index_add(0, prompt, weights[active])
        support = weights.nonzero().squeeze(1)
        support = support[~feasible.blocked[support]]
        owner = torch.as_tensor(feasible.geometry.prompt_of(support), device=weights.device)
        used = zeros.index_add(0, owner, weights[support])
        totals = torch.maximum(feasible.totals - used + inside, inside)
        room = torch.isinf(totals) | (totals > 1e-9 * feasible.totals)
        movable = room[prompt]  # the rest of a full prompt is held
        active, prompt = active[movable], prompt[movable]
        whole = one_sum(feasible, weights, active)
        if not len(active) or whole.total is None:
            return movable, whole
        group, group_totals, upper = prompt_groups(prompt, totals[prompt], whole.upper)
        if float(group_totals.sum()) <= whole.total * (1 + 1e-12):  # every cap is met: sums are fixed
            return movable, Polytope(upper, group, group_totals, True, None)
        reach = torch.zeros_like(group_totals).index_add_(0, group, upper)
        group_totals = torch.where(reach <= group_totals, torch.full_like(reach, torch.inf), group_totals)
        return movable, Polytope(upper, group, group_totals, False, whole.total)

    def room(self, feasible: Feasible, weights: Tensor) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(feasible.geometry.prompts), np.floor(feasible.prompt_labels + SLACK)


PLUG = Capped()
