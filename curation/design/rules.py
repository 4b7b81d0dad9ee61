"""The simple rules every design must stand beside, drawn under the same constraints (docs/method.md section 8)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.selection.sampling import Batch, sample
from curation.design.selection.tally import Tally
from curation.design.sets.allotment import water_fill
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise
from curation.design.sets.uniform import uniform_design

DRAWS = 8  # batches drawn of each random rule; their mean f is reported
DRAWS_BY_WALK = (
    2  # the same under generator shares, where a draw from thousands of pairs takes a large part of a second
)
GREEDY_LIMIT = 500_000_000  # labels times pairs above which the sequential rules are left out
NAMES = ("uniform", "first_pair", "farthest", "farthest_fisher", "reference_weighted", "d_optimal", "greedy")


@dataclass(frozen=True)
class Baseline:
    """A rule's realised f: mean over `draws` batches, or None with the reason it was left out."""

    name: str
    realised: float | None
    draws: int
    note: str


def baselines(criterion: Criterion, feasible: Feasible, probabilities: np.ndarray, *, seed: int) -> dict[str, Baseline]:
    """Realised f of every rule. probabilities: (N,) the reference policy's, within prompt."""
    results = {}
    for name in NAMES:
        if name in ("d_optimal", "greedy"):
            if feasible.labels * feasible.geometry.pairs > GREEDY_LIMIT:
                results[name] = Baseline(
                    name, None, 0, "left out: labels times pairs is too large for one-by-one picks"
                )
                continue
            batch = sequential(criterion, feasible, determinant=name == "d_optimal", seed=seed)
            results[name] = Baseline(name, realised(criterion, feasible, batch), 1, "picked one by one")
            continue
        weights = rule_weights(name, criterion, feasible, probabilities)
        draws = DRAWS_BY_WALK if feasible.shares else DRAWS
        values = [realised(criterion, feasible, sample(feasible, weights, seed=seed + k)) for k in range(draws)]
        results[name] = Baseline(name, float(np.mean(values)), draws, f"mean of {draws} draws")
    return results


def realised(criterion: Criterion, feasible: Feasible, batch: Batch) -> float:
    """f of a drawn batch: every label counts 1 / n, n the planned budget."""
    return criterion.value(batch_information(feasible, batch))


def batch_information(feasible: Feasible, batch: Batch) -> Tensor:
    """Sigma of a drawn batch, copies / n on each pair. Returns (d, d)."""
    device = feasible.geometry.device
    weights = torch.as_tensor(batch.copies / feasible.labels, dtype=torch.float64, device=device)
    return feasible.geometry.information_of(torch.as_tensor(batch.pairs, device=device), weights)


def _even(feasible: Feasible) -> Feasible:
    """The same bounds with prompt totals fixed: what rules that pick inside a prompt use. Prompts by their weight.

    Where sums overlap such totals may not exist; the rules then choose over the whole set.
    """
    if feasible.spread == "balanced" or not feasible.laminar:
        return feasible
    geometry = feasible.geometry
    ones = torch.ones(geometry.pairs, dtype=torch.float64, device=geometry.device)
    price = feasible.spend(ones)
    if feasible.blocked is not None:
        price = price.masked_fill(feasible.blocked, 0.0)
    owner = torch.arange(geometry.prompts, device=geometry.device).repeat_interleave(geometry.pair_counts_tensor)
    supply = torch.zeros(geometry.prompts, dtype=torch.float64, device=geometry.device).index_add_(0, owner, price)
    capacity = torch.where(supply > 0, supply * feasible.upper, torch.zeros_like(supply))
    high = torch.minimum(capacity, feasible.totals).cpu().numpy()
    totals, block = np.zeros(geometry.prompts), feasible.block.cpu().numpy()
    for b, total in enumerate(feasible.block_totals.tolist()):
        inside = np.flatnonzero(block == b)
        if total > 0:
            weights = geometry.prompt_weights[inside]
            totals[inside] = water_fill(weights, np.zeros(len(inside)), high[inside], total)
    return replace(feasible, spread="balanced", totals=torch.as_tensor(totals, device=geometry.device), memory={})


def rule_weights(name: str, criterion: Criterion, feasible: Feasible, probabilities: np.ndarray) -> Tensor:
    """Design measure (pairs,) of a rule that has one."""
    geometry = feasible.geometry
    if name == "uniform":
        return uniform_design(feasible)
    even = _even(feasible)
    if name == "reference_weighted":
        p = torch.as_tensor(probabilities, dtype=torch.float64, device=geometry.device)
        return _proportional(even, geometry.product(p))
    if name == "first_pair":
        values = -torch.arange(geometry.pairs, dtype=torch.float64, device=geometry.device)
    elif name == "farthest":
        values = geometry.plain.quadratic(torch.eye(geometry.dim, dtype=torch.float64, device=geometry.device))
    elif name == "farthest_fisher":
        values = geometry.plain.quadratic(criterion.root)
    else:
        raise ValueError(name)
    return choose_inside(even, values)


def choose_inside(feasible: Feasible, values: Tensor) -> Tensor:
    """Design measure (pairs,) that takes the pairs of largest value (pairs,) inside prompts of even totals."""
    pairs, amounts, _ = maximise(_even(feasible), values)
    return feasible.pinned_weights().index_add(0, pairs, amounts)


