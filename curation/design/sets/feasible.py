"""Feasible designs: 0 <= pi <= r, the budget, spread, caps, quotas, shares, costs, pins (docs/method.md section 4).

Everything is kept in design-measure units w = pi / labels. Without costs the weights of a design sum to one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from curation.design.geometry import Geometry
from curation.design.sets.allotment import Spread, allot, supply_of, water_fill
from curation.design.sets.limits import Limits
from curation.errors import DesignError

Wanted = Literal["auto", "balanced", "capped", "free"]


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

    def maximise(self, values: Tensor) -> tuple[Tensor, Tensor, float]:
        """Exact linear maximisation of <v, values> over the pairs left to choose. values: (pairs,).

        Returns pair numbers (m,), their weights (m,) and the maximum, pinned pairs not included. Greedy where that is
        exact, else a linear program over columns generated until none is missing.
        """
        if self.remaining <= 0:
            empty = torch.zeros(0, dtype=torch.int64, device=values.device)
            return empty, torch.zeros(0, dtype=torch.float64, device=values.device), 0.0
        if not self.laminar:
            from curation.design.sets.linear import maximise_by_columns

            pairs, amounts, reach, _ = maximise_by_columns(self, values)
            return pairs, amounts, reach
        worth = values if self.price is None else values / self.price
        if self.blocked is not None:
            worth = worth.masked_fill(self.blocked, -math.inf)
        pairs, amounts = self._top(worth) if self.spread == "free" else self._top_by_prompt(worth)
        return pairs, amounts, float(values[pairs] @ amounts)

    def _top(self, worth: Tensor) -> tuple[Tensor, Tensor]:
        """The best pairs of each stratum, at their bound, until its amount is spent."""
        if len(self.block_totals) == 1:
            return self._top_of(worth, None, float(self.block_totals[0]))
        parts = []
        owner = self.block.repeat_interleave(self.geometry.pair_counts_tensor)
        for b, total in enumerate(self.block_totals.tolist()):
            if total > 0:
                parts.append(self._top_of(worth, (owner == b).nonzero().squeeze(1), total))
        return torch.cat([pairs for pairs, _ in parts]), torch.cat([amounts for _, amounts in parts])

    def _top_of(self, worth: Tensor, among: Tensor | None, total: float) -> tuple[Tensor, Tensor]:
        inside = worth if among is None else worth[among]
        if math.isinf(self.upper):
            best = inside.argmax().reshape(1)
            pair = best if among is None else among[best]
            return pair, self._weights_of(torch.full((1,), total, dtype=torch.float64, device=worth.device), pair)
        if self.price is None:
            count = min(max(math.ceil(total / self.upper - 1e-9), 1), len(inside))
            order = inside.topk(count).indices
            pairs = order if among is None else among[order]
            amounts = torch.full((count,), self.upper, dtype=torch.float64, device=worth.device)
            amounts[-1] = total - self.upper * (count - 1)
            return pairs, amounts
        order = inside.argsort(descending=True)
        pairs = order if among is None else among[order]
        most = self.upper * self.price[pairs]
        spent = torch.minimum(most, (total - (most.cumsum(0) - most)).clamp_min(0.0))
        chosen = (spent > 0) & torch.isfinite(worth[pairs])
        return pairs[chosen], self._weights_of(spent[chosen], pairs[chosen])

    def _weights_of(self, spent: Tensor, pairs: Tensor) -> Tensor:
        return spent if self.price is None else spent / self.price[pairs]

    def _top_by_prompt(self, worth: Tensor) -> tuple[Tensor, Tensor]:
        """The best pairs of each prompt up to its total; `capped` then takes the best of those in each stratum."""
        pairs, spent = [], []
        whole = self.remaining
        for bucket, part in self.geometry.parts():
            block = self.geometry.gather(bucket, part, worth, fill=-math.inf)
            totals = self.totals[torch.as_tensor(bucket.prompts[part], device=worth.device)].clamp_max(whole)
            depth = 1
            if math.isfinite(self.upper):
                most_labels = min(float(totals.max()) / self.upper, block.shape[1])
                depth = math.ceil(most_labels - 1e-9) if self.price is None else block.shape[1]
            best, number = self.geometry.best_pairs(bucket, part, block, min(max(depth, 1), block.shape[1]))
            amount = totals[:, None].expand_as(best)
            if math.isfinite(self.upper):
                most = torch.full_like(best, self.upper) if self.price is None else self.upper * self.price[number]
                amount = torch.minimum(most, (amount - (most.cumsum(1) - most)).clamp_min(0.0))
            amount = amount.masked_fill(torch.isinf(best), 0.0)
            chosen = amount > 0
            pairs.append(number[chosen])
            spent.append(amount[chosen])
        pair, amount = torch.cat(pairs), torch.cat(spent)
        if self.spread == "capped":
            order = worth[pair].argsort(descending=True)
            pair, amount = pair[order], amount[order]
            owner = self.block[torch.as_tensor(self.geometry.prompt_of(pair), device=pair.device)]
            kept = torch.zeros_like(amount)
            for b, total in enumerate(self.block_totals.tolist()):
                inside = owner == b
                here = amount[inside]
                kept[inside] = torch.minimum(here, (total - (here.cumsum(0) - here)).clamp_min(0.0))
            pair, amount = pair[kept > 0], kept[kept > 0]
        return pair, self._weights_of(amount, pair)

    def uniform(self) -> Tensor:
        """All admissible pairs alike, as far as the constraints allow, pins included. Returns (pairs,)."""
        if "uniform" not in self.memory:
            self.memory["uniform"] = self._even()
            if not self.laminar:
                from curation.design.sets.linear import nearest

                self.memory["uniform"] = nearest(self, self.memory["uniform"])
        return self.memory["uniform"]

    def uniform_information(self) -> Tensor:
        """Sigma (d, d) of the uniform design."""
        if "uniform_information" not in self.memory:
            self.memory["uniform_information"] = self.geometry.information(self.uniform())
        return self.memory["uniform_information"]

    def _even(self) -> Tensor:
        """Pairs alike within prompts and strata; label caps beside costs and generator shares not yet looked at."""
        geometry = self.geometry
        repeats = geometry.pair_counts_tensor
        open_price = torch.ones(geometry.pairs, dtype=torch.float64, device=geometry.device)
        if self.price is not None:
            open_price = self.price.clone()
        if self.blocked is not None:
            open_price = open_price.masked_fill(self.blocked, 0.0)
        owner = torch.arange(geometry.prompts, device=geometry.device).repeat_interleave(repeats)
        supply = torch.zeros(geometry.prompts, dtype=torch.float64, device=geometry.device)
        supply = supply.index_add_(0, owner, open_price)
        if self.spread == "balanced":
            totals = self.totals
        else:
            totals = torch.zeros_like(supply)
            capacity = torch.where(supply > 0, supply * self.upper, torch.zeros_like(supply))
            if self.spread == "capped" and self.price is None:
                capacity = torch.minimum(self.totals, capacity)
            for b, total in enumerate(self.block_totals.tolist()):
                inside = self.block == b
                rates, highs = supply[inside].cpu().numpy(), capacity[inside].cpu().numpy()
                filled = water_fill(rates, np.zeros(len(rates)), highs, total) if total > 0 else np.zeros(len(rates))
                totals[inside] = torch.as_tensor(filled, device=totals.device)
        share = torch.where(supply > 0, totals / supply.clamp_min(1e-300), torch.zeros_like(supply))
        weights = share.repeat_interleave(repeats)
        if self.blocked is not None:
            weights = weights.masked_fill(self.blocked, 0.0)
        return weights + self.pinned_weights()


def resolve_spread(geometry: Geometry, spread: Wanted) -> Spread:
    """`auto`: balanced where most prompts offer at least three pairs, else capped."""
    if spread == "auto":
        return "balanced" if np.mean(geometry.pair_counts >= 3) > 0.5 else "capped"
    return spread


def make_feasible(
    geometry: Geometry,
    *,
    budget: float,
    max_labels_per_pair: float = 1.0,
    spread: Wanted = "auto",
    pinned: Sequence[int] | Mapping[int, float] = (),
    excluded: Sequence[int] = (),
    limits: Limits | None = None,
) -> Feasible:
    """The feasible set of a budget. Raises DesignError naming the constraint that cannot be kept, and the amount.

    pinned: pairs held at max_labels_per_pair labels, or pair -> the labels it is held at.
    """
    limits = limits or Limits()
    kind = resolve_spread(geometry, spread)
    r = float(max_labels_per_pair)
    pins, amounts = _pins(pinned, r)
    outs = np.unique(np.asarray(excluded, dtype=np.int64))
    costs = limits.checked_costs(geometry)
    mean = 1.0 if costs is None else float(costs.mean())
    labels = budget / mean
    own = limits.own_caps(geometry.prompts)
    supply = supply_of(geometry, r, costs, own, pins, amounts, outs)
    _check_pins(budget, pins, outs, float(supply.pinned_cost.sum()), "labels" if costs is None else "cost units")
    over = np.flatnonzero(supply.pinned > own * (1 + 1e-12))
    if len(over):
        raise DesignError(
            f"prompt number {over[0]}: its pinned pairs take {supply.pinned[over[0]]:g} labels, over its own cap "
            f"(--per-prompt) of {own[over[0]]:g}; raise the cap or drop pins."
        )
    _check_capacity(geometry, budget, r, outs, own, costs, float(supply.most.sum()))
    allotment = allot(geometry, kind, budget, limits, supply, mean)
    device = geometry.device

    def tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=device)

    blocked = None
    if len(pins) or len(outs):
        blocked = torch.zeros(geometry.pairs, dtype=torch.bool, device=device)
        blocked[torch.as_tensor(np.concatenate([pins, outs]), device=device)] = True
    caps, totals = None, np.full(geometry.prompts, math.inf)
    held = np.bincount(allotment.block, weights=supply.pinned_cost, minlength=len(allotment.block_totals))
    prompt_labels = np.full(geometry.prompts, math.inf)
    if allotment.shares is not None:
        totals = (allotment.shares - supply.pinned_cost).clip(min=0.0) / budget
        prompt_labels = allotment.shares / mean
        caps = None if allotment.caps is None else (allotment.caps - supply.pinned).clip(min=0.0) / labels
    elif allotment.caps is not None:
        prompt_labels = allotment.caps
        totals = (allotment.caps - supply.pinned).clip(min=0.0) / labels
        kind = "capped"  # a free spread under own caps is held by them
        if limits.costs is None and bool((allotment.caps >= _pair_capacity(geometry, r, outs) * (1 - 1e-12)).all()):
            kind, totals = "free", np.full(geometry.prompts, math.inf)  # the pairs' own bounds say as much
    feasible = Feasible(
        geometry=geometry,
        spread=kind,
        budget=budget,
        labels=labels,
        upper=r / labels,
        totals=tensor(totals),
        block=torch.as_tensor(allotment.block, device=device),
        block_totals=tensor((allotment.block_totals - held).clip(min=0.0) / budget),
        pinned=torch.as_tensor(pins, device=device),
        held=tensor(amounts / labels),
        blocked=blocked,
        prompt_labels=prompt_labels,
        price=None if costs is None else tensor(costs / mean),
        caps=None if caps is None else tensor(caps),
        limits=limits,
    )
    means = tuple(mean for mean in limits.checked_means(geometry) if mean.most < np.max(mean.values, initial=-math.inf))
    beyond = tuple(tensor(np.asarray(mean.values, dtype=float) - mean.most) for mean in means)  # others cannot bind
    return _with_shares(replace(feasible, over=beyond, limits=replace(limits, means=means)), limits)


def _pins(pinned: Sequence[int] | Mapping[int, float], r: float) -> tuple[np.ndarray, np.ndarray]:
    """Pinned pair numbers, rising, and the labels each is held at, (k,) both. Raises DesignError."""
    if not isinstance(pinned, Mapping):
        pins = np.unique(np.asarray(pinned, dtype=np.int64))
        if len(pins) and math.isinf(r):
            raise DesignError("pins need a finite --max-labels-per-pair: a pinned pair is held at that bound.")
        return pins, np.full(len(pins), r if len(pins) else 0.0)
    pins = np.array(sorted(pinned), dtype=np.int64)
    amounts = np.array([float(pinned[pair]) for pair in pins.tolist()])
    wrong = ~((amounts > 0) & (amounts <= r) & np.isfinite(amounts))
    if wrong.any():
        raise DesignError(
            f"pair number {pins[wrong][0]} is pinned at {amounts[wrong][0]:g} labels, outside (0, {r:g}]; raise "
            "--max-labels-per-pair or pin it at fewer."
        )
    return pins, amounts


def _pair_capacity(geometry: Geometry, r: float, outs: np.ndarray) -> np.ndarray:
    admissible = geometry.pair_counts - np.bincount(geometry.prompt_of(outs), minlength=geometry.prompts)
    return np.where(admissible > 0, admissible * r if math.isfinite(r) else math.inf, 0.0)


def _with_shares(feasible: Feasible, limits: Limits) -> Feasible:
    """The set with its generator caps, checked to be possible together with everything else, limits on means too."""
    shares = limits.shares()
    if shares:
        names = torch.as_tensor(np.asarray(limits.generators, dtype=np.int64), device=feasible.geometry.device)
        first, second = feasible.geometry.endpoints(feasible.pinned)
        left = {}
        for g, share in shares.items():
            cap = math.floor(share * feasible.labels + 1e-9)
            touched = (names[torch.as_tensor(first, device=names.device)] == g) | (
                names[torch.as_tensor(second, device=names.device)] == g
            )
            taken = float(feasible.held[touched].sum()) * feasible.labels
            if taken > cap + 1e-9:
                raise DesignError(
                    f"{limits.generator(g)}: its pinned pairs take {taken:g} labels, over its share of {cap}; "
                    "raise the generator share or drop pins."
                )
            left[g] = (cap - taken) / feasible.labels
        feasible = replace(feasible, generators=names, shares=left, memory={})
    if not feasible.laminar:
        feasible.uniform()  # finds a feasible point, or says why there is none
    if feasible.over and float(feasible.uniform().sum()) <= 1e-6:  # a budget in cost units need not be spent
        from curation.design.sets.linear import explain_infeasible

        raise DesignError(explain_infeasible(feasible))
    return feasible


def _check_pins(budget: float, pins: np.ndarray, outs: np.ndarray, taken: float, unit: str) -> None:
    both = np.intersect1d(pins, outs)
    if len(both):
        raise DesignError(f"{len(both)} pairs are both pinned and excluded (first: pair number {both[0]}); drop one.")
    if taken > budget * (1 + 1e-12):
        raise DesignError(
            f"{len(pins)} pinned pairs take {taken:g} {unit}, over the budget of {budget:g}; "
            "raise the budget or drop pins."
        )


def _check_capacity(
    geometry: Geometry,
    budget: float,
    r: float,
    outs: np.ndarray,
    own: np.ndarray,
    costs: np.ndarray | None,
    most: float,
) -> None:
    if most >= budget * (1 - 1e-12):
        return
    left = f" left after {len(outs)} exclusions" if len(outs) else ""
    if np.isfinite(own).any() and float(_pair_capacity(geometry, r, outs).sum()) > most:
        raise DesignError(
            f"budget {budget:g} exceeds the {most:g} that the own caps (--per-prompt) let this pool{left} take; "
            "raise the caps or lower the budget."
        )
    if costs is not None:
        raise DesignError(f"budget {budget:g} exceeds the {most:g} that all pairs{left} cost; lower the budget.")
    pairs = geometry.pairs - len(outs)
    raise DesignError(
        f"budget {budget:g} exceeds the {pairs} pairs of this pool{left} at {r:g} label(s) each; "
        f"lower the budget to {int(most)} or raise --max-labels-per-pair."
    )
