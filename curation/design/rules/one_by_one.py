"""Labels picked one by one, each the best next one: what the sequential rules share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.geometry import Geometry
from curation.design.selection.sampling import Batch, sample
from curation.design.selection.tally import Tally
from curation.design.sets.feasible import Feasible
from curation.design.sets.uniform import uniform_design


@dataclass(frozen=True)
class Picked:
    """A label just picked. z: (d,) of its pair. inverse: (d, d) = S^-1 before it. s: (d,) = S^-1 z. along: (pairs,)
    z_e' s of every pair. scale: n + z's."""

    z: Tensor
    inverse: Tensor
    s: Tensor
    along: Tensor
    scale: float


class Gain(Protocol):
    """What a rule picks the largest of, kept up to date by rank-one formulas."""

    def of(self, leverage: Tensor) -> Tensor:
        """Gain of every pair (pairs,). leverage: (pairs,) l = z' S^-1 z."""
        ...

    def after(self, picked: Picked) -> None:
        """Take a picked label into account."""
        ...


def sequential(
    criterion: Criterion,
    feasible: Feasible,
    gain: Callable[[Criterion, Geometry, float, Tensor], Gain],
    *,
    seed: int = 0,
    labels: int | None = None,
) -> Batch:
    """Labels picked one by one, each of the largest gain per unit of the budget; no (pairs, d) array.

    gain: makes the rule's gain of the criterion, the pairs, n and S^-1 (d, d) before the first label. Every constraint
    is kept; prompt totals that are fixed (balanced) are whole numbers drawn around them, so that the rule is held to
    what the design is held to. labels: picks to make (default: the budget); where the constraints leave no room
    earlier, the batch is smaller.
    """
    geometry, n = feasible.geometry, feasible.labels
    weights = uniform_design(feasible)
    tally = Tally(feasible, weights)
    if feasible.spread.fixes and feasible.counted:
        drawn = sample(feasible, weights, seed=seed)
        tally.prompt_high = np.bincount(
            geometry.prompt_of(drawn.pairs), weights=drawn.copies, minlength=geometry.prompts
        ).astype(float)
    if labels is not None:
        tally.block_high = tally.block_high * (labels / n)
    information = geometry.information(feasible.pinned_weights())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(information + criterion.prior))
    gains = gain(criterion, geometry, n, inverse)
    leverage = geometry.quadratic(torch.linalg.cholesky(inverse))
    room = tally.open_pairs()
    while not feasible.counted or tally.labels < (labels or round(n)):
        worth = gains.of(leverage)
        if not feasible.counted:
            worth = worth / tally.cost
        best = int(worth.masked_fill(~room, -math.inf).argmax())
        if not bool(room[best]):
            break
        z = geometry.vectors(np.array([best]))[0]
        s = inverse @ z
        picked = Picked(z, inverse, s, geometry.linear(s), n + float(z @ s))
        gains.after(picked)
        leverage = leverage - picked.along.square() / picked.scale
        inverse = inverse - torch.outer(s, s) / picked.scale
        tally.add(best)
        tally.close(best, room)
    pairs = np.array(sorted(tally.copies), dtype=np.int64)
    return Batch(pairs, np.array([tally.copies[p] for p in pairs.tolist()], dtype=np.int64), None)
