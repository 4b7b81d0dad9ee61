"""The best pairs of a feasible set whose only sums are prompts and strata: greedy, which is exact there.

worth: (pairs,) everywhere, per unit of spend, -inf for pairs that may not be chosen. Source: docs/method.md section 4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from curation.design.sets.feasible import Feasible


def best_of_strata(feasible: Feasible, worth: Tensor) -> tuple[Tensor, Tensor]:
    """The best pairs of each stratum, at their bound, until its amount is spent: pair numbers and weights (m,)."""
    if len(feasible.block_totals) == 1:
        return _best_of(feasible, worth, None, float(feasible.block_totals[0]))
    parts = []
    owner = feasible.block.repeat_interleave(feasible.geometry.pair_counts_tensor)
    for b, total in enumerate(feasible.block_totals.tolist()):
        if total > 0:
            parts.append(_best_of(feasible, worth, (owner == b).nonzero().squeeze(1), total))
    return torch.cat([pairs for pairs, _ in parts]), torch.cat([amounts for _, amounts in parts])


def _best_of(feasible: Feasible, worth: Tensor, among: Tensor | None, total: float) -> tuple[Tensor, Tensor]:
    inside = worth if among is None else worth[among]
    if math.isinf(feasible.upper):
        best = inside.argmax().reshape(1)
        pair = best if among is None else among[best]
        return pair, feasible.per_spend(torch.full((1,), total, dtype=torch.float64, device=worth.device), pair)
    if feasible.counted:  # as many as the amount takes: no need to sort the rest
        count = min(max(math.ceil(total / feasible.upper - 1e-9), 1), len(inside))
        order = inside.topk(count).indices
        pairs = order if among is None else among[order]
        amounts = torch.full((count,), feasible.upper, dtype=torch.float64, device=worth.device)
        amounts[-1] = total - feasible.upper * (count - 1)
        return pairs, amounts
    order = inside.argsort(descending=True)
    pairs = order if among is None else among[order]
    spent = _in_turn(feasible.upper * feasible.cost[pairs], total)
    chosen = (spent > 0) & torch.isfinite(worth[pairs])
    return pairs[chosen], feasible.per_spend(spent[chosen], pairs[chosen])


def _in_turn(most: Tensor, total: Tensor | float) -> Tensor:
    """What each takes of a total, first come first served along the last axis, most at most."""
    return torch.minimum(most, (total - (most.cumsum(-1) - most)).clamp_min(0.0))


def best_of_prompts(feasible: Feasible, worth: Tensor) -> tuple[Tensor, Tensor]:
    """The best pairs of each prompt up to its total: pair numbers and spend (m,)."""
    pairs, spent = [], []
    whole = feasible.remaining
    for bucket, part in feasible.geometry.parts():
        block = feasible.geometry.gather(bucket, part, worth, fill=-math.inf)
        totals = feasible.totals[torch.as_tensor(bucket.prompts[part], device=worth.device)].clamp_max(whole)
        depth = 1
        if math.isfinite(feasible.upper):
            most_labels = min(float(totals.max()) / feasible.upper, block.shape[1])
            depth = math.ceil(most_labels - 1e-9) if feasible.counted else block.shape[1]
        best, number = feasible.geometry.best_pairs(bucket, part, block, min(max(depth, 1), block.shape[1]))
        amount = totals[:, None].expand_as(best)
        if math.isfinite(feasible.upper):
            amount = _in_turn(feasible.upper * feasible.cost[number], amount)
        amount = amount.masked_fill(torch.isinf(best), 0.0)
        chosen = amount > 0
        pairs.append(number[chosen])
        spent.append(amount[chosen])
    return torch.cat(pairs), torch.cat(spent)


def within_strata(feasible: Feasible, worth: Tensor, pairs: Tensor, spent: Tensor) -> tuple[Tensor, Tensor]:
    """Of pairs (m,) that would spend so much (m,), the best until each stratum's amount is spent; both again."""
    order = worth[pairs].argsort(descending=True)
    pairs, spent = pairs[order], spent[order]
    owner = feasible.block[torch.as_tensor(feasible.geometry.prompt_of(pairs), device=pairs.device)]
    kept = torch.zeros_like(spent)
    for b, total in enumerate(feasible.block_totals.tolist()):
        inside = owner == b
        kept[inside] = _in_turn(spent[inside], total)
    return pairs[kept > 0], kept[kept > 0]
