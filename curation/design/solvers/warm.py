"""A start from the design of a slightly different problem: budget, ridge, pins or exclusions changed.

Source: docs/method.md section 7.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise
from curation.design.solvers.master import pivots

ROUNDS = 40  # of scaling and clipping; what is then missing is filled with the best pairs


def adapted(criterion: Criterion, feasible: Feasible, weights: Tensor) -> Tensor | None:
    """Weights (pairs,) of an earlier design made feasible, or None where the sums overlap or it cannot be done.

    What may no longer be chosen goes, each sum is scaled to its new amount within the bounds, and what is then missing
    goes to the best pairs by their sensitivity.
    """
    if not pivots(feasible) or weights.shape != (feasible.geometry.pairs,):
        return None
    kept = weights.clamp(0.0, feasible.upper).masked_fill(feasible.blocked, 0.0)
    support = kept.nonzero().squeeze(1)
    if not len(support) or feasible.remaining <= 0:
        return None
    prompt = torch.as_tensor(feasible.geometry.prompt_of(support), device=kept.device)
    w = _scaled(feasible, kept[support], support, prompt)
    zeros = torch.zeros(feasible.geometry.prompts, dtype=torch.float64, device=w.device)
    by_prompt = zeros.index_add(0, prompt, feasible.spend(w, support))
    by_block = torch.zeros_like(feasible.block_totals).index_add_(0, feasible.block, by_prompt)
    full = torch.zeros_like(kept)
    full[support] = w
    missing = (feasible.block_totals - by_block).clamp_min(0.0)
    if float(missing.sum()) > 1e-12:
        totals = (feasible.totals - by_prompt).clamp_min(0.0)
        rest = replace(feasible, totals=totals, block_totals=missing, blocked=feasible.blocked | (full > 0))
        here = feasible.geometry.information(full + feasible.pinned_weights())
        pairs, amounts, _ = maximise(rest, feasible.geometry.quadratic(criterion.at(here).root))
        full.index_add_(0, pairs, amounts)
        spent = feasible.spend(amounts, pairs)
        if abs(float(spent.sum()) - float(missing.sum())) > 1e-9:
            return None
    return full + feasible.pinned_weights()


def _scaled(feasible: Feasible, w: Tensor, support: Tensor, prompt: Tensor) -> Tensor:
    """Weights (m,) scaled group by group to the amounts asked, never above a bound, a cap or a total."""
    sums, wanted = feasible.spread.fixed(feasible)
    group, caps = sums[prompt], feasible.spread.caps(feasible)
    for _ in range(ROUNDS):
        spent = torch.zeros_like(wanted).index_add_(0, group, feasible.spend(w, support))
        factor = torch.where(spent > 0, wanted / spent.clamp_min(1e-300), torch.ones_like(spent))
        if bool(((factor - 1).abs() < 1e-14).all()):
            break
        w = (w * factor[group]).clamp_max(feasible.upper)
        if caps is not None:
            used = torch.zeros_like(caps).index_add_(0, prompt, w)
            shrink = torch.where(used > caps, caps / used.clamp_min(1e-300), torch.ones_like(used))
            w = w * shrink[prompt]
    return w
