"""Counting whole labels against the constraints: what may still be added to a batch, and what may be swapped."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from curation.design.sets.allotment import SLACK as SLACK
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import least_mean

# Per sum, whose groups of pairs are counted apart: the group of each pair, (m,) or ALIKE, and what a label of it takes,
# (m,) or one number for all, so that tables of swaps stay narrow
Takes = list[tuple[np.ndarray, np.ndarray]]
ALIKE = np.zeros(1, dtype=np.int64)  # the group of every pair where a sum has only one
ONE = np.ones(1)


class Tally:
    """The labels of a batch in the making, and the room that every constraint leaves.

    weights: (pairs,) the design: where its spread fixes what prompts get, each gets the whole number of labels below or
    above what it expects. Amounts of strata are labels, or cost units where pairs have costs. All whole numbers are
    numpy's, on the CPU: a batch is small beside the pool.
    """

    def __init__(self, feasible: Feasible, weights: Tensor) -> None:
        geometry = feasible.geometry
        self.feasible, self.geometry = feasible, geometry
        self.limit = feasible.upper * feasible.labels  # r
        self.copies: dict[int, int] = {}
        self.labels = 0  # counted so far
        self._whole = np.zeros(geometry.pairs, dtype=bool)  # pairs at their own bound
        prompts = geometry.prompts
        self.prompt_low, self.prompt_high = feasible.spread.room(feasible, weights)
        if feasible.caps is not None:
            self.prompt_high = np.minimum(self.prompt_high, np.floor(feasible.limits.own_caps(prompts) + SLACK))
        self.block = feasible.block.cpu().numpy()
        held = feasible.spend(feasible.held, feasible.pinned)
        self.block_high = feasible.block_totals.cpu().numpy() * feasible.budget
        owner = self.block[geometry.prompt_of(feasible.pinned)]
        self.block_high = self.block_high + np.bincount(
            owner, weights=held.cpu().numpy() * feasible.budget, minlength=len(self.block_high)
        )
        if feasible.counted:
            self.block_high = np.round(self.block_high)
        self.names = sorted(feasible.shares)
        self._generators = None if feasible.generators is None else feasible.generators.cpu().numpy()
        self.share_high = np.array(
            [math.floor(feasible.limits.shares()[g] * feasible.labels + 1e-9) for g in self.names]
        )
        self.over = [over.cpu().numpy() for over in feasible.over]
        self.used_over = np.zeros(len(self.over))  # labels times what each is over each limit on a mean
        self.ahead = self._ahead()
        self.used_prompt = np.zeros(prompts)
        self.used_block = np.zeros(len(self.block_high))
        self.used_share = np.zeros(len(self.names))
        for pair, weight in zip(feasible.pinned.tolist(), feasible.held.tolist(), strict=True):
            self.add(pair, round(weight * feasible.labels))

    def _ahead(self) -> np.ndarray:
        """Per limit on a mean, how far over it a batch may be for every label still to come.

        Labels to come can make up for it: they are taken to lie halfway between the limit and the least mean that the
        other constraints allow. Where costs leave their number open, nothing is lent.
        """
        if not self.over or not self.feasible.counted:
            return np.zeros(len(self.over))
        memory = self.feasible.memory
        if "ahead" not in memory:
            memory["ahead"] = torch.tensor(
                [-least_mean(self.feasible, over) / 2 for over in self.feasible.over], dtype=torch.float64
            )
        return np.asarray(memory["ahead"].clamp_min(0.0).numpy())

    @cached_property
    def _blocked(self) -> np.ndarray:
        return np.asarray(self.feasible.blocked.cpu().numpy())

    @cached_property
    def _costs(self) -> np.ndarray:
        return np.broadcast_to(1.0, self.geometry.pairs) if self.feasible.counted else self.cost.cpu().numpy()

    @cached_property
    def cost(self) -> Tensor:
        """(pairs,) what one label of each pair takes from the budget."""
        unit = self.feasible.budget / self.feasible.labels
        return self.feasible.cost if self.feasible.counted else self.feasible.cost * unit

    @property
    def left(self) -> float:
        """Labels still to come, as far as their number is known."""
        return max(self.feasible.labels - self.labels, 0.0)

    def touches(self, pairs: np.ndarray) -> np.ndarray:
        """(m, generators with a share) whether each takes part in a pair."""
        of, names = self._generators, np.array(self.names)
        if of is None:
            return np.zeros((len(pairs), 0), dtype=bool)
        first, second = self.geometry.endpoints(pairs)
        touched: np.ndarray = (of[first][:, None] == names) | (of[second][:, None] == names)
        return touched

    def cost_of(self, pairs: np.ndarray) -> np.ndarray:
        """(m,) what one label of each pair takes from the budget."""
        return np.asarray(self._costs[pairs])

    def add(self, pair: int, count: int = 1) -> None:
        """Count a label of a pair, or take it back with count -1."""
        self.labels += count
        self.copies[pair] = self.copies.get(pair, 0) + count
        self._whole[pair] = self.copies[pair] >= self.limit - SLACK
        if not self.copies[pair]:
            del self.copies[pair]
        at = np.array([pair])
        x = int(self.geometry.prompt_of(at)[0])
        self.used_prompt[x] += count
        self.used_block[self.block[x]] += count * float(self.cost_of(at)[0])
        self.used_share += count * self.touches(at)[0]
        self.used_over += [count * over[pair] for over in self.over]

    def whole(self, pair: int) -> bool:
        """Whether a pair has all the labels that one pair may have."""
        return bool(self._whole[pair])

    def closed(self, pairs: np.ndarray) -> np.ndarray:
        """(m,) pinned or excluded."""
        return np.asarray(self._blocked[pairs])

    def _takes(self, pairs: np.ndarray) -> Takes:
        """What a label of each pair (m,) takes: of its prompt, its stratum, the shares, the limits on means."""
        over = [over[pairs] for over in self.over]
        return self._of_sums(self.geometry.prompt_of(pairs), self.cost_of(pairs), list(self.touches(pairs).T), over)

    @cached_property
    def _every(self) -> Takes:
        """`_takes` of every pair, without a search for its prompt and its ends."""
        geometry, of = self.geometry, self.feasible.generators
        touched = [] if of is None else [geometry.sums((of == g).to(torch.int8)).cpu().numpy() > 0 for g in self.names]
        prompt = np.repeat(np.arange(geometry.prompts), geometry.pair_counts)
        return self._of_sums(prompt, self._costs, touched, self.over)

    def _of_sums(
        self, prompt: np.ndarray, cost: np.ndarray, touched: list[np.ndarray], over: list[np.ndarray]
    ) -> Takes:
        stratum = self.block[prompt] if len(self.block_high) > 1 else ALIKE
        takes = [(prompt, ONE), (stratum, ONE if self.feasible.counted else cost)]
        return takes + [(ALIKE, part.astype(np.int8)) for part in touched] + [(ALIKE, part) for part in over]

    def _left(self, more: int) -> list[np.ndarray]:
        """What each sum, in the order of `_takes`, has left in each of its groups, `more` labels being added."""
        budget = self.block_high * (1 + 1e-12) + SLACK * 1e-3
        left = [self.prompt_high + SLACK - self.used_prompt, budget - self.used_block]
        left += list((self.share_high + SLACK - self.used_share)[:, None])
        return left + list((self.ahead * max(self.left - more, 0.0) + SLACK - self.used_over)[:, None])

    def _fits(self, entering: Takes, leaving: Takes | None = None) -> np.ndarray:
        """Whether every sum has room for one label of each entering pair (c,) in place of one of each leaving (m,).

        Returns (m, c); (c,) where none leaves. A sum that a swap does not raise may stay as it is, over its limit too.
        """
        fits: np.ndarray = np.ones(1, dtype=bool)
        for at, (left, (group, takes)) in enumerate(zip(self._left(0 if leaving else 1), entering, strict=True)):
            enough = takes <= left[group]
            if leaving is None:
                fits = fits & enough
                continue
            from_group, gives = leaving[at]
            if bool((takes - gives.min(initial=0.0) <= left[group]).all()):
                continue
            within = takes[None, :] - gives[:, None] <= left[group].clip(min=0.0)[None, :]
            if group is not ALIKE:  # what a pair gives back is of use to its own group only
                within = (from_group[:, None] == group[None, :]) & within
                within |= enough[None, :]
            fits = fits & within
        return fits

    def has_room(self, pairs: np.ndarray) -> np.ndarray:
        """(m,) whether one more label of each pair keeps every constraint. Excluded pairs have none."""
        pairs = np.asarray(pairs, dtype=np.int64)
        return np.asarray(self._fits(self._takes(pairs)) & ~self._whole[pairs] & ~self.closed(pairs))

    def open_pairs(self) -> Tensor:
        """(pairs,) bool: has_room of every pair."""
        room = torch.as_tensor(self._fits(self._every) & ~self._whole, device=self.geometry.device)
        return room & ~self.feasible.blocked

    def close(self, pair: int, room: Tensor) -> None:
        """Bring room (pairs,), as open_pairs gave it, up to date after one label of `pair` was added."""
        at = np.array([pair])
        wider = zip(self._left(1)[1:], self._takes(at)[1:], strict=True)
        if not self.feasible.counted or self.over or any((takes > left[group]).any() for left, (group, takes) in wider):
            room &= self.open_pairs()
            return
        x = int(self.geometry.prompt_of(at)[0])
        own = np.arange(self.geometry.pair_offsets[x], self.geometry.pair_offsets[x + 1])
        room[own[0] : own[-1] + 1] &= torch.as_tensor(self.has_room(own), device=room.device)

    def swaps(self, leaving: np.ndarray, entering: np.ndarray) -> np.ndarray:
        """(m, c) whether one label of leaving pair e may become one of entering pair f.

        A batch that is over a limit on a mean may only be brought nearer to it.
        """
        gone, come = self._takes(leaving), self._takes(entering)
        allowed = self._fits(come, gone) & (~self._whole[entering] & ~self.closed(entering))[None, :]
        prompt, other = gone[0][0], come[0][0]
        keeps = self.used_prompt[prompt] - 1 >= self.prompt_low[prompt] - SLACK
        if not keeps.all():
            same = prompt[:, None] == other[None, :]
            same |= keeps[:, None]
            allowed = allowed & same
        return np.asarray(allowed & ~self.closed(leaving)[:, None])

    @property
    def too_far(self) -> float:
        """Labels times what the batch is over its limits on means, 0 where it keeps them."""
        return float(np.maximum(self.used_over - self.ahead * self.left, 0.0).max(initial=0.0))

    @property
    def worst_over(self) -> np.ndarray:
        """(pairs,) what each is over the limit on a mean that the batch exceeds the most."""
        return np.asarray(self.over[int(np.argmax(self.used_over - self.ahead * self.left))])
