"""The pairs that a design chose freely, and what they are worth group by group. Source: docs/method.md section 9."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chosen:
    """The pairs of a design that no pin holds, (m,) each: prompt, weight, spend, worth per unit of spend, and whether
    they are held in part (below their bound)."""

    prompt: Tensor
    weight: Tensor
    spent: Tensor
    worth: Tensor
    partial: Tensor

    def typical(self, group: Tensor, size: int, among: Tensor) -> Tensor:
        """(size,) spend-weighted mean worth of the pairs `among` (m,) of each group, else the worth of its worst pair.

        inf for a group without pairs.
        """
        none = torch.zeros(size, dtype=torch.float64, device=self.worth.device)
        mass = none.index_add(0, group[among], self.spent[among])
        total = none.index_add(0, group[among], self.spent[among] * self.worth[among])
        top = torch.full((size,), math.inf, dtype=torch.float64, device=self.worth.device)
        worst = top.scatter_reduce(0, group, self.worth, "amin")
        return torch.where(mass > 0, total / mass.clamp_min(1e-300), worst)
