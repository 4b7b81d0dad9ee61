"""Counting whole labels against the constraints: what may still be added to a batch, and what may be swapped."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from curation.design.sets.feasible import Feasible

SLACK = 1e-6  # counts are whole numbers; expectations are not


class Tally:
    """The labels of a batch in the making, and the room that every constraint leaves.

    weights: (pairs,) the design: where its spread is balanced, each prompt gets the whole number below or above its
    expected labels. amount: labels, or cost units where pairs have costs.
    """

    def __init__(self, feasible: Feasible, weights: Tensor) -> None:
        geometry = feasible.geometry
        self.feasible, self.geometry = feasible, geometry
        self.limit = feasible.upper * feasible.labels  # r
        self.copies: dict[int, int] = {}
        prompts = geometry.prompts
        self.prompt_low, self.prompt_high = np.zeros(prompts), np.full(prompts, math.inf)
        if feasible.spread == "balanced":
            support = weights.nonzero().squeeze(1)
            expected = np.bincount(
                geometry.prompt_of(support),
                weights=(weights[support] * feasible.labels).cpu().numpy(),
                minlength=prompts,
            )
            self.prompt_low, self.prompt_high = np.floor(expected + SLACK), np.ceil(expected - SLACK)
        elif feasible.spread == "capped":
            self.prompt_high = np.floor(feasible.prompt_labels + SLACK)
        if feasible.caps is not None:
            self.prompt_high = np.minimum(self.prompt_high, np.floor(feasible.limits.own_caps(prompts) + SLACK))
        self.block = feasible.block.cpu().numpy()
        self.cost = None if feasible.price is None else feasible.price * (feasible.budget / feasible.labels)
        held = feasible.spend(feasible.held, feasible.pinned)
        self.block_high = feasible.block_totals.cpu().numpy() * feasible.budget
        owner = self.block[geometry.prompt_of(feasible.pinned)]
        self.block_high = self.block_high + np.bincount(
            owner, weights=held.cpu().numpy() * feasible.budget, minlength=len(self.block_high)
        )
        if self.cost is None:
            self.block_high = np.round(self.block_high)
        self.names = sorted(feasible.shares)
        self._without: dict[int, Tensor] = {}  # (pairs,) bool: pairs that a generator takes no part in
        of = None if feasible.generators is None else feasible.generators.cpu().numpy()
        self._of = of
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
        if not self.over or self.cost is not None:
            return np.zeros(len(self.over))
        from curation.design.sets.linear import least_mean

        memory = self.feasible.memory
        if "ahead" not in memory:
            memory["ahead"] = torch.tensor(
                [-least_mean(self.feasible, over) / 2 for over in self.feasible.over], dtype=torch.float64
            )
        return np.asarray(memory["ahead"].clamp_min(0.0).numpy())

    @property
    def over_room(self) -> np.ndarray:
        """What one more label may be over each limit on a mean."""
        return np.asarray(self.ahead * max(self.left - 1, 0.0) - self.used_over)

    @property
    def left(self) -> float:
        """Labels still to come, as far as their number is known."""
        return max(self.feasible.labels - self.labels, 0.0)

    @property
    def labels(self) -> int:
        """Labels counted so far."""
        return sum(self.copies.values())

    def touches(self, pairs: np.ndarray) -> np.ndarray:
        """(m, generators with a share) whether each takes part in a pair."""
        if not self.names or self._of is None:
            return np.zeros((len(pairs), 0), dtype=bool)
        first, second = self.geometry.endpoints(pairs)
        names = np.array(self.names)
        touched: np.ndarray = (self._of[first][:, None] == names) | (self._of[second][:, None] == names)
        return touched

    def cost_of(self, pairs: np.ndarray) -> np.ndarray:
        """(m,) what one label of each pair takes from the budget."""
        if self.cost is None:
            return np.ones(len(pairs))
        return np.asarray(self.cost[torch.as_tensor(pairs, device=self.cost.device)].cpu().numpy())

    def add(self, pair: int, count: int = 1) -> None:
        """Count a label of a pair, or take it back with count -1."""
        self.copies[pair] = self.copies.get(pair, 0) + count
        if not self.copies[pair]:
            del self.copies[pair]
        at = np.array([pair])
        x = int(self.geometry.prompt_of(at)[0])
        self.used_prompt[x] += count
        self.used_block[self.block[x]] += count * float(self.cost_of(at)[0])
        self.used_share += count * self.touches(at)[0]
        self.used_over += [count * over[pair] for over in self.over]

    def has_room(self, pairs: np.ndarray) -> np.ndarray:
        """(m,) whether one more label of each pair keeps every constraint. Excluded pairs have none."""
        pairs = np.asarray(pairs, dtype=np.int64)
        prompt = self.geometry.prompt_of(pairs)
        room = np.array([self.copies.get(p, 0) < self.limit - SLACK for p in pairs.tolist()], dtype=bool)
        room &= ~self.closed(pairs)
        room &= self.used_prompt[prompt] + 1 <= self.prompt_high[prompt] + SLACK
        block = self.block[prompt]
        room &= self.used_block[block] + self.cost_of(pairs) <= self.block_high[block] * (1 + 1e-12) + SLACK * 1e-3
        room &= ~(self.touches(pairs) & (self.used_share + 1 > self.share_high + SLACK)).any(1)
        for over, most in zip(self.over, self.over_room, strict=True):
            room &= over[pairs] <= most + SLACK
        return room

    def closed(self, pairs: np.ndarray) -> np.ndarray:
        """(m,) pinned or excluded."""
        blocked = self.feasible.blocked
        if blocked is None:
            return np.zeros(len(pairs), dtype=bool)
        return np.asarray(blocked[torch.as_tensor(pairs, device=blocked.device)].cpu().numpy())

    def open_pairs(self) -> Tensor:
        """(pairs,) bool: has_room of every pair, without a loop over pairs."""
        geometry = self.geometry
        room = torch.ones(geometry.pairs, dtype=torch.bool, device=geometry.device)
        if self.feasible.blocked is not None:
            room &= ~self.feasible.blocked
        full = [pair for pair, count in self.copies.items() if count >= self.limit - SLACK]
        room[torch.as_tensor(full, dtype=torch.int64, device=geometry.device)] = False
        by_prompt = self.used_prompt + 1 <= self.prompt_high + SLACK
        left = self.block_high * (1 + 1e-12) + SLACK * 1e-3 - self.used_block
        repeats = geometry.pair_counts_tensor
        if self.cost is None:
            by_prompt &= left[self.block] >= 1 - SLACK
        else:
            limit = torch.as_tensor(left[self.block], device=geometry.device)
            room &= self.cost <= limit.repeat_interleave(repeats)
        room &= torch.as_tensor(by_prompt, device=geometry.device).repeat_interleave(repeats)
        for at, g in enumerate(self.names):
            if self.used_share[at] + 1 > self.share_high[at] + SLACK and self.feasible.generators is not None:
                if g not in self._without:
                    self._without[g] = geometry.sums((self.feasible.generators == g).to(torch.float64)) == 0
                room &= self._without[g]
        for over, most in zip(self.feasible.over, self.over_room.tolist(), strict=True):
            room &= over <= most + SLACK
        return room

    def close(self, pair: int, room: Tensor) -> None:
        """Bring room (pairs,), as open_pairs gave it, up to date after one label of `pair` was added."""
        geometry = self.geometry
        x = int(geometry.prompt_of(np.array([pair]))[0])
        full = (
            self.cost is not None
            or bool(self.over)
            or self.used_block[self.block[x]] + 1 > self.block_high[self.block[x]] + SLACK
            or bool((self.touches(np.array([pair]))[0] & (self.used_share + 1 > self.share_high + SLACK)).any())
        )
        if full:
            room &= self.open_pairs()
            return
        if self.copies.get(pair, 0) >= self.limit - SLACK:
            room[pair] = False
        if self.used_prompt[x] + 1 > self.prompt_high[x] + SLACK:
            room[int(geometry.pair_offsets[x]) : int(geometry.pair_offsets[x + 1])] = False

    @property
    def too_far(self) -> float:
        """Labels times what the batch is over its limits on means, 0 where it keeps them."""
        return float(np.maximum(self.used_over - self.ahead * self.left, 0.0).max(initial=0.0))

    @property
    def worst_over(self) -> np.ndarray:
        """(pairs,) what each is over the limit on a mean that the batch exceeds the most."""
        return np.asarray(self.over[int(np.argmax(self.used_over - self.ahead * self.left))])

    def swaps(self, leaving: np.ndarray, entering: np.ndarray) -> np.ndarray:
        """(m, c) whether one label of leaving pair e may become one of entering pair f.

        A batch that is over a limit on a mean may only be brought nearer to it.
        """
        prompt_e, prompt_f = self.geometry.prompt_of(leaving), self.geometry.prompt_of(entering)
        fits = np.array([self.copies.get(p, 0) < self.limit - SLACK for p in entering.tolist()], dtype=bool)
        fits &= ~self.closed(entering)
        gives = self.used_prompt[prompt_e] - 1 >= self.prompt_low[prompt_e] - SLACK
        takes = self.used_prompt[prompt_f] + 1 <= self.prompt_high[prompt_f] + SLACK
        allowed: np.ndarray = gives[:, None] & takes[None, :]
        if not allowed.all():
            allowed |= prompt_e[:, None] == prompt_f[None, :]
        if self.cost is None:
            if len(self.block_high) > 1:
                allowed &= self.block[prompt_e][:, None] == self.block[prompt_f][None, :]
        else:
            left = (self.block_high * (1 + 1e-12) - self.used_block)[self.block[prompt_f]]
            back = np.where(
                self.block[prompt_e][:, None] == self.block[prompt_f][None, :], self.cost_of(leaving)[:, None], 0.0
            )
            allowed &= self.cost_of(entering)[None, :] <= left[None, :] + back
        touch_e, touch_f = self.touches(leaving), self.touches(entering)
        for at in range(len(self.names)):
            if self.used_share[at] + 1 > self.share_high[at] + SLACK:
                allowed &= ~(touch_f[:, at][None, :] & ~touch_e[:, at][:, None])
        for over, used, most in zip(self.over, self.used_over, self.ahead * self.left, strict=True):
            change = over[entering][None, :] - over[leaving][:, None]
            allowed &= (used + change <= most + SLACK) | ((used > most + SLACK) & (change < 0))
        allowed &= ~self.closed(leaving)[:, None]
        allowed &= fits[None, :]
        return allowed
