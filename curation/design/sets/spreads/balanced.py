"""`balanced`: what every prompt spends is fixed, in proportion to its weight in the pool."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from curation.design.programs.quadratic import Polytope
from curation.design.sets.allotment import SLACK, Supply, water_fill
from curation.design.sets.chosen import Chosen
from curation.design.sets.feasible import Bounds, Feasible, Spread
from curation.design.sets.greedy import best_of_prompts
from curation.design.sets.spreads.groups import one_sum, prompt_groups


class Balanced(Spread):
    """Every prompt's spend is fixed; beside costs its own cap bounds its weight."""

    name, rank = "balanced", 1
    per_prompt = fixes = True

    def shared(self, inside: np.ndarray, total: float, weights: np.ndarray, supply: Supply, unit: float) -> np.ndarray:
        low = supply.pinned_cost[inside]
        return water_fill(weights, low, np.maximum(supply.most[inside], low), total)

    def bounds(self, shared: np.ndarray, supply: Supply, *, budget: float, unit: float, counted: bool) -> Bounds:
        caps = None
        if not counted and np.isfinite(supply.own).any():
            caps = (supply.own - supply.pinned).clip(min=0.0) / (budget / unit)
        totals = (shared - supply.pinned_cost).clip(min=0.0) / budget
        return Bounds(self, totals, shared / unit, caps)

    def fixed(self, feasible: Feasible) -> tuple[Tensor, Tensor]:
        return torch.arange(len(feasible.totals), device=feasible.totals.device), feasible.totals

    def laminar(self, feasible: Feasible) -> bool:
        return True

    def top(self, feasible: Feasible, worth: Tensor) -> tuple[Tensor, Tensor]:
        pairs, spent = best_of_prompts(feasible, worth)
        return pairs, feasible.per_spend(spent, pairs)

    def multipliers(self, feasible: Feasible, chosen: Chosen) -> tuple[Tensor, Tensor]:
        spend = chosen.typical(chosen.prompt, len(feasible.totals), chosen.partial)
        return spend, torch.zeros_like(feasible.totals)

    def program(self, feasible: Feasible, weights: Tensor, active: Tensor, prompt: Tensor) -> tuple[Tensor, Polytope]:
        prompts = feasible.geometry.prompts
        movable = torch.bincount(prompt, minlength=prompts)[prompt] > 1  # one pair alone has nothing to trade with
        inside = torch.zeros_like(feasible.totals)
        inside = inside.index_add(0, prompt, feasible.spend(weights[active], active))
        active, prompt = active[movable], prompt[movable]
        whole = one_sum(feasible, weights, active)
        if not len(active):
            return movable, whole
        group, group_totals, upper = prompt_groups(prompt, inside[prompt], whole.upper)
        return movable, Polytope(upper, group, group_totals, True, None)

    def room(self, feasible: Feasible, weights: Tensor) -> tuple[np.ndarray, np.ndarray]:
        geometry = feasible.geometry
        support = weights.nonzero().squeeze(1)
        labels = (weights[support] * feasible.labels).cpu().numpy()
        expected = np.bincount(geometry.prompt_of(support), weights=labels, minlength=geometry.prompts)
        return np.floor(expected + SLACK), np.ceil(expected - SLACK)


PLUG = Balanced()
