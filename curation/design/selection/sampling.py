"""From design weights to a batch of exactly n labels (docs/method.md section 8)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, vstack
from torch import Tensor

from curation.design.selection.tally import Tally
from curation.design.selection.walk import walk
from curation.design.sets.feasible import Feasible
from curation.errors import DesignError

SNAP = 1e-9  # inclusions closer than this to a whole number are that number


@dataclass(frozen=True)
class Batch:
    """Pairs to label. pairs: (m,) rising pair numbers. copies: (m,) labels of each. inclusion: (m,) expected labels.

    inclusion is None where the selection has no known inclusion probabilities.
    """

    pairs: np.ndarray
    copies: np.ndarray
    inclusion: np.ndarray | None

    @property
    def labels(self) -> int:
        """Labels in the batch, copies counted."""
        return int(self.copies.sum())


def pivotal(probabilities: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int, float]:
    """Sequential pivotal sampling of one list (Deville and Tille 1998).

    probabilities: (m,) in (0, 1). Returns the mask of units taken, and the one unit left undecided with its
    probability (-1 and 0.0 where none is). Each unit is taken with exactly its probability once the undecided one
    has been settled by a later list.
    """
    taken = np.zeros(len(probabilities), dtype=bool)
    carried, chance = -1, 0.0
    draws = rng.random(len(probabilities))
    for unit, p in enumerate(probabilities.tolist()):
        if carried < 0:
            carried, chance = unit, p
        elif chance + p < 1.0 - SNAP:
            if draws[unit] * (chance + p) < p:
                carried = unit
            chance += p
        else:
            rest = max(chance + p - 1.0, 0.0)
            # one of the two is taken for good, the other keeps the rest
            if draws[unit] * (2.0 - chance - p) < 1.0 - p:
                taken[carried] = True
                carried = unit
            else:
                taken[unit] = True
            chance = rest
            if chance < SNAP:
                carried, chance = -1, 0.0
    return taken, carried, chance


def sample(feasible: Feasible, weights: Tensor, *, seed: int) -> Batch:
    """Draw a batch whose inclusion probabilities are exactly pi = n w: inside each prompt first, then across.

    weights: (pairs,). Totals of prompts and strata are met to the whole number below or above; the batch has exactly n
    labels (with costs: the budget is met in expectation). Generator shares are kept in every draw, limits on means in
    expectation and in every draw to within a few labels (see walk.py).
    Raises DesignError where the weights do not sum to the budget.
    """
    rng = np.random.default_rng(seed)
    support = (weights > 0).nonzero().squeeze(1).cpu().numpy()
    inclusion = weights.cpu().numpy()[support] * feasible.labels
    copies, fraction = _split(inclusion)
    open_units = np.flatnonzero(fraction > 0)
    if feasible.shares or feasible.over:
        taken = _walked(feasible, support, copies, fraction, open_units, rng)
        copies[open_units[taken]] += 1
    else:
        copies = _by_pivots(feasible, support, copies, fraction, open_units, rng)
    wanted = round(feasible.labels)
    if feasible.counted and int(copies.sum()) != wanted:
        raise DesignError(f"the design holds {int(copies.sum())} labels where {wanted} were asked; solve again.")
    kept = copies > 0
    return Batch(support[kept], copies[kept], inclusion[kept])


def _by_pivots(
    feasible: Feasible,
    support: np.ndarray,
    copies: np.ndarray,
    fraction: np.ndarray,
    open_units: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Copies after pivotal sampling inside each prompt, then inside each stratum, then across strata."""
    prompt = feasible.geometry.prompt_of(support[open_units])
    units, chances = _settle(open_units, fraction[open_units], prompt, copies, rng)
    block = feasible.block.cpu().numpy()[feasible.geometry.prompt_of(support[units])]
    order = np.argsort(block, kind="stable")
    units, chances = _settle(units[order], chances[order], block[order], copies, rng)
    across = rng.permutation(len(units))
    taken, carried, chance = pivotal(chances[across], rng)
    copies[units[across][taken]] += 1
    if carried >= 0:
        if feasible.counted and min(chance, 1.0 - chance) > 1e-3:
            raise DesignError(f"the weights sum to a fraction of a label ({chance:.3g} left over); solve again.")
        copies[units[across][carried]] += round(chance) if feasible.counted else int(rng.random() < chance)
    return copies


