"""From a budget and its constraints to a feasible set, or the constraint that cannot be kept and the amount."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from curation.design.geometry import Geometry
from curation.design.sets.allotment import Supply, strata_of, supply_of
from curation.design.sets.feasible import Feasible, Spread
from curation.design.sets.limits import Limits
from curation.design.sets.linear import explain_infeasible
from curation.design.sets.spreads import SPREADS
from curation.design.sets.uniform import uniform_design
from curation.errors import DesignError


def resolve_spread(geometry: Geometry, spread: str) -> str:
    """`auto`: balanced where most prompts offer at least three pairs, else capped."""
    if spread == "auto":
        return "balanced" if np.mean(geometry.pair_counts >= 3) > 0.5 else "capped"
    return spread


def make_feasible(
    geometry: Geometry,
    *,
    budget: float,
    max_labels_per_pair: float = 1.0,
    spread: str | Spread = "auto",
    pinned: Sequence[int] | Mapping[int, float] = (),
    excluded: Sequence[int] = (),
    limits: Limits | None = None,
) -> Feasible:
    """The feasible set of a budget. Raises DesignError naming the constraint that cannot be kept, and the amount.

    spread: "auto", the name of a spread, or one. pinned: pairs held at max_labels_per_pair labels, or pair -> the
    labels it is held at.
    """
    limits = limits or Limits()
    kind = spread if isinstance(spread, Spread) else SPREADS[resolve_spread(geometry, spread)]
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
    _check_capacity(geometry, budget, r, outs, supply, costs is not None)
    block, block_totals = strata_of(geometry, budget, limits, supply)
    shared = np.zeros(geometry.prompts)
    for b, total in enumerate(block_totals.tolist()):
        inside = np.flatnonzero(block == b)
        shared[inside] = kind.shared(inside, total, geometry.prompt_weights[inside], supply, mean)
    bounds = kind.bounds(shared, supply, budget=budget, unit=mean, counted=costs is None)
    held = np.bincount(block, weights=supply.pinned_cost, minlength=len(block_totals))
    device = geometry.device

    def tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=device)

    closed = torch.as_tensor(np.concatenate([pins, outs]), device=device)
    blocked = torch.zeros(geometry.pairs, dtype=torch.bool, device=device).index_fill_(0, closed, True)
    feasible = Feasible(
        geometry=geometry,
        spread=bounds.spread,
        budget=budget,
        labels=labels,
        upper=r / labels,
        totals=tensor(bounds.totals),
        block=torch.as_tensor(block, device=device),
        block_totals=tensor((block_totals - held).clip(min=0.0) / budget),
        pinned=torch.as_tensor(pins, device=device),
        held=tensor(amounts / labels),
        blocked=blocked,
        prompt_labels=bounds.labels,
        cost=tensor(np.ones(1) if costs is None else costs / mean).expand(geometry.pairs),
        caps=None if bounds.caps is None else tensor(bounds.caps),
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
        feasible = replace(feasible, generators=names, shares=left)
    if not feasible.laminar:
        uniform_design(feasible)  # finds a feasible point, or says why there is none
    if feasible.over and float(uniform_design(feasible).sum()) <= 1e-6:  # a budget in cost units need not be spent
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
    supply: Supply,
    costly: bool,
) -> None:
    most = float(supply.most.sum())
    if most >= budget * (1 - 1e-12):
        return
    left = f" left after {len(outs)} exclusions" if len(outs) else ""
    if np.isfinite(supply.own).any() and float(supply.capacity.sum()) > most:
        raise DesignError(
            f"budget {budget:g} exceeds the {most:g} that the own caps (--per-prompt) let this pool{left} take; "
            "raise the caps or lower the budget."
        )
    if costly:
        raise DesignError(f"budget {budget:g} exceeds the {most:g} that all pairs{left} cost; lower the budget.")
    pairs = geometry.pairs - len(outs)
    raise DesignError(
        f"budget {budget:g} exceeds the {pairs} pairs of this pool{left} at {r:g} label(s) each; "
        f"lower the budget to {int(most)} or raise --max-labels-per-pair."
    )
