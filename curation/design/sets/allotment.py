"""How a budget is divided before any pair is chosen: over strata by quota, over prompts by spread.

Source: docs/method.md section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curation.design.geometry import Geometry
from curation.design.sets.limits import Limits
from curation.errors import DesignError

SLACK = 1e-6  # counts are whole numbers; expectations are not


@dataclass(frozen=True)
class Supply:
    """What every prompt could take, (P,) each. capacity: r times its admissible pairs. labels: the same with its own
    cap applied. pinned, pinned_cost: what its pinned pairs take, in labels and in budget units. own: its own cap.
    spend: the most that each prompt can take in budget units within given caps on its labels, (P,) to (P,)."""

    capacity: np.ndarray
    labels: np.ndarray
    pinned: np.ndarray
    pinned_cost: np.ndarray
    own: np.ndarray
    spend: Callable[[np.ndarray], np.ndarray]

    @property
    def most(self) -> np.ndarray:
        """The most that each prompt can take, in budget units."""
        return self.spend(self.labels)


def supply_of(
    geometry: Geometry,
    r: float,
    costs: np.ndarray | None,
    own: np.ndarray,
    pinned: np.ndarray,
    amounts: np.ndarray,
    excluded: np.ndarray,
) -> Supply:
    """What the prompts could take under the bound r, own caps (P,), pinned and excluded pair numbers.

    amounts: labels that each pinned pair is held at.
    """
    size = geometry.prompts
    closed = np.bincount(geometry.prompt_of(np.concatenate([pinned, excluded])), minlength=size)
    left = geometry.pair_counts - closed
    admissible = geometry.pair_counts - np.bincount(geometry.prompt_of(excluded), minlength=size)
    capacity = np.where(admissible > 0, admissible * r if math.isfinite(r) else math.inf, 0.0)
    held: np.ndarray = np.bincount(geometry.prompt_of(pinned), weights=amounts, minlength=size)
    labels: np.ndarray = np.minimum(held + np.where(left > 0, left * r if math.isfinite(r) else math.inf, 0.0), own)
    if costs is None:
        return Supply(
            capacity, labels, held, held, own, lambda caps: np.asarray(np.maximum(np.minimum(caps, labels), held))
        )
    held_cost: np.ndarray = np.bincount(geometry.prompt_of(pinned), weights=costs[pinned] * amounts, minlength=size)
    open_pairs = np.setdiff1d(np.arange(geometry.pairs), np.concatenate([pinned, excluded]))
    owner = geometry.prompt_of(open_pairs)
    order = np.lexsort((-costs[open_pairs], owner))
    dearest = costs[open_pairs[order]]
    count = np.bincount(owner, minlength=size)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    running = np.concatenate([[0.0], np.cumsum(dearest)])

    def spend(caps: np.ndarray) -> np.ndarray:
        room: np.ndarray = np.maximum(np.minimum(caps, labels) - held, 0.0)
        if math.isinf(r):
            first = np.where(count > 0, np.append(dearest, 0.0)[start], 0.0)
            return np.asarray(np.where(count > 0, np.where(first > 0, room * first, 0.0), 0.0) + held_cost)
        whole = np.minimum(np.floor(room / r + 1e-12).astype(np.int64), count)
        part = np.where(whole < count, room / r - whole, 0.0).clip(min=0.0)
        full = running[start + whole] - running[start]
        return np.asarray(r * (full + part * np.append(dearest, 0.0)[start + whole]) + held_cost)

    return Supply(capacity, labels, held, held_cost, own, spend)


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


def strata_of(geometry: Geometry, budget: float, limits: Limits, supply: Supply) -> tuple[np.ndarray, np.ndarray]:
    """Stratum of each prompt counted from 0, (P,), and what each stratum gets, pins included, (strata,).

    In budget units: whole labels, or cost units where pairs have costs. Raises DesignError.
    """
    whole = limits.costs is None
    given = limits.stratum_of(geometry.prompts)
    names, block = np.unique(given, return_inverse=True)
    if not limits.quotas:
        return block, np.array([float(budget)])
    weight, most, pinned = (
        np.bincount(block, weights=part, minlength=len(names))
        for part in (geometry.prompt_weights, supply.most, supply.pinned_cost)
    )
    low, high = pinned.copy(), most.copy()
    for number, (lo, hi) in limits.quotas.items():
        where = np.flatnonzero(names == number)
        name = limits.stratum(number)
        if not len(where):
            raise DesignError(f"quota of {name}: no prompt belongs to it.")
        at = where[0]
        if lo > hi or lo < 0 or math.isnan(lo) or math.isnan(hi):
            raise DesignError(f"quota of {name}: {lo:g}..{hi:g} is not a range from 0 up.")
        if lo > most[at] * (1 + 1e-12):
            raise DesignError(f"quota of {name}: at least {lo:g} asked, but its pairs take {most[at]:g} at most.")
        if pinned[at] > hi * (1 + 1e-12):
            raise DesignError(f"quota of {name}: its pinned pairs take {pinned[at]:g}, over the {hi:g} allowed.")
        low[at], high[at] = max(lo, pinned[at]), min(hi, most[at])
    if whole:
        low, high = np.ceil(low - 1e-9), np.where(np.isfinite(high), np.floor(high + 1e-9), high)
    if low.sum() > budget * (1 + 1e-12):
        raise DesignError(f"the quotas ask for {low.sum():g} at least, over the budget of {budget:g}; lower them.")
    if high.sum() < budget * (1 - 1e-12):
        raise DesignError(
            f"the quotas allow {high.sum():g} at most, under the budget of {budget:g}; raise them or lower the budget."
        )
    totals = water_fill(weight, low, high, float(budget))
    return block, _whole(totals, high, int(budget)) if whole else totals


def _whole(totals: np.ndarray, high: np.ndarray, budget: int) -> np.ndarray:
    """Whole labels per stratum that sum to the budget: floors, then one each by largest fractional part."""
    floors = np.floor(totals + 1e-9)
    order = np.lexsort((np.arange(len(totals)), -(totals - floors)))
    missing = budget - int(floors.sum())
    for at in order:
        if missing <= 0:
            break
        if floors[at] + 1 <= high[at] + 1e-9:
            floors[at] += 1
            missing -= 1
    return np.asarray(floors)


def rounded_caps(weights: np.ndarray, total: float, inside: np.ndarray, supply: Supply, unit: float) -> np.ndarray:
    """(m,) labels at most of prompts `inside`: max(ceil(tau omega), 1), tau raised until they can spend the total."""
    capacity, pinned = supply.labels[inside], supply.pinned[inside]
    highest = np.maximum(capacity, pinned)
    every = np.zeros(len(supply.labels))
    tau = total / unit
    for _ in range(400):
        caps = np.maximum(np.minimum(np.maximum(np.ceil(tau * weights - 1e-9), 1.0), capacity), pinned)
        every[inside] = caps
        if supply.spend(every)[inside].sum() >= total * (1 - 1e-12) or bool((caps >= highest).all()):
            return np.asarray(caps)
        tau *= 1.1
    return np.asarray(highest)
