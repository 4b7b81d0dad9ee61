"""From a budget and its constraints to a feasible set, or the constraint that cannot be kept and the amount."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from curation.design.geometry import Geometry
from curation.design.sets.allotment import Spread, allot, supply_of
from curation.design.sets.feasible import Feasible
from curation.design.sets.limits import Limits
from curation.design.sets.linear import explain_infeasible
from curation.design.sets.uniform import uniform_design
from curation.errors import DesignError

Wanted = Literal["auto", "balanced", "capped", "free"]


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
