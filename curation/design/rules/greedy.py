"""Greedy on the criterion: every label where f falls most (forward BAIT), and BAIT's whole scheme for comparison."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.geometry import Geometry
from curation.design.rules.base import OneByOne, Problem
from curation.design.rules.one_by_one import Picked, sequential
from curation.design.selection.sampling import Batch
from curation.design.sets.feasible import Feasible


class Fall:
    """How much f falls with one more label, (q/n) / (1 + l/n), q = z' S^-1 M S^-1 z."""

    def __init__(self, criterion: Criterion, geometry: Geometry, n: float, inverse: Tensor) -> None:
        self.fisher, self.geometry, self.n = criterion.fisher, geometry, n
        self.q = geometry.quadratic(inverse @ criterion.root)

    def of(self, leverage: Tensor) -> Tensor:
        """(pairs,)."""
        return self.q / (self.n + leverage)

    def after(self, picked: Picked) -> None:
        """Bring q up to date, in one pass."""
        t = picked.inverse @ (self.fisher @ picked.s)
        a, b = picked.along, self.geometry.linear(t)
        self.q = self.q - 2 * a * b / picked.scale + a.square() * (float(picked.z @ t) / picked.scale**2)


def pick(problem: Problem, seed: int) -> Batch:
    """The batch."""
    return sequential(problem.criterion, problem.feasible, Fall, seed=seed)


def forward_backward(criterion: Criterion, feasible: Feasible) -> Batch:
    """BAIT's scheme (Ash, Goel, Krishnamurthy and Kakade 2021): twice the labels forward, then the cheapest dropped.

    Only the bound r is kept, as in a free spread; for comparison.
    """
    n = round(feasible.labels)
    most = min(2 * n, int(feasible.geometry.pairs * feasible.upper * n))
    batch = sequential(criterion, feasible, Fall, labels=most)
    pairs = np.repeat(batch.pairs, batch.copies)
    V = feasible.geometry.vectors(pairs)
    information = V.T @ V / n
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(information + criterion.prior))
    kept = torch.ones(len(pairs), dtype=torch.bool, device=V.device)
    B = inverse @ criterion.fisher @ inverse
    for _ in range(len(pairs) - n):
        lever, price = ((V @ inverse) * V).sum(1), ((V @ B) * V).sum(1)
        rise = (price / (n - lever)).masked_fill(~kept, math.inf)
        worst = int(rise.argmin())
        s, t = inverse @ V[worst], B @ V[worst]
        scale = n - float(lever[worst])
        B = B + (torch.outer(s, t) + torch.outer(t, s)) / scale + float(price[worst]) / scale**2 * torch.outer(s, s)
        inverse = inverse + torch.outer(s, s) / scale
        kept[worst] = False
    left, copies = np.unique(pairs[kept.cpu().numpy()], return_counts=True)
    return Batch(left, copies.astype(np.int64), None)


PLUG = OneByOne(
    name="greedy",
    rank=70,
    title="greedy on the criterion (BAIT-like)",
    short="greedy",
    colour="#7D8A1E",
    pick=pick,
)
