"""A feasible set of designs: 0 <= pi <= r, the budget, spread, caps, quotas, shares, costs, pins.

Everything is kept in design-measure units w = pi / labels. Without costs the weights of a design sum to one. Source:
docs/method.md section 4.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from curation.design.geometry import Geometry
from curation.design.programs.quadratic import Polytope
from curation.design.sets.allotment import Supply
from curation.design.sets.chosen import Chosen
from curation.design.sets.limits import Limits


@dataclass(frozen=True)
class Bounds:
    """What a spread leaves each prompt beside its pins, (P,) each: totals, labels and caps as Feasible has them."""

    spread: Spread
    totals: np.ndarray
    labels: np.ndarray
    caps: np.ndarray | None = None


class Spread(ABC):
    """How a budget is spread over the prompts: what each gets, and how choices keep to that.

    name, rank: what it is called, and its place in lists. per_prompt: whether prompts have sums of their own. fixes:
    whether it is what every prompt spends that is fixed, not only what every stratum does.
    """

    name: str
    rank: int
    per_prompt: bool
    fixes: bool

    @abstractmethod
    def shared(self, inside: np.ndarray, total: float, weights: np.ndarray, supply: Supply, unit: float) -> np.ndarray:
        """(m,) what each prompt of a stratum (m, numbers inside) gets of its total, pins included.

        weights: (m,) their weights in the pool. unit: budget units of an average label (1 without costs).
        """

    @abstractmethod
    def bounds(self, shared: np.ndarray, supply: Supply, *, budget: float, unit: float, counted: bool) -> Bounds:
        """The same (P,) in units of the design measure, less what the pins take. counted: no pair has a cost."""

    def fixed(self, feasible: Feasible) -> tuple[Tensor, Tensor]:
        """The sums that are fixed: the number of each prompt's, (P,), and the spend of each, (sums,)."""
        return feasible.block, feasible.block_totals

    def caps(self, feasible: Feasible) -> Tensor | None:
        """(P,) weight of each prompt at most, inf for none; None where no prompt has such a cap."""
        return feasible.caps

    @abstractmethod
    def room(self, feasible: Feasible, weights: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Whole labels of each prompt, (P,) at least and (P,) at most, in a batch of the design weights (pairs,)."""

    def laminar(self, feasible: Feasible) -> bool:
        """Whether its sums and those of the strata never cut across one another, so that a choice may be greedy.

        Where they do, every choice is a linear program over `fixed` and `caps`, and nothing below is asked.
        """
        return False

    def pivots(self, feasible: Feasible) -> bool:
        """Whether a laminar set's sums are of one kind, which pivoting can hold (programs/quadratic.py)."""
        return True

    def top(self, feasible: Feasible, worth: Tensor) -> tuple[Tensor, Tensor]:
        """Pair numbers (m,) and weights (m,) of the best choice in a laminar set. worth: (pairs,) per unit of spend."""
        raise NotImplementedError

    def multipliers(self, feasible: Feasible, chosen: Chosen) -> tuple[Tensor, Tensor]:
        """What a unit of spend and a unit of weight are worth to each prompt, (P,) each, at a laminar set's design."""
        raise NotImplementedError

    def program(self, feasible: Feasible, weights: Tensor, active: Tensor, prompt: Tensor) -> tuple[Tensor, Polytope]:
        """Which active pairs (m,) can move while all other weights (pairs,) are held, and their sums in spend.

        prompt: (m,) their prompts. Of sets that pivot.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Feasible:
    """The set of design measures the solver may choose from; everything but `upper` is what is left beside the pins.

    budget: as asked, labels or cost units. labels: n, or budget / mean cost. upper: r / labels, the bound of one pair.
    cost: (pairs,) cost over mean cost; where all are alike, one number expanded, which takes no memory. block: (P,)
    stratum whose amount is fixed at block_totals (B,), in spend (cost times weight). totals: (P,) the prompt's spend
    exactly (a spread that `fixes`), or its weight at most (inf: none). caps: (P,) weight at most beside a fixed spend,
    or None. generators: (N,) generator of each candidate; shares: generator -> weight of all pairs it takes part in, at
    most. pinned, held: (k,) pairs that are held at a weight, and that weight. over: (pairs,) each, by how much a pair
    is over each limit on a mean; sum_e w_e over_e <= 0, pins included. blocked: (pairs,) bool, pinned and excluded.
    prompt_labels: (P,) expected labels where the spend is fixed, else cap. memory: what costs time to find twice;
    `replace` starts anew.
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
    blocked: Tensor
    prompt_labels: np.ndarray
    cost: Tensor
    caps: Tensor | None = None
    generators: Tensor | None = None
    shares: Mapping[int, float] = field(default_factory=dict)
    over: tuple[Tensor, ...] = ()
    limits: Limits = field(default_factory=Limits)
    memory: dict[str, Tensor] = field(default_factory=dict, init=False, compare=False, repr=False)

    @cached_property
    def counted(self) -> bool:
        """Whether the budget counts labels: no pair has a cost, and every `cost` is one."""
        return self.limits.costs is None

    @property
    def remaining(self) -> float:
        """Spend left to choose, 1 minus what the pins take."""
        return float(self.block_totals.sum())

    @property
    def laminar(self) -> bool:
        """Whether prompts and strata are the only sums, so that greedy choices are exact and groups can be pivoted."""
        return not self.shares and not self.over and self.caps is None and self.spread.laminar(self)

    def spend(self, weights: Tensor, pairs: Tensor | None = None) -> Tensor:
        """Weights in units of the budget, of all pairs or of those given."""
        if self.counted:  # times one: the millions of a whole pool need no copy
            return weights
        return weights * (self.cost if pairs is None else self.cost[pairs])

    def per_spend(self, values: Tensor, pairs: Tensor | None = None) -> Tensor:
        """Values per unit of the budget, of all pairs or of those given."""
        if self.counted:
            return values
        return values / (self.cost if pairs is None else self.cost[pairs])

    def worth(self, values: Tensor) -> Tensor:
        """(pairs,) values per unit of the budget, -inf for pairs that may not be chosen."""
        worth = self.per_spend(values)
        return worth.masked_fill(self.blocked, -math.inf) if self._any_blocked else worth

    @cached_property
    def _any_blocked(self) -> bool:
        return bool(self.blocked.any())

    def pinned_weights(self) -> Tensor:
        """(pairs,) the pinned pairs at what they are held at, zero elsewhere."""
        weights = torch.zeros(self.geometry.pairs, dtype=torch.float64, device=self.geometry.device)
        weights[self.pinned] = self.held
        return weights

    def pinned_value(self, values: Tensor) -> float:
        """What the pinned pairs add to <w, values> in every feasible design."""
        return float(values[self.pinned] @ self.held) if len(self.pinned) else 0.0