def _proportional(even: Feasible, rates: Tensor) -> Tensor:
    """Weights proportional to rates inside each prompt's total, clipped at the bound."""
    geometry = even.geometry
    if even.blocked is not None:
        rates = rates.masked_fill(even.blocked, 0.0)
    rates = rates.clamp_min(1e-12 * float(rates.max()))  # every pair stays possible, so that totals can be met
    if even.blocked is not None:
        rates = rates.masked_fill(even.blocked, 0.0)
    if not even.laminar or even.price is not None:
        from curation.design.sets.linear import nearest

        return nearest(even, rates * (even.remaining / float(even.spend(rates).sum())))
    owner = torch.arange(geometry.prompts, device=rates.device).repeat_interleave(geometry.pair_counts_tensor)
    sums = torch.zeros(geometry.prompts, dtype=torch.float64, device=rates.device).index_add_(0, owner, rates)
    weights = rates * (even.totals / sums.clamp_min(1e-300))[owner]
    if math.isfinite(even.upper):
        crowded = torch.unique(owner[weights > even.upper]).tolist()
        for x in crowded:
            span = slice(int(geometry.pair_offsets[x]), int(geometry.pair_offsets[x + 1]))
            local = rates[span].cpu().numpy()
            high = np.where(local > 0, even.upper, 0.0)
            filled = water_fill(local, np.zeros_like(local), high, float(even.totals[x]))
            weights[span] = torch.as_tensor(filled, device=rates.device)
    return weights + even.pinned_weights()


def sequential(
    criterion: Criterion, feasible: Feasible, *, determinant: bool, seed: int = 0, labels: int | None = None
) -> Batch:
    """Labels picked one by one, each the best next one, with rank-one updates and no (pairs, d) array.

    The trace rule lowers f the most per unit of the budget, (q/n) / (1 + l/n) (forward BAIT); the determinant rule
    takes the largest leverage l. Every constraint is kept; prompt totals that are fixed (balanced) are whole numbers
    drawn around them, so that the rule is held to what the design is held to. labels: picks to make (default: the
    budget); where the constraints leave no room earlier, the batch is smaller.
    """
    geometry, n = feasible.geometry, feasible.labels
    weights = uniform_design(feasible)
    tally = Tally(feasible, weights)
    if feasible.spread == "balanced" and feasible.price is None:
        drawn = sample(feasible, weights, seed=seed)
        tally.prompt_high = np.bincount(
            geometry.prompt_of(drawn.pairs), weights=drawn.copies, minlength=geometry.prompts
        ).astype(float)
    if labels is not None:
        tally.block_high = tally.block_high * (labels / n)
    information = geometry.information(feasible.pinned_weights())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(information + criterion.prior))
    q = geometry.quadratic(inverse @ criterion.root)
    leverage = geometry.quadratic(torch.linalg.cholesky(inverse))
    room = tally.open_pairs()
    while feasible.price is not None or tally.labels < (labels or round(n)):
        gain = leverage if determinant else q / (n + leverage)
        if tally.cost is not None:
            gain = gain / tally.cost
        best = int(gain.masked_fill(~room, -math.inf).argmax())
        if not bool(room[best]):
            break
        z = geometry.vectors(np.array([best]))[0]
        s = inverse @ z
        t = inverse @ (criterion.fisher @ s)
        lever, price = float(z @ s), float(z @ t)
        a = geometry.linear(s)
        if not determinant:
            b = geometry.linear(t)
            q = q - 2 * a * b / (n + lever) + a.square() * (price / (n + lever) ** 2)
        leverage = leverage - a.square() / (n + lever)
        inverse = inverse - torch.outer(s, s) / (n + lever)
        tally.add(best)
        tally.close(best, room)
    pairs = np.array(sorted(tally.copies), dtype=np.int64)
    return Batch(pairs, np.array([tally.copies[p] for p in pairs.tolist()], dtype=np.int64), None)


def forward_backward(criterion: Criterion, feasible: Feasible) -> Batch:
    """BAIT's scheme (Ash, Goel, Krishnamurthy and Kakade 2021): twice the labels forward, then the cheapest dropped.

    Only the bound r is kept, as in a free spread; for comparison.
    """
    n = round(feasible.labels)
    most = min(2 * n, int(feasible.geometry.pairs * feasible.upper * n))
    batch = sequential(criterion, feasible, determinant=False, labels=most)
    pairs = np.repeat(batch.pairs, batch.copies)
    V = feasible.geometry.vectors(pairs)
    information = V.T @ V / n
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(information + criterion.prior))
    kept = torch.ones(len(pairs), dtype=torch.bool, device=V.device)
    B = inverse @ criterion.fisher @ inverse
    for _ in range(len(pairs) - n):
        lever, price = ((V @ inverse) * V).sum(1), ((V @ B) * V).sum(1)
        rise = (price / (n - lever)).masked_fill(~kept, math.inf)
        worst = int(rise.argmin())
        s, t = inverse @ V[worst], B @ V[worst]
        scale = n - float(lever[worst])
        B = B + (torch.outer(s, t) + torch.outer(t, s)) / scale + float(price[worst]) / scale**2 * torch.outer(s, s)
        inverse = inverse + torch.outer(s, s) / scale
        kept[worst] = False
    left, copies = np.unique(pairs[kept.cpu().numpy()], return_counts=True)
    return Batch(left, copies.astype(np.int64), None)
