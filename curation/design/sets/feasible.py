"""A feasible set of designs: 0 <= pi <= r, the budget, spread, caps, quotas, shares, costs, pins.

Everything is kept in design-measure units w = pi / labels. Without costs the weights of a design sum to one. Source:
docs/method.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from curation.design.geometry import Geometry
from curation.design.sets.allotment import Spread
from curation.design.sets.limits import Limits


@dataclass(frozen=True)
class Feasible:
    """The set of design measures the solver may choose from; everything but `upper` is what is left beside the pins.

    budget: as asked, labels or cost units. labels: n, or budget / mean cost. upper: r / labels, the bound of one pair.
    price: (pairs,) cost over mean cost, None where all are alike. block: (P,) stratum whose amount is fixed at
    block_totals (B,), in spend (price times weight). totals: (P,) the prompt's spend exactly (`balanced`), or its
    weight at most (`capped`; inf: none). caps: (P,) weight at most beside a balanced spend, or None. generators: (N,)
    generator of each candidate; shares: generator -> weight of all pairs it takes part in, at most. pinned, held: (k,)
    pairs that are held at a weight, and that weight. over: (pairs,) each, by how much a pair is over each limit on a
    mean; sum_e w_e over_e <= 0, pins included. blocked: (pairs,) bool, pinned and excluded. prompt_labels: (P,)
    expected labels (balanced) or cap.
    """

    geometry: Geometry
    spread: Spread
    budget: float
    labels: float
    upper: float
    totals: Tensor
    block: Tensor
    block_totals: Tensor
    pinned: Tensor
    held: Tensor
    blocked: Tensor | None
    prompt_labels: np.ndarray
    price: Tensor | None = None
    caps: Tensor | None = None
    generators: Tensor | None = None
    shares: Mapping[int, float] = field(default_factory=dict)
    over: tuple[Tensor, ...] = ()
    limits: Limits = field(default_factory=Limits)
    memory: dict[str, Tensor] = field(default_factory=dict, compare=False)  # what costs time to find twice

    @property
    def per_prompt(self) -> bool:
        """Whether prompt totals bind (balanced) or are bounded (capped)."""
        return self.spread != "free"

    @property
    def remaining(self) -> float:
        """Spend left to choose, 1 minus what the pins take."""
        return float(self.block_totals.sum())

    @property
    def laminar(self) -> bool:
        """Whether prompts and strata are the only sums, so that greedy choices are exact and groups can be pivoted."""
        return (
            not self.shares and not self.over and self.caps is None and (self.price is None or self.spread != "capped")
        )

    def spend(self, weights: Tensor, pairs: Tensor | None = None) -> Tensor:
        """Weights in units of the budget, of all pairs or of those given."""
        if self.price is None:
            return weights
        return weights * (self.price if pairs is None else self.price[pairs])

    def pinned_weights(self) -> Tensor:
        """(pairs,) the pinned pairs at what they are held at, zero elsewhere."""
        weights = torch.zeros(self.geometry.pairs, dtype=torch.float64, device=self.geometry.device)
        weights[self.pinned] = self.held
        return weights

    def pinned_value(self, values: Tensor) -> float:
        """What the pinned pairs add to <w, values> in every feasible design."""
        return float(values[self.pinned] @ self.held) if len(self.pinned) else 0.0
