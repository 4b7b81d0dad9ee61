"""Column generation with a Newton master: the default solver (METHOD.md section 7).

1. One structured pass prices every pair; the certificate is read off; the most violated pairs enter.
2. The master re-optimises the weights of the active pairs, the rest held, by Newton steps on a quadratic program
   with bounds and group sums.
3. Stop on the certificate, which is then recomputed by a separate pass.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from curation.design.certificate import Certificate, certify, lower_bound
from curation.design.criterion import Criterion
from curation.design.feasible import Feasible
from curation.design.frank_wolfe import corrective_start
from curation.design.master import Master
from curation.design.result import Design, Progress, Step

PER_PROMPT = 3  # pairs of one prompt that may enter at once
MAX_COLUMNS = 4000  # columns of one master


def newton(
    criterion: Criterion,
    feasible: Feasible,
    *,
    tol: float = 1e-4,
    max_passes: int = 200,
    max_seconds: float = 600.0,
    progress: Progress | None = None,
) -> Design:
    """Solve the design to gap and open <= tol. `stopped` says so when something else ended it."""
    started = time.perf_counter()
    geometry = feasible.geometry
    uniform = criterion.value(geometry.information(feasible.uniform()))
    weights, passes = _start(criterion, feasible)
    best, trace, stopped = 0.0, [], "passes"
    best_weights, best_value = weights, math.inf
    stalled = 0
    while passes < max_passes:
        information = geometry.information(weights)
        point = criterion.at(information)
        values = geometry.quadratic(point.root)
        passes += 1
        pairs, _, reach = feasible.maximise(values)
        excess = reach + feasible.pinned_value(values) - float(values @ weights)
        best = max(best, lower_bound(point.value, excess))
        if point.value < best_value * (1 - 1e-13):
            best_value, best_weights, stalled = point.value, weights.clone(), 0
        else:
            stalled += 1
        now = Certificate(best_value, min(best, best_value), uniform)
        trace.append(Step(passes, time.perf_counter() - started, best_value, now.gap, now.open, 0))
        if progress is not None:
            progress(trace[-1])
        if now.holds(tol):
            stopped = "certificate"
            break
        if time.perf_counter() - started > max_seconds:
            stopped = "time"
            break
        if stalled >= 3:
            stopped = "no further progress in double precision"
            break
        active = _choose_columns(feasible, weights, values, pairs)
        master = Master(criterion, feasible, weights, information, active)
        target = 0.02 * min(max(point.value - best, 0.0), excess)
        weights = master.improve(target)
        trace[-1] = Step(passes, trace[-1].seconds, best_value, now.gap, now.open, len(active))
    final = certify(criterion, feasible, best_weights)
    final = Certificate(final.objective, min(max(final.lower_bound, best), final.objective), final.uniform)
    return Design(best_weights, final, passes + 1, "newton", stopped, tuple(trace))


def _start(criterion: Criterion, feasible: Feasible) -> tuple[Tensor, int]:
    """A feasible start on few pairs: for the simplex many pairs of large q alike, else corrective Frank-Wolfe."""
    geometry = feasible.geometry
    if not (math.isinf(feasible.upper) and feasible.spread == "free"):
        return corrective_start(criterion, feasible, vertices=4 if feasible.per_prompt else 9)
    values = geometry.quadratic(criterion.at(geometry.information(feasible.uniform())).root)
    if feasible.blocked is not None:
        values = values.masked_fill(feasible.blocked, -math.inf)
    available = geometry.pairs - (0 if feasible.blocked is None else int(feasible.blocked.sum()))
    pairs = values.topk(min(3 * geometry.dim, available)).indices
    weights = torch.zeros(geometry.pairs, dtype=torch.float64, device=geometry.device)
    weights[pairs] = 1.0 / len(pairs)
    return weights, 1


def prices(feasible: Feasible, weights: Tensor, values: Tensor) -> tuple[Tensor, float]:
    """Threshold of each prompt, (P,), and of the whole: the q at which a pair is worth a label of this design.

    It is the sum of the multipliers of the pair's groups (prompt total, budget). Estimated from the pairs chosen in
    part; where a prompt has none, from the worst pair it takes whole. Exact at the optimum up to its freedom.
    """
    geometry = feasible.geometry
    free = weights > 0
    if feasible.blocked is not None:
        free &= ~feasible.blocked
    support = free.nonzero().squeeze(1)
    q, w = values[support], weights[support]
    prompt = torch.as_tensor(geometry.prompt_of(support), device=values.device)
    partial = torch.ones_like(q, dtype=torch.bool)
    if math.isfinite(feasible.upper):
        partial = w < feasible.upper * (1 - 1e-9)
    size = geometry.prompts
    zeros = torch.zeros(size, dtype=torch.float64, device=values.device)
    mass = zeros.index_add(0, prompt[partial], w[partial])
    mean = zeros.index_add(0, prompt[partial], w[partial] * q[partial]) / mass.clamp_min(1e-300)
    worst = torch.full_like(zeros, math.inf).scatter_reduce(0, prompt, q, "amin")
    used = zeros.index_add(0, prompt, w)
    by_prompt = torch.where(mass > 0, mean, worst)
    if feasible.spread == "balanced":
        return torch.where(torch.isinf(by_prompt), torch.full_like(by_prompt, math.inf), by_prompt), 0.0
    slack = used < feasible.totals * (1 - 1e-9) if feasible.per_prompt else torch.ones_like(used, dtype=torch.bool)
    open_partial = partial & slack[prompt]
    if bool(open_partial.any()):
        overall = float((w[open_partial] @ q[open_partial]) / w[open_partial].sum())
    else:  # no prompt with room holds a pair in part: what the least of the chosen pairs is worth
        overall = float(q.min()) if len(q) else math.inf
    whole = torch.full_like(by_prompt, overall)
    return torch.where(slack, whole, torch.maximum(by_prompt, whole)), overall


def _choose_columns(feasible: Feasible, weights: Tensor, values: Tensor, vertex: Tensor) -> Tensor:
    """Pair numbers of the next master: chosen in part, whole but near their threshold, and the most violated."""
    geometry = feasible.geometry
    threshold, _ = prices(feasible, weights, values)
    repeats = torch.as_tensor(geometry.pair_counts, device=values.device)
    violation = values - threshold.repeat_interleave(repeats)
    at_bound = weights >= feasible.upper * (1 - 1e-9)
    inside = (weights > 0) & ~at_bound
    if feasible.blocked is not None:
        inside &= ~feasible.blocked
        at_bound |= feasible.blocked
        violation = violation.masked_fill(feasible.blocked, -math.inf)
    margin = 0.02 * float(values[inside].mean()) if bool(inside.any()) else 0.0
    leaving = at_bound & (violation < margin) & torch.isfinite(violation) if math.isfinite(feasible.upper) else None
    inside_pairs = inside.nonzero().squeeze(1)
    entering = _most_violated(feasible, violation.masked_fill(weights > 0, -math.inf))
    vertex = vertex[weights[vertex] <= 0]
    vertex = vertex[violation[vertex].argsort(descending=True)]
    parts = [inside_pairs, entering, vertex[: max(300, MAX_COLUMNS // 4)]]
    if leaving is not None:
        pairs = leaving.nonzero().squeeze(1)
        parts.append(pairs[violation[pairs].argsort()][: MAX_COLUMNS // 2])
    return torch.cat(parts).unique()


def _most_violated(feasible: Feasible, violation: Tensor) -> Tensor:
    """The best few pairs above the threshold of each prompt, then the best of those overall."""
    geometry = feasible.geometry
    limit = max(300, 2 * geometry.dim, min(geometry.prompts, MAX_COLUMNS // 4))
    numbers, amounts = [], []
    for bucket, part in geometry.parts():
        block = geometry.gather(bucket, part, violation, fill=-math.inf)
        best, number = geometry.best_pairs(bucket, part, block, PER_PROMPT)
        wanted = best > 0
        numbers.append(number[wanted])
        amounts.append(best[wanted])
    number, amount = torch.cat(numbers), torch.cat(amounts)
    if len(number) > limit:
        number = number[amount.topk(limit).indices]
    return number