def _settle(
    units: np.ndarray, chances: np.ndarray, group: np.ndarray, copies: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pivotal sampling inside each run of equal groups. Returns the units left undecided and their chances."""
    leftover, rest = [], []
    if not len(group):
        return units, chances
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(group)], strict=True):
        order = rng.permutation(stop - start) + start
        taken, carried, chance = pivotal(chances[order], rng)
        copies[units[order[taken]]] += 1
        if carried >= 0:
            if chance > 1 - SNAP or chance < SNAP:
                copies[units[order[carried]]] += round(chance)
                continue
            leftover.append(units[order[carried]])
            rest.append(chance)
    return np.array(leftover, dtype=np.int64), np.array(rest)


def _walked(
    feasible: Feasible,
    support: np.ndarray,
    copies: np.ndarray,
    fraction: np.ndarray,
    units: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Which units to take, (m,) bool, by a walk inside every count: prompts, strata, the whole and the shares.

    Where a mean has a limit, the walk leaves the sums it is made of as they are until a few units are left.
    """
    if not len(units):
        return np.zeros(0, dtype=bool)
    geometry = feasible.geometry
    prompt = geometry.prompt_of(support[units])
    order = np.lexsort((rng.random(len(units)), prompt))
    x, prompt, pairs = fraction[units][order], prompt[order], support[units][order]
    column = np.arange(len(x))
    rows, low, high = [], [], []
    block = feasible.block.cpu().numpy()[prompt]
    for group in (prompt, block, np.zeros(len(x), dtype=np.int64)):
        present, at = np.unique(group, return_inverse=True)
        rows.append(csr_matrix((np.ones(len(x)), (at, column)), shape=(len(present), len(x))))
        sums = np.bincount(at, weights=x)
        low.append(np.floor(sums + 1e-7))
        high.append(np.ceil(sums - 1e-7))
    tally = Tally(feasible, feasible.pinned_weights())
    touch, whole = tally.touches(pairs), tally.touches(support)
    rows.append(csr_matrix(touch.T.astype(float)))
    low.append(np.full(len(tally.names), -np.inf))
    high.append(tally.share_high - copies @ whole)
    taken = np.zeros(len(units), dtype=bool)
    kept = csr_matrix(
        np.array([over.cpu().numpy()[pairs] for over in feasible.over]).reshape(len(feasible.over), len(x))
    )
    taken[order] = walk(x, vstack(rows).tocsr(), np.concatenate(low), np.concatenate(high), rng, kept=kept)
    return taken


def _split(inclusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole copies and the fraction left to chance, both (m,)."""
    copies = np.floor(inclusion + SNAP).astype(np.int64)
    fraction = inclusion - copies
    fraction[np.abs(fraction) < SNAP] = 0.0
    return copies, fraction


def paper(feasible: Feasible, weights: Tensor, *, seed: int) -> Batch:
    """Sequential draws proportional to weight, without replacement beyond the bound r, as HGM draw them.

    The inclusion probabilities of this scheme are not pi and are left unknown. Every constraint is kept.
    """
    rng = np.random.default_rng(seed)
    support = (weights > 0).nonzero().squeeze(1).cpu().numpy()
    prompt = feasible.geometry.prompt_of(support)
    tally = Tally(feasible, weights)
    chance = weights.cpu().numpy()[support].copy()
    chance[~tally.has_room(support)] = 0.0
    wanted = round(feasible.labels) if feasible.counted else math.inf
    while tally.labels < wanted:
        cumulative = np.cumsum(chance)
        if cumulative[-1] <= 0:
            if not feasible.counted:
                break
            raise DesignError(
                f"sequential draws ran out of pairs after {tally.labels} of {feasible.labels:g} labels (the design's "
                "support under its constraints is smaller than the budget); use --select sample."
            )
        unit = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        tally.add(int(support[unit]))
        touched = prompt == prompt[unit]
        if tally.names or tally.over or len(tally.block_high) > 1 or not feasible.counted:
            touched = chance > 0
        chance[touched] *= tally.has_room(support[touched])
    pairs = np.array(sorted(tally.copies), dtype=np.int64)
    return Batch(pairs, np.array([tally.copies[p] for p in pairs.tolist()], dtype=np.int64), None)


def with_overlap(batch: Batch, repeats: int, *, seed: int) -> Batch:
    """The batch with `repeats` of its pairs, drawn at random, labelled once more (for agreement)."""
    if not repeats:
        return batch
    if repeats > len(batch.pairs):
        raise DesignError(f"an overlap of {repeats} labels exceeds the {len(batch.pairs)} pairs; lower --overlap.")
    return Batch(batch.pairs, batch.copies + repeated(len(batch.pairs), repeats, seed=seed), batch.inclusion)


def repeated(pairs: int, repeats: int, *, seed: int) -> np.ndarray:
    """(pairs,) 1 for those that `with_overlap` labels once more, else 0."""
    chosen = np.zeros(pairs, dtype=np.int64)
    chosen[np.random.default_rng([seed, 1]).choice(pairs, size=repeats, replace=False)] = 1
    return chosen
