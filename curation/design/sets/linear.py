"""Linear programs over feasible sets whose sums overlap: exact maximisation, the nearest feasible point, and why none.

Generator shares and means cut across prompts, and label caps across a cost budget; no greedy is exact there. The linear
program is solved over a few thousand pairs by HiGHS, all other pairs are priced with its multipliers, and those that
would improve it are added until there are none: the answer is that of the program over all pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, hstack, identity, vstack
from torch import Tensor

from curation.design.programs.interior import Rows, solve_interior
from curation.design.sets.feasible import Feasible
from curation.design.sets.multipliers import Multipliers
from curation.errors import DesignError

FIRST_PER_PROMPT = 3  # pairs of each prompt in the first restricted program
ROUNDS = 200  # of adding pairs to the restricted program
MAX_ADDED = 4000  # pairs that one round may add


@dataclass(frozen=True)
class RowSet:
    """The rows that touch some pairs. fixed, capped: numbers of the fixed sums (`Spread.fixed`) and of the prompts with
    caps, in the order of the rows; generators: those of the shares; means: how many limits on means follow, whose
    coefficients have both signs. loose: whether the budget stands first among the rows with a limit, because caps may
    make its last unit not worth spending."""

    rows: Rows
    fixed: np.ndarray
    capped: np.ndarray
    generators: np.ndarray
    loose: bool
    means: int = 0

    @property
    def full(self) -> np.ndarray:
        """(l,) rows of `most` that let no more in: nothing is left of them and nothing can be given back."""
        limit = self.rows.limit
        if not self.rows.most.shape[1] or not len(limit):
            return np.zeros(len(limit), dtype=bool)
        full: np.ndarray = limit <= 1e-12 * max(float(limit.max()), 1e-300)
        for at in range(len(limit) - self.means, len(limit)):
            full[at] &= self.rows.most[at].min() >= 0
        return full


def row_set(feasible: Feasible, pairs: Tensor, held: Tensor | None = None) -> RowSet:
    """Constraint rows over the given pairs (m,). held: (pairs,) weights of all other pairs, taken off the limits."""
    geometry = feasible.geometry
    numbers = pairs.cpu().numpy()
    m, prompt = len(numbers), geometry.prompt_of(numbers)
    rest = pairs[:0] if held is None else held.nonzero().squeeze(1)
    others, weight = rest.cpu().numpy(), np.zeros(0) if held is None else held[rest].cpu().numpy()
    other_prompt = geometry.prompt_of(others)
    cost = feasible.cost[pairs].cpu().numpy()
    spent = weight * feasible.cost[rest].cpu().numpy()
    sums, amounts = (part.cpu().numpy() for part in feasible.spread.fixed(feasible))
    equal, right, fixed = _grouped(sums[prompt], cost, amounts, sums[other_prompt], spent)
    caps = feasible.spread.caps(feasible)
    most, limit, capped = csr_matrix((0, m)), np.zeros(0), np.zeros(0, dtype=np.int64)
    if caps is not None:
        most, limit, capped = _grouped(prompt, np.ones(m), caps.cpu().numpy(), other_prompt, weight)
        finite = np.isfinite(limit)
        most, limit, capped = most[finite], limit[finite], capped[finite]
    loose = not feasible.counted and not feasible.spread.fixes and not feasible.limits.quotas
    if loose:
        most, limit = vstack([equal, most]).tocsr(), np.concatenate([right, limit])
        equal, right = csr_matrix((0, m)), np.zeros(0)
    names = np.array(sorted(feasible.shares), dtype=np.int64)
    if len(names):
        assert feasible.generators is not None
        of = feasible.generators.cpu().numpy()
        ends, other_ends = geometry.endpoints(numbers), geometry.endpoints(others)
        touch = [csr_matrix(((of[ends[0]] == g) | (of[ends[1]] == g)).astype(float)) for g in names]
        taken = [float(weight @ ((of[other_ends[0]] == g) | (of[other_ends[1]] == g))) for g in names]
        most = vstack([most, *touch]).tocsr()
        limit = np.concatenate([limit, [max(feasible.shares[g] - t, 0.0) for g, t in zip(names, taken, strict=True)]])
    for over in feasible.over:
        value = over.cpu().numpy()
        most = vstack([most, csr_matrix(value[numbers][None, :])]).tocsr()
        limit = np.append(limit, -feasible.pinned_value(over) - float(weight @ value[others]))
    return RowSet(Rows(equal.tocsr(), right, most, limit), fixed, capped, names, loose, len(feasible.over))


def _grouped(
    group: np.ndarray, value: np.ndarray, limit: np.ndarray, other_group: np.ndarray, used: np.ndarray
) -> tuple[csr_matrix, np.ndarray, np.ndarray]:
    """Rows that sum values (m,) by group (m,), what others use of the limits taken off; and the numbers of the groups.

    limit: of every group there is. other_group, used: (others,) what each other pair takes of which group's.
    """
    present, at = np.unique(group, return_inverse=True)
    matrix = csr_matrix((value, (at, np.arange(len(group)))), shape=(len(present), len(group)))
    taken = np.bincount(other_group, weights=used, minlength=len(limit))
    return matrix, (limit - taken)[present].clip(min=0.0), present


def multipliers_of(feasible: Feasible, rows: RowSet, equal: np.ndarray, most: np.ndarray) -> Multipliers:
    """Multipliers of rows as those of strata, prompts and generators; zero where no row is of one of their pairs."""
    if rows.loose:
        equal, most = most[: len(rows.fixed)], most[len(rows.fixed) :]
    sums, amounts = (part.cpu().numpy() for part in feasible.spread.fixed(feasible))
    by_sum, label = np.zeros(len(amounts)), np.zeros(len(sums))
    by_sum[rows.fixed] = equal
    label[rows.capped] = most[: len(rows.capped)]
    device = feasible.geometry.device
    rest = most[len(rows.capped) :].tolist()
    return Multipliers(
        torch.as_tensor(by_sum[sums], device=device),
        torch.as_tensor(label, device=device),
        dict(zip(rows.generators.tolist(), rest, strict=False)),
        tuple(rest[len(rows.generators) :]),
    )


def maximise(feasible: Feasible, values: Tensor) -> tuple[Tensor, Tensor, float]:
    """Exact linear maximisation of <v, values> over the pairs left to choose. values: (pairs,).

    Returns pair numbers (m,), their weights (m,) and the maximum, pinned pairs not included. Greedy where that is
    exact, else a linear program over columns generated until none is missing.
    """
    if feasible.remaining <= 0:
        empty = torch.zeros(0, dtype=torch.int64, device=values.device)
        return empty, torch.zeros(0, dtype=torch.float64, device=values.device), 0.0
    if not feasible.laminar:
        pairs, amounts, reach, _ = maximise_by_columns(feasible, values)
        return pairs, amounts, reach
    pairs, amounts = feasible.spread.top(feasible, feasible.worth(values))
    return pairs, amounts, float(values[pairs] @ amounts)


def maximise_by_columns(feasible: Feasible, values: Tensor) -> tuple[Tensor, Tensor, float, Multipliers]:
    """Exact maximum of <v, values>: pairs (m,), weights (m,), a bound that is never below the maximum, multipliers."""
    kept = feasible.memory.get("columns")
    columns = _first_columns(feasible, values)
    columns = columns if kept is None else torch.cat([columns, kept]).unique()
    scale = float(values.abs().max().clamp_min(1e-300))
    penalty = 1e3
    for _ in range(ROUNDS):
        rows = row_set(feasible, columns)
        answer, artificial = _restricted(rows.rows, values[columns].cpu().numpy() / scale, feasible.upper, penalty)
        found = multipliers_of(feasible, rows, -answer.eqlin.marginals * scale, -answer.ineqlin.marginals * scale)
        reduced = found.excess(feasible, values)
        outside = reduced.index_fill(0, columns, -math.inf)
        entering = _best_of_each(feasible, outside, 1e-9 * scale)
        if not len(entering):
            if artificial > 1e-9:
                if penalty > 1e8:
                    raise DesignError(explain_infeasible(feasible))
                penalty *= 1e2
                continue
            break
        columns = torch.cat([columns, entering]).unique()
    else:
        raise DesignError(
            f"the linear program of the constraints was not settled in {ROUNDS} rounds, so there is no bound on the "
            "design; loosen the generator share, the caps or the limit on the mean length difference."
        )
    x = torch.as_tensor(answer.x[: len(columns)], device=values.device)
    chosen = x > 1e-12
    feasible.memory["columns"] = columns[chosen]
    pairs, amounts = columns[chosen], x[chosen]
    reach = float(values[pairs] @ amounts)
    # weak duality: whatever the multipliers, never below the maximum. What a pair is worth over them counts with its
    # bound, or, as the whole budget is at most spent, with all of it on the pair of the largest such worth per unit.
    bound = float(rows.rows.right @ -answer.eqlin.marginals) + float(rows.rows.limit @ -answer.ineqlin.marginals)
    over = reduced.clamp_min(0.0)
    slack = feasible.remaining * float(feasible.per_spend(over).max())
    if math.isfinite(feasible.upper):
        slack = min(slack, feasible.upper * float(over.sum()))
    reach = max(reach, bound * scale + slack)
    return pairs, amounts, reach, found


def _first_columns(feasible: Feasible, values: Tensor) -> Tensor:
    depth = FIRST_PER_PROMPT
    if math.isfinite(feasible.upper):
        finite = feasible.totals[torch.isfinite(feasible.totals)]
        depth = max(depth, math.ceil(float(finite.max()) / feasible.upper) + 1 if len(finite) else depth)
    return _best_of_each(feasible, feasible.worth(values), -math.inf, depth=min(depth, 60), limit=20_000)


def _best_of_each(
    feasible: Feasible, worth: Tensor, floor: float, *, depth: int = FIRST_PER_PROMPT, limit: int = MAX_ADDED
) -> Tensor:
    """The best pairs of each prompt that are worth more than floor, then the best of those overall."""
    numbers, amounts = [], []
    for bucket, part in feasible.geometry.parts():
        block = feasible.geometry.gather(bucket, part, worth, fill=-math.inf)
        best, number = feasible.geometry.best_pairs(bucket, part, block, depth)
        wanted = (best > floor) & torch.isfinite(best)
        numbers.append(number[wanted])
        amounts.append(best[wanted])
    number, amount = torch.cat(numbers), torch.cat(amounts)
    return number[amount.topk(limit).indices] if len(number) > limit else number


def _restricted(rows: Rows, worth: np.ndarray, upper: float, penalty: float):  # type: ignore[no-untyped-def]
    """HiGHS on few columns, with artificial ones at a penalty so that it always has an answer; and their sum."""
    k = rows.equal.shape[0]
    eye = identity(k, format="csr")
    entries = rows.most.tocoo()
    signed = np.union1d(entries.row[entries.data < 0], np.flatnonzero(rows.limit < 0))  # rows that zeros may not keep
    ease = csr_matrix((-np.ones(len(signed)), (signed, np.arange(len(signed)))), shape=(len(rows.limit), len(signed)))
    extra = 2 * k + len(signed)
    answer = linprog(
        np.concatenate([-worth, np.full(extra, penalty)]),
        A_eq=hstack([rows.equal, eye, -eye, csr_matrix((k, len(signed)))]).tocsr(),
        b_eq=rows.right,
        A_ub=hstack([rows.most, csr_matrix((len(rows.limit), 2 * k)), ease]).tocsr(),
        b_ub=rows.limit,
        bounds=np.concatenate([np.tile([0.0, upper], (len(worth), 1)), np.tile([0.0, np.inf], (extra, 1))]),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if answer.status != 0:
        raise DesignError(f"the linear program of the constraints could not be solved ({answer.message}).")
    return answer, float(answer.x[len(worth) :].sum())


def nearest(feasible: Feasible, target: Tensor) -> Tensor:
    """The feasible point nearest to target (pairs,) in relative terms: what `uniform` means under overlapping sums.

    Raises DesignError saying which constraint cannot be kept and by how much.
    """
    open_pairs = ~feasible.blocked
    if feasible.spread.fixes:
        some = (feasible.totals > 0).repeat_interleave(feasible.geometry.pair_counts_tensor)
        open_pairs &= some
    pairs = open_pairs.nonzero().squeeze(1)
    rows = row_set(feasible, pairs)
    aim = target[pairs].cpu().numpy()
    aim = np.maximum(aim, 1e-3 * max(float(aim.mean()), 1e-300))
    if not len(pairs):
        if any(feasible.pinned_value(over) > 1e-9 for over in feasible.over):
            raise DesignError(explain_infeasible(feasible))
        return feasible.pinned_weights()
    answer = solve_interior(1.0 / aim, -np.ones(len(aim)), rows.rows, np.full(len(aim), feasible.upper))
    x = answer.x
    if not answer.optimal:  # no interior: any point will do, where there is one
        corner, missing = _restricted(rows.rows, np.zeros(len(pairs)), feasible.upper, 1.0)
        if missing > 1e-9:
            raise DesignError(explain_infeasible(feasible))
        x = corner.x[: len(pairs)]
    out = feasible.pinned_weights()
    out[pairs] = torch.as_tensor(x, device=out.device)
    return out


def explain_infeasible(feasible: Feasible) -> str:
    """Which constraint cannot be kept, and by how much: limits on means first, then shares relaxed, then caps."""
    if feasible.over:
        return _explain_means(feasible)
    limits = feasible.limits
    pairs = (~feasible.blocked).nonzero().squeeze(1)
    rows = row_set(feasible, pairs)
    m, k, caps = len(pairs), rows.rows.equal.shape[0], rows.rows.most.shape[0]
    budget_rows = len(rows.fixed) if rows.loose else 0
    ease = np.concatenate([np.full(budget_rows, 1e6), np.full(len(rows.capped), 1e3), np.ones(len(rows.generators))])
    answer = linprog(
        np.concatenate([np.zeros(m), ease, np.full(2 * k, 1e6)]),
        A_eq=hstack([rows.rows.equal, csr_matrix((k, caps)), identity(k), -identity(k)]).tocsr(),
        b_eq=rows.rows.right,
        A_ub=hstack([rows.rows.most, -identity(caps), csr_matrix((caps, 2 * k))]).tocsr(),
        b_ub=rows.rows.limit,
        bounds=[(0, feasible.upper if math.isfinite(feasible.upper) else None)] * m + [(0, None)] * (caps + 2 * k),
        method="highs",
    )
    if answer.status != 0:
        return "the constraints cannot be kept together; loosen the caps, the quotas or the generator share."
    over = answer.x[m + budget_rows : m + caps] * feasible.labels
    cap_over, share_over = over[: len(rows.capped)], over[len(rows.capped) :]
    short = float(answer.x[m + caps :].sum()) * feasible.budget
    words = []
    if float(share_over.sum()) > 1e-6:
        words.append(
            f"the generator shares are short by {share_over.sum():.4g} places in labels, each label taking two"
        )
        g = int(share_over.argmax())
        name, allowed = int(rows.generators[g]), feasible.shares[int(rows.generators[g])] * feasible.labels
        words.append(
            f"{limits.generator(name)} takes part in {allowed + share_over[g]:.4g} labels at the least bad, where its "
            f"share allows {allowed:.4g}"
        )
    if float(cap_over.max(initial=0.0)) > 1e-6:
        worst = int(cap_over.argmax())
        words.append(
            f"the caps on labels per prompt (--per-prompt or the spread) are short by {cap_over.sum():.4g} labels, "
            f"most at prompt number {rows.capped[worst]} ({cap_over[worst]:.4g})"
        )
    if short > 1e-6 * feasible.budget:
        words.append(f"{short:.4g} of the budget cannot be spent as the spread and the quotas ask")
    return (
        "the constraints cannot be kept together: " + "; ".join(words) + ". Raise the generator share or the caps, "
        "change the quotas, or lower the budget."
    )


def least_mean(feasible: Feasible, values: Tensor) -> float:
    """The least that the mean of values (pairs,) over the labels can be, pins included, limits on means left out.

    Raises DesignError where the other constraints already leave no design.
    """
    rest = replace(feasible, over=())
    pinned = float(feasible.pinned_weights().sum())
    mean = float(values.max())
    for _ in range(50):  # Dinkelbach: one round where the number of labels is fixed
        if rest.counted:
            pairs, amounts, _ = maximise(rest, mean - values)
        else:  # the greedy choice spends a whole budget in cost units, which a limit on a mean may forbid
            pairs, amounts, _, _ = maximise_by_columns(rest, mean - values)
        labels = float(amounts.sum()) + pinned
        if labels <= 0:
            return mean
        now = (float(values[pairs] @ amounts) + feasible.pinned_value(values)) / labels
        if now >= mean - 1e-12 * max(abs(mean), 1.0):
            break
        mean = now
    return min(mean, now)


def _explain_means(feasible: Feasible) -> str:
    """What the limits on means ask, and the least that everything else allows."""
    words, together = [], []
    for over, limit in zip(feasible.over, feasible.limits.means, strict=True):
        least = least_mean(feasible, over + limit.most)
        together.append(f"{limit.name} at {limit.most:g}")
        if least > limit.most:
            words.append(
                f"{limit.name} cannot be kept at {limit.most:g}: the least that the other constraints allow is "
                f"{math.ceil(least * 1e4) / 1e4:g}"
            )
    if not words:
        words = [f"{' and '.join(together)} cannot be kept beside the other constraints"]
    return "; ".join(words) + ". Raise the limit, or loosen the spread, the quotas, the pins or the exclusions."
