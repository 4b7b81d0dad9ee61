"""Feasible designs: 0 <= pi <= r, sum pi = n, prompt totals by spread, pins and exclusions (METHOD.md section 4).

Everything is kept in design-measure units w = pi / n, so that the weights of a design sum to one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from curation.design.geometry import Geometry
from curation.errors import DesignError

Spread = Literal["balanced", "capped", "free"]


@dataclass(frozen=True)
class Feasible:
    """The set of design measures the solver may choose from.

    budget: n labels. upper: r / n, the bound of one pair (inf for the simplex). totals: (P,) in w units, what the
    prompt gets beyond its pinned pairs: exactly (`balanced`) or at most (`capped`); inf for `free`. pinned: pair
    numbers held at the bound. blocked: (pairs,) bool, pinned and excluded pairs, or None where there are none.
    remaining: the measure left to choose, 1 minus the pinned.
    """

    geometry: Geometry
    spread: Spread
    budget: int
    upper: float
    totals: Tensor
    pinned: Tensor
    blocked: Tensor | None
    remaining: float
    prompt_labels: np.ndarray  # (P,) expected labels per prompt where fixed (balanced), else the cap, in labels

    @property
    def per_prompt(self) -> bool:
        """Whether prompt totals bind (balanced) or are bounded (capped)."""
        return self.spread != "free"

    def pinned_weights(self) -> Tensor:
        """(pairs,) the pinned pairs at their bound, zero elsewhere."""
        weights = torch.zeros(self.geometry.pairs, dtype=torch.float64, device=self.geometry.device)
        if len(self.pinned):
            weights[self.pinned] = self.upper
        return weights

    def pinned_value(self, values: Tensor) -> float:
        """What the pinned pairs add to <w, values> in every feasible design."""
        return self.upper * float(values[self.pinned].sum()) if len(self.pinned) else 0.0

    def maximise(self, values: Tensor) -> tuple[Tensor, Tensor, float]:
        """Exact linear maximisation of <v, values> over the pairs left to choose. values: (pairs,).

        Returns pair numbers (m,), their weights (m,) and the maximum, pinned pairs not included.
        """
        if self.blocked is not None:
            values = values.masked_fill(self.blocked, -math.inf)
        if self.remaining <= 0:
            empty = torch.zeros(0, dtype=torch.int64, device=values.device)
            return empty, torch.zeros(0, dtype=torch.float64, device=values.device), 0.0
        if self.spread == "free":
            pairs, amounts = self._top(values)
        else:
            pairs, amounts = self._top_by_prompt(values)
        return pairs, amounts, float(values[pairs] @ amounts)

    def _top(self, values: Tensor) -> tuple[Tensor, Tensor]:
        if math.isinf(self.upper):
            return values.argmax().reshape(1), torch.full((1,), self.remaining, dtype=torch.float64)
        count = min(math.ceil(self.remaining / self.upper - 1e-9), len(values))
        pairs = values.topk(count).indices
        amounts = torch.full((count,), self.upper, dtype=torch.float64, device=values.device)
        amounts[-1] = self.remaining - self.upper * (count - 1)
        return pairs, amounts

    def _top_by_prompt(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The best pairs of each prompt up to its total; `capped` then takes the best of those overall."""
        pairs, amounts = [], []
        for bucket, part in self.geometry.parts():
            block = self.geometry.gather(bucket, part, values, fill=-math.inf)
            totals = self.totals[bucket.prompts[part]]
            depth = 1 if math.isinf(self.upper) else math.ceil(float(totals.max()) / self.upper - 1e-9)
            best, number = self.geometry.best_pairs(bucket, part, block, max(depth, 1))
            upper = 0.0 if math.isinf(self.upper) else self.upper
            step = torch.arange(best.shape[1], dtype=torch.float64, device=values.device) * upper
            amount = (totals[:, None] - step).clamp(0.0, self.upper).masked_fill(torch.isinf(best), 0.0)
            chosen = amount > 0
            pairs.append(number[chosen])
            amounts.append(amount[chosen])
        pair, amount = torch.cat(pairs), torch.cat(amounts)
        if self.spread == "capped":
            order = values[pair].argsort(descending=True)
            pair, amount = pair[order], amount[order]
            before = amount.cumsum(0) - amount
            amount = torch.minimum(amount, (self.remaining - before).clamp_min(0.0))
            chosen = amount > 0
            pair, amount = pair[chosen], amount[chosen]
        return pair, amount

    def uniform(self) -> Tensor:
        """All admissible pairs alike, as far as the prompt totals allow, pins included. Returns (pairs,)."""
        counts = torch.as_tensor(self.geometry.pair_counts, dtype=torch.float64, device=self.geometry.device)
        if self.blocked is not None:
            prompt = torch.as_tensor(self.geometry.prompt_of(self.blocked.nonzero().squeeze(1)))
            counts = counts - torch.bincount(prompt, minlength=self.geometry.prompts).to(counts)
        if self.spread == "balanced":
            totals = self.totals
        else:
            capacity = torch.where(counts > 0, counts * self.upper, torch.zeros_like(counts))
            highs = torch.minimum(self.totals, capacity) if self.per_prompt else capacity
            totals = torch.as_tensor(
                water_fill(counts.cpu().numpy(), np.zeros(len(counts)), highs.cpu().numpy(), self.remaining),
                device=counts.device,
            )
        share = torch.where(counts > 0, totals / counts.clamp_min(1.0), torch.zeros_like(counts))
        repeats = torch.as_tensor(self.geometry.pair_counts, device=counts.device)
        weights = share.repeat_interleave(repeats)
        if self.blocked is not None:
            weights = weights.masked_fill(self.blocked, 0.0)
        return weights + self.pinned_weights()


