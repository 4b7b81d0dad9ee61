"""The simple rules every design must stand beside, drawn under the same constraints (METHOD.md section 8)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from curation.design.criterion import Criterion
from curation.design.feasible import Feasible, water_fill
from curation.design.sampling import Batch, sample

DRAWS = 8  # batches drawn of each random rule; their mean f is reported
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
            if feasible.budget * feasible.geometry.pairs > GREEDY_LIMIT:
                results[name] = Baseline(
                    name, None, 0, "left out: labels times pairs is too large for one-by-one picks"
                )
                continue
            batch = sequential(criterion, feasible, determinant=name == "d_optimal", seed=seed)
            results[name] = Baseline(name, realised(criterion, feasible, batch), 1, "picked one by one")
            continue
        weights = rule_weights(name, criterion, feasible, probabilities)
        values = [realised(criterion, feasible, sample(feasible, weights, seed=seed + k)) for k in range(DRAWS)]
        results[name] = Baseline(name, float(np.mean(values)), DRAWS, f"mean of {DRAWS} draws")
    return results


def realised(criterion: Criterion, feasible: Feasible, batch: Batch) -> float:
    """f of a drawn batch: every label counts 1 / n, n the planned budget."""
    return criterion.value(batch_information(feasible, batch))


def batch_information(feasible: Feasible, batch: Batch) -> Tensor:
    """Sigma of a drawn batch, copies / n on each pair. Returns (d, d)."""
    device = feasible.geometry.device
    weights = torch.as_tensor(batch.copies / feasible.budget, dtype=torch.float64, device=device)
    return feasible.geometry.information_of(torch.as_tensor(batch.pairs, device=device), weights)


def _even(feasible: Feasible) -> Feasible:
    """The same bounds with prompt totals fixed: what rules that pick inside a prompt use. Prompts by their weight."""
    if feasible.spread == "balanced":
        return feasible
    geometry, n = feasible.geometry, feasible.budget
    counts = geometry.pair_counts.astype(float)
    if feasible.blocked is not None:
        blocked = feasible.blocked.nonzero().squeeze(1)
        counts -= np.bincount(geometry.prompt_of(blocked), minlength=geometry.prompts)
    with np.errstate(invalid="ignore"):
        capacity = np.where(counts > 0, counts * feasible.upper * n, 0.0)
    high = np.minimum(capacity, feasible.totals.cpu().numpy() * n)
    labels = water_fill(geometry.prompt_weights, np.zeros(geometry.prompts), high, feasible.remaining * n)
    return replace(feasible, spread="balanced", totals=torch.as_tensor(labels / n, device=geometry.device))


def rule_weights(name: str, criterion: Criterion, feasible: Feasible, probabilities: np.ndarray) -> Tensor:
    """Design measure (pairs,) of a rule that has one."""
    geometry = feasible.geometry
    if name == "uniform":
        return feasible.uniform()
    even = _even(feasible)
    if name == "reference_weighted":
        p = torch.as_tensor(probabilities, dtype=torch.float64, device=geometry.device)
        return _proportional(even, geometry.product(p))
    if name == "first_pair":
        values = -torch.arange(geometry.pairs, dtype=torch.float64, device=geometry.device)
    elif name == "farthest":
        values = geometry.quadratic(torch.eye(geometry.dim, dtype=torch.float64, device=geometry.device))
    elif name == "farthest_fisher":
        values = geometry.quadratic(criterion.root)
    else:
        raise ValueError(name)
    pairs, amounts, _ = even.maximise(values)
    return feasible.pinned_weights().index_add(0, pairs, amounts)


def _proportional(even: Feasible, rates: Tensor) -> Tensor:
    """Weights proportional to rates inside each prompt's total, clipped at the bound."""
    geometry = even.geometry
    if even.blocked is not None:
        rates = rates.masked_fill(even.blocked, 0.0)
    rates = rates.clamp_min(1e-12 * float(rates.max()))  # every pair stays possible, so that totals can be met
    if even.blocked is not None:
        rates = rates.masked_fill(even.blocked, 0.0)
    owner = torch.arange(geometry.prompts, device=rates.device).repeat_interleave(
        torch.as_tensor(geometry.pair_counts, device=rates.device)
    )
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


def sequential(criterion: Criterion, feasible: Feasible, *, determinant: bool, seed: int = 0) -> Batch:
    """n picks, each the best next label, with rank-one updates and no (pairs, d) array.

    The trace rule lowers f the most per pick, (q/n) / (1 + l/n) (forward BAIT); the determinant rule takes the
    largest leverage l. At most r labels of a pair; prompt totals: the caps, or where they are fixed (balanced) whole
    numbers drawn around them, so that the rule is held to what the design is held to.
    """
    geometry, n = feasible.geometry, feasible.budget
    limit = feasible.upper * n
    caps = np.ceil(feasible.prompt_labels - 1e-9)
    if feasible.spread == "balanced":
        drawn = sample(feasible, feasible.uniform(), seed=seed)
        caps = np.bincount(geometry.prompt_of(drawn.pairs), weights=drawn.copies, minlength=geometry.prompts)
    copies: dict[int, int] = {}
    used = np.zeros(geometry.prompts, dtype=np.int64)
    information = feasible.geometry.information(feasible.pinned_weights())
    for pair in feasible.pinned.tolist():
        copies[pair] = round(limit)
        used[int(geometry.prompt_of(np.array([pair]))[0])] += round(limit)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(information + criterion.prior))
    q = geometry.quadratic(inverse @ criterion.root)
    leverage = geometry.quadratic(torch.linalg.cholesky(inverse))
    closed = torch.zeros(geometry.pairs, dtype=torch.bool, device=q.device)
    if feasible.blocked is not None:
        closed |= feasible.blocked
    full = torch.as_tensor(used >= caps, device=q.device)
    closed |= full.repeat_interleave(torch.as_tensor(geometry.pair_counts, device=q.device))
    for _ in range(n - sum(copies.values())):
        gain = leverage if determinant else q / (n + leverage)
        best = int(gain.masked_fill(closed, -math.inf).argmax())
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
        prompt = int(geometry.prompt_of(np.array([best]))[0])
        copies[best] = copies.get(best, 0) + 1
        used[prompt] += 1
        if copies[best] >= limit:
            closed[best] = True
        if used[prompt] >= caps[prompt]:
            closed[int(geometry.pair_offsets[prompt]) : int(geometry.pair_offsets[prompt + 1])] = True
    pairs = np.array(sorted(copies), dtype=np.int64)
    return Batch(pairs, np.array([copies[p] for p in pairs.tolist()], dtype=np.int64), None)
