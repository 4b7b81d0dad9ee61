"""Column generation with a Newton master: the default solver (docs/method.md section 7).

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
from curation.design.criteria.base import Criterion
from curation.design.result import Design, Progress, Step
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise
from curation.design.sets.multipliers import Multipliers
from curation.design.sets.thresholds import multipliers_at
from curation.design.sets.uniform import uniform_information
from curation.design.solvers.frank_wolfe import corrective_start
from curation.design.solvers.master import Master, pivots
from curation.design.solvers.warm import adapted

ROUGH = 1e-3  # gap above which passes may run in float32
PER_PROMPT = 3  # pairs of one prompt that may enter at once
MAX_COLUMNS = 4000  # columns of one master
MAX_OVERLAPPING = 1200  # the same where sums overlap and every step is an interior-point program


def newton(
    criterion: Criterion,
    feasible: Feasible,
    *,
    tol: float = 1e-4,
    max_passes: int = 200,
    max_seconds: float = 600.0,
    progress: Progress | None = None,
    start: Tensor | None = None,
) -> Design:
    """Solve the design to gap and open <= tol. `stopped` says so when something else ended it.

    start: (pairs,) weights of a similar problem's design, to go on from where that is possible. Passes may run in
    float32 while the gap is large (Geometry.single); the bound kept and the final certificate never do.
    """
    started = time.perf_counter()
    geometry = feasible.geometry
    uniform = criterion.value(uniform_information(feasible))
    warm = None if start is None else adapted(criterion, feasible, start)
    weights, passes = (warm, 1) if warm is not None else _start(criterion, feasible, tol)
    best, trace, stopped = 0.0, [], "passes"
    best_weights, best_value = weights, math.inf
    stalled, rough = 0, True
    multipliers: Multipliers | None = None
    while passes < max_passes:
        information = geometry.information(weights)
        point = criterion.at(information)
        single = geometry.single and rough
        values = geometry.quadratic(point.root, single=single)
        passes += 1
        pairs, _, reach = maximise(feasible, values)
        excess = reach + feasible.pinned_value(values) - float(values @ weights)
        bound = lower_bound(point.value, excess)
        if single and (1 - bound / point.value < ROUGH or stalled):
            rough = False  # near the end: the same point again, in float64
            continue
        best = best if single else max(best, bound)
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
        found = multipliers if multipliers is not None else multipliers_at(feasible, weights, values)
        active = _choose_columns(feasible, weights, values, found.excess(feasible, values), pairs, stalled)
        master = Master(criterion, feasible, weights, information, active)
        target = 0.02 * min(max(point.value - max(best, bound), 0.0), excess)
        weights = master.improve(target)
        multipliers = master.multipliers
        trace[-1] = Step(passes, trace[-1].seconds, best_value, now.gap, now.open, len(active))
    final = certify(criterion, feasible, best_weights)
    final = Certificate(final.objective, min(max(final.lower_bound, best), final.objective), final.uniform)
    return Design(best_weights, final, passes + 1, "newton", stopped, tuple(trace))


def _start(criterion: Criterion, feasible: Feasible, tol: float) -> tuple[Tensor, int]:
    """A feasible start on few pairs: for the simplex many pairs of large q alike, else corrective Frank-Wolfe."""
    geometry = feasible.geometry
    simple = feasible.laminar and feasible.counted and len(feasible.block_totals) == 1
    if not (math.isinf(feasible.upper) and not feasible.spread.per_prompt and simple):
        return corrective_start(criterion, feasible, vertices=4 if feasible.spread.per_prompt else 9, tol=tol)
    values = feasible.worth(geometry.quadratic(criterion.at(uniform_information(feasible)).root))
    available = geometry.pairs - int(feasible.blocked.sum())
    pairs = values.topk(min(3 * geometry.dim, available)).indices
    weights = feasible.pinned_weights()
    weights[pairs] = feasible.remaining / max(len(pairs), 1)
    return weights, 1


def _choose_columns(
    feasible: Feasible, weights: Tensor, values: Tensor, excess: Tensor, vertex: Tensor, stalled: int
) -> Tensor:
    """Pair numbers of the next master: chosen in part, whole but near their threshold, and the most violated.

    values: (pairs,) q. excess: (pairs,) q over the threshold, overwritten. vertex: the pairs of the best linear
    response. stalled: rounds without progress; each widens what counts as near.
    """
    support = weights.nonzero().squeeze(1)
    over = excess[support]
    most = MAX_COLUMNS if pivots(feasible) else MAX_OVERLAPPING
    w = weights[support]
    at_bound = w >= feasible.upper * (1 - 1e-9)
    inside = ~feasible.blocked[support]
    margin = 0.0
    partial = inside & ~at_bound
    parts = [support[partial]]
    if math.isfinite(feasible.upper):
        typical = parts[0] if bool(partial.any()) else support[inside]
        if len(typical):
            margin = 0.02 * 10**stalled * float(values[typical].mean())
        leaving = inside & at_bound & torch.isfinite(over)
        if pivots(feasible):  # else every pair of a full row may have to make room for another
            leaving &= over < margin
        pairs = support[leaving]
        parts.append(pairs[over[leaving].argsort()][: most // 2])
    vertex = vertex[weights[vertex] <= 0]
    vertex = vertex[excess[vertex].argsort(descending=True)]
    parts.append(vertex[: max(300, most // 4)])
    excess[support] = -math.inf
    parts.append(_most_violated(feasible, excess))
    return torch.cat(parts).unique()


def _most_violated(feasible: Feasible, excess: Tensor) -> Tensor:
    """The best few pairs above the threshold of each prompt, then the best of those overall."""
    geometry = feasible.geometry
    limit = max(300, 2 * geometry.dim, min(geometry.prompts, MAX_COLUMNS // 4))
    numbers, amounts = [], []
    for bucket, part in geometry.parts():
        block = geometry.gather(bucket, part, excess, fill=-math.inf)
        best, number = geometry.best_pairs(bucket, part, block, PER_PROMPT)
        wanted = best > 0
        numbers.append(number[wanted])
        amounts.append(best[wanted])
    number, amount = torch.cat(numbers), torch.cat(amounts)
    if len(number) > limit:
        number = number[amount.topk(limit).indices]
    return number
