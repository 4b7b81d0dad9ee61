"""`free`: the budget goes wherever it is worth most; only strata have amounts."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from curation.design.programs.quadratic import Polytope
from curation.design.sets.allotment import Supply
from curation.design.sets.chosen import Chosen
from curation.design.sets.feasible import Bounds, Feasible, Spread
from curation.design.sets.greedy import best_of_strata
from curation.design.sets.spreads import SPREADS
from curation.design.sets.spreads.groups import one_sum


class Free(Spread):
    """No prompt has a sum of its own; under own caps it is `capped` with those."""

    name, rank = "free", 3
    per_prompt = fixes = False

    def shared(self, inside: np.ndarray, total: float, weights: np.ndarray, supply: Supply, unit: float) -> np.ndarray:
        return np.asarray(supply.own[inside])

    def bounds(self, shared: np.ndarray, supply: Supply, *, budget: float, unit: float, counted: bool) -> Bounds:
        if np.isfinite(shared).any():
            return SPREADS["capped"].bounds(shared, supply, budget=budget, unit=unit, counted=counted)
        return Bounds(self, np.full(len(shared), math.inf), shared)

    def laminar(self, feasible: Feasible) -> bool:
        return True

    def top(self, feasible: Feasible, worth: Tensor) -> tuple[Tensor, Tensor]:
        return best_of_strata(feasible, worth)

    def multipliers(self, feasible: Feasible, chosen: Chosen) -> tuple[Tensor, Tensor]:
        overall = chosen.typical(feasible.block[chosen.prompt], len(feasible.block_totals), chosen.partial)
        return overall[feasible.block], torch.zeros_like(feasible.totals)

    def program(self, feasible: Feasible, weights: Tensor, active: Tensor, prompt: Tensor) -> tuple[Tensor, Polytope]:
        everything = torch.ones_like(active, dtype=torch.bool)
        whole = one_sum(feasible, weights, active)
        if len(feasible.block_totals) == 1 or not len(active):
            return everything, whole
        present, group = feasible.block[prompt].unique(return_inverse=True)
        spent = feasible.spend(weights[active], active)
        sums = torch.zeros(len(present), dtype=torch.float64, device=prompt.device).index_add_(0, group, spent)
        return everything, Polytope(whole.upper, group, sums, True, None)

    def room(self, feasible: Feasible, weights: Tensor) -> tuple[np.ndarray, np.ndarray]:
        prompts = feasible.geometry.prompts
        return np.zeros(prompts), np.full(prompts, math.inf)


PLUG = Free()