def water_fill(rates: np.ndarray, low: np.ndarray, high: np.ndarray, total: float) -> np.ndarray:
    """m = clip(tau rates, low, high) with tau such that m sums to total (exact up to rounding). All (P,).

    The caller has checked sum(low) <= total <= sum(high).
    """
    finite_high = np.minimum(high, total)
    with np.errstate(divide="ignore", invalid="ignore"):
        knots = np.concatenate([low / rates, finite_high / rates])
    knots = np.unique(knots[np.isfinite(knots)])

    def filled(tau: float) -> np.ndarray:
        out: np.ndarray = np.clip(tau * rates, low, finite_high)
        return out

    if not len(knots):
        return np.asarray(finite_high)
    lo, hi = 0, len(knots) - 1
    if filled(knots[hi]).sum() <= total:
        return filled(knots[hi])
    while hi - lo > 1:  # the sum is piecewise linear and rising in tau: find its piece, then solve on it
        middle = (lo + hi) // 2
        if filled(knots[middle]).sum() <= total:
            lo = middle
        else:
            hi = middle
    at_lo, at_hi = filled(knots[lo]).sum(), filled(knots[hi]).sum()
    return filled(knots[lo] + (total - at_lo) * (knots[hi] - knots[lo]) / max(at_hi - at_lo, 1e-300))


def resolve_spread(geometry: Geometry, spread: Literal["auto", "balanced", "capped", "free"]) -> Spread:
    """`auto`: balanced where most prompts offer at least three pairs, else capped."""
    if spread == "auto":
        return "balanced" if np.mean(geometry.pair_counts >= 3) > 0.5 else "capped"
    return spread


def make_feasible(
    geometry: Geometry,
    *,
    budget: int,
    max_labels_per_pair: float = 1.0,
    spread: Literal["auto", "balanced", "capped", "free"] = "auto",
    pinned: Sequence[int] = (),
    excluded: Sequence[int] = (),
) -> Feasible:
    """The feasible set of a budget of n labels. Raises DesignError naming the constraint and the amount."""
    kind = resolve_spread(geometry, spread)
    pins, outs = np.unique(np.asarray(pinned, dtype=np.int64)), np.unique(np.asarray(excluded, dtype=np.int64))
    both = np.intersect1d(pins, outs)
    if len(both):
        raise DesignError(f"{len(both)} pairs are both pinned and excluded (first: pair number {both[0]}); drop one.")
    r = float(max_labels_per_pair)
    if len(pins) and math.isinf(r):
        raise DesignError("pins need a finite --max-labels-per-pair: a pinned pair is held at that bound.")
    admissible = geometry.pair_counts.astype(float)
    if len(outs):
        admissible = admissible - np.bincount(geometry.prompt_of(outs), minlength=geometry.prompts)
    capacity = np.where(admissible > 0, admissible * r if math.isfinite(r) else math.inf, 0.0)
    if capacity.sum() < budget:
        left = f" left after {len(outs)} exclusions" if len(outs) else ""
        raise DesignError(
            f"budget {budget} exceeds the {int(admissible.sum())} pairs of this pool{left} at {r:g} label(s) each; "
            f"lower the budget to {int(capacity.sum())} or raise --max-labels-per-pair."
        )
    pinned_labels = np.bincount(geometry.prompt_of(pins), minlength=geometry.prompts) * (r if len(pins) else 0.0)
    if pinned_labels.sum() > budget:
        raise DesignError(
            f"{len(pins)} pinned pairs take {pinned_labels.sum():g} labels, over the budget of {budget}; "
            "raise the budget or drop pins."
        )
    labels = _prompt_labels(geometry, kind, float(budget), capacity, pinned_labels)
    device = geometry.device
    blocked = None
    if len(pins) or len(outs):
        blocked = torch.zeros(geometry.pairs, dtype=torch.bool, device=device)
        blocked[torch.as_tensor(np.concatenate([pins, outs]), device=device)] = True
    return Feasible(
        geometry=geometry,
        spread=kind,
        budget=int(budget),
        upper=r / budget,
        totals=torch.as_tensor((labels - pinned_labels).clip(min=0.0) / budget, device=device),
        pinned=torch.as_tensor(pins, device=device),
        blocked=blocked,
        remaining=max(0.0, 1.0 - float(pinned_labels.sum()) / budget),
        prompt_labels=labels,
    )


def _prompt_labels(
    geometry: Geometry, kind: Spread, budget: float, capacity: np.ndarray, pinned: np.ndarray
) -> np.ndarray:
    weights = geometry.prompt_weights
    if kind == "balanced":
        return water_fill(weights, pinned, np.maximum(capacity, pinned), budget)
    if kind == "free":
        return np.full(geometry.prompts, math.inf)
    tau = budget
    for _ in range(200):
        caps = np.minimum(np.maximum(np.ceil(tau * weights - 1e-9), 1.0), capacity)
        caps = np.maximum(caps, pinned)
        if caps.sum() >= budget - 1e-9:
            return np.asarray(caps)
        tau *= 1.1
    return np.asarray(np.maximum(capacity, pinned))
