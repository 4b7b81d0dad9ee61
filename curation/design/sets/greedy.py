"""The best pairs of a feasible set whose only sums are prompts and strata: greedy, which is exact there.

Source: docs/method.md section 4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from curation.design.sets.feasible import Feasible


def greedy(feasible: Feasible, values: Tensor) -> tuple[Tensor, Tensor]:
    """Pair numbers (m,) and weights (m,) of the largest <v, values>; values: (pairs,), of a laminar set."""
    worth = values if feasible.price is None else values / feasible.price
    if feasible.blocked is not None:
        worth = worth.masked_fill(feasible.blocked, -math.inf)
    return _top(feasible, worth) if feasible.spread == "free" else _top_by_prompt(feasible, worth)


def _top(feasible: Feasible, worth: Tensor) -> tuple[Tensor, Tensor]:
    """The best pairs of each stratum, at their bound, until its amount is spent."""
    if len(feasible.block_totals) == 1:
        return _top_of(feasible, worth, None, float(feasible.block_totals[0]))
    parts = []
    owner = feasible.block.repeat_interleave(feasible.geometry.pair_counts_tensor)
    for b, total in enumerate(feasible.block_totals.tolist()):
        if total > 0:
            parts.append(_top_of(feasible, worth, (owner == b).nonzero().squeeze(1), total))
    return torch.cat([pairs for pairs, _ in parts]), torch.cat([amounts for _, amounts in parts])


def _top_of(feasible: Feasible, worth: Tensor, among: Tensor | None, total: float) -> tuple[Tensor, Tensor]:
    inside = worth if among is None else worth[among]
    if math.isinf(feasible.upper):
        best = inside.argmax().reshape(1)
        pair = best if among is None else among[best]
        return pair, _weights_of(feasible, torch.full((1,), total, dtype=torch.float64, device=worth.device), pair)
    if feasible.price is None:
        count = min(max(math.ceil(total / feasible.upper - 1e-9), 1), len(inside))
        order = inside.topk(count).indices
        pairs = order if among is None else among[order]
        amounts = torch.full((count,), feasible.upper, dtype=torch.float64, device=worth.device)
        amounts[-1] = total - feasible.upper * (count - 1)
        return pairs, amounts
    order = inside.argsort(descending=True)
    pairs = order if among is None else among[order]
    most = feasible.upper * feasible.price[pairs]
    spent = torch.minimum(most, (total - (most.cumsum(0) - most)).clamp_min(0.0))
    chosen = (spent > 0) & torch.isfinite(worth[pairs])
    return pairs[chosen], _weights_of(feasible, spent[chosen], pairs[chosen])


def _weights_of(feasible: Feasible, spent: Tensor, pairs: Tensor) -> Tensor:
    return spent if feasible.price is None else spent / feasible.price[pairs]


def _top_by_prompt(feasible: Feasible, worth: Tensor) -> tuple[Tensor, Tensor]:
    """The best pairs of each prompt up to its total; `capped` then takes the best of those in each stratum."""
    pairs, spent = [], []
    whole = feasible.remaining
    for bucket, part in feasible.geometry.parts():
        block = feasible.geometry.gather(bucket, part, worth, fill=-math.inf)
        totals = feasible.totals[torch.as_tensor(bucket.prompts[part], device=worth.device)].clamp_max(whole)
        depth = 1
        if math.isfinite(feasible.upper):
            most_labels = min(float(totals.max()) / feasible.upper, block.shape[1])
            depth = math.ceil(most_labels - 1e-9) if feasible.price is None else block.shape[1]
        best, number = feasible.geometry.best_pairs(bucket, part, block, min(max(depth, 1), block.shape[1]))
        amount = totals[:, None].expand_as(best)
        if math.isfinite(feasible.upper):
            most = (
                torch.full_like(best, feasible.upper)
                if feasible.price is None
                else feasible.upper * feasible.price[number]
            )
            amount = torch.minimum(most, (amount - (most.cumsum(1) - most)).clamp_min(0.0))
        amount = amount.masked_fill(torch.isinf(best), 0.0)
        chosen = amount > 0
        pairs.append(number[chosen])
        spent.append(amount[chosen])
    pair, amount = torch.cat(pairs), torch.cat(spent)
    if feasible.spread == "capped":
        order = worth[pair].argsort(descending=True)
        pair, amount = pair[order], amount[order]
        owner = feasible.block[torch.as_tensor(feasible.geometry.prompt_of(pair), device=pair.device)]
        kept = torch.zeros_like(amount)
        for b, total in enumerate(feasible.block_totals.tolist()):
            inside = owner == b
            here = amount[inside]
            kept[inside] = torch.minimum(here, (total - (here.cumsum(0) - here)).clamp_min(0.0))
        pair, amount = pair[kept > 0], kept[kept > 0]
    return pair, _weights_of(feasible, amount, pair)
