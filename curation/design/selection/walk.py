"""Sampling under sums that overlap (shares, means): a random walk inside the constraints (Deville and Tille 2004).

Fractional inclusions move along directions that leave every tight sum as it is, to one of the two points where
something becomes whole or tight, with the chances that keep each expectation. What is left, a handful of fractions, is
written as a mixture of whole batches that keep every constraint. Where no such mixture has exactly these expectations
(three or more shares may be tight at once in a way whole labels cannot follow), the nearest one is drawn from: caps are
always kept, expectations as nearly as whole labels allow. Sums of other numbers than counts (limits on means) cannot be
held to the last label: the walk leaves them as they are, and only the handful of fractions at its end moves them.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp, nnls
from scipy.sparse import csr_matrix, vstack

from curation.errors import DesignError

EDGE = 1e-9  # closer than this to a whole number or a limit is there
WINDOW = 6  # units looked at together; more where their sums are tight
FEW = 24  # units left at the point that is gone back to where the last ones cannot be settled exactly
ENUMERATE = 12  # leftover units whose whole batches are listed


def walk(
    fraction: np.ndarray,
    rows: csr_matrix,
    low: np.ndarray,
    high: np.ndarray,
    rng: np.random.Generator,
    *,
    kept: csr_matrix | None = None,
) -> np.ndarray:
    """Which units to take, (m,) bool, each with its probability, sums kept within low and high.

    fraction: (m,) in (0, 1), within the limits in expectation. rows: (k, m) of zeros and ones. low, high: (k,) whole.
    kept: (j, m) numbers whose sums stay what they are in expectation, and in every draw but for the last few units.
    Raises DesignError where no whole batch keeps every limit.
    """
    flown, least, most = rows, low, high
    if kept is not None and kept.shape[0]:
        sums = kept @ fraction
        flown, least, most = vstack([rows, kept]).tocsr(), np.append(low, sums), np.append(high, sums)
    for _ in range(20):
        x = fraction.copy()
        earlier = _flight(x, flown, least, most, rng)
        done, error = _land(x, rows, low, high, rng)
        if error > 1e-7:  # from a point with more units left, more mixtures are possible
            again, less = _land(earlier, rows, low, high, rng)
            if less < error:
                done = again
        if done is not None:
            return done
    raise DesignError(
        "no whole batch was found that keeps every generator share, cap and total at once; raise the generator share."
    )


def _flight(x: np.ndarray, rows: csr_matrix, low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move x, in place, until the tight sums leave no direction. Returns where it was with few units left."""
    of_unit, value = _rows_of_units(rows)
    sums = rows @ x
    left = np.flatnonzero((x > EDGE) & (x < 1 - EDGE))
    earlier, size, at = x.copy(), WINDOW, 0  # left[at:] are the units still fractional
    while at < len(left):
        if FEW < len(left) - at <= FEW + 64:
            earlier = x.copy()
        window = left[at : at + size]
        touched = np.unique(of_unit[window])
        touched = touched[touched >= 0]
        dense = ((of_unit[window][:, :, None] == touched) * value[window][:, :, None]).sum(1).T
        at_limit = (sums[touched] >= high[touched] - EDGE) | (sums[touched] <= low[touched] + EDGE)
        direction = _null_vector(dense[at_limit], rng)
        if direction is None:
            if size >= len(left) - at:
                break
            size *= 2  # more units than tight sums are needed
            continue
        change = dense @ direction
        change[at_limit] = 0.0
        up = _reach(x[window], direction, sums[touched], change, low[touched], high[touched])
        down = _reach(x[window], -direction, sums[touched], -change, low[touched], high[touched])
        step = up if rng.random() * (up + down) < down else -down
        x[window] = x[window] + step * direction
        near = np.round(x[window])
        x[window] = np.where(np.abs(x[window] - near) < EDGE, near, x[window])
        sums[touched] += step * change
        still = window[(x[window] > EDGE) & (x[window] < 1 - EDGE)]
        if len(still) < len(window):
            at += len(window) - len(still)
            left[at : at + len(still)] = still
            size = max(WINDOW, size // 2)
    return earlier


def _rows_of_units(rows: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """(m, most rows of a unit) the rows that each unit counts in, -1 where it has fewer, and what it counts there."""
    columns = rows.tocsc()
    counts = np.diff(columns.indptr)
    out = np.full((rows.shape[1], int(counts.max(initial=1))), -1, dtype=np.int64)
    place = np.arange(len(columns.indices)) - np.repeat(columns.indptr[:-1], counts)
    value = np.zeros(out.shape)
    unit = np.repeat(np.arange(len(counts)), counts)
    out[unit, place], value[unit, place] = columns.indices, columns.data
    return out, value


def _null_vector(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """A direction that leaves every row's sum as it is, or None."""
    m = matrix.shape[1]
    if not len(matrix):
        direction = np.zeros(m)
        direction[rng.integers(m)] = 1.0
        return direction
    _, values, right = np.linalg.svd(matrix, full_matrices=True)
    rank = int((values > 1e-9 * values[0]).sum()) if len(values) else 0
    return None if rank >= m else np.asarray(right[-1])


def _reach(
    x: np.ndarray, direction: np.ndarray, sums: np.ndarray, change: np.ndarray, low: np.ndarray, high: np.ndarray
) -> float:
    """How far x can go along a direction before a unit is whole or a sum at its limit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        units = np.where(direction > 1e-14, (1 - x) / direction, np.where(direction < -1e-14, -x / direction, np.inf))
        room = np.where(
            change > 1e-12, (high - sums) / change, np.where(change < -1e-12, (low - sums) / change, np.inf)
        )
    return float(max(min(units.min(initial=np.inf), room.min(initial=np.inf)), 0.0))


def _land(
    x: np.ndarray, rows: csr_matrix, low: np.ndarray, high: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray | None, float]:
    """Settle the units still fractional by drawing from a mixture of whole batches, or None where there is none.

    Also returns how far the mixture's expectations are from x.
    """
    left = np.flatnonzero((x > EDGE) & (x < 1 - EDGE))
    out: np.ndarray = x > 0.5
    if not len(left):
        return out, 0.0
    base = x.copy()
    base[left] = 0.0
    used = rows @ base
    part = rows[:, left].toarray()
    seen = part.any(1)
    part, least, most = part[seen], (low - used)[seen] - 1e-6, (high - used)[seen] + 1e-6
    if len(left) <= ENUMERATE:
        every = (np.arange(2 ** len(left))[:, None] >> np.arange(len(left))) & 1
        totals = every @ part.T
        every = every[((totals >= least) & (totals <= most)).all(1)].astype(float)
    else:
        every = _whole_batches(x[left], part, least, most)
    if not len(every):
        return None, np.inf
    heavy = 1e3  # the shares sum to one first of all
    shares, _ = nnls(np.vstack([every.T, np.full(len(every), heavy)]), np.append(x[left], heavy))
    if shares.sum() <= 0:
        return None, np.inf
    shares /= shares.sum()
    out[left] = every[rng.choice(len(every), p=shares)] > 0.5
    return out, float(np.abs(shares @ every - x[left]).max())


def _whole_batches(target: np.ndarray, part: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Whole batches whose mixture comes nearest to target, generated one by one (column generation)."""
    m = len(target)
    limits = LinearConstraint(part, least, most)
    found: list[np.ndarray] = []
    multipliers = target - 0.5
    for _ in range(20 * m):
        answer = milp(-multipliers, constraints=limits, integrality=np.ones(m), bounds=Bounds(0, 1))
        if answer.status != 0:
            return np.zeros((0, m))
        new = np.round(answer.x)
        if any(np.array_equal(new, old) for old in found):
            break
        found.append(new)
        Y = np.array(found).T
        master = linprog(
            np.concatenate([np.zeros(Y.shape[1]), np.ones(2 * m)]),
            A_eq=vstack(
                [
                    csr_matrix(np.hstack([Y, np.eye(m), -np.eye(m)])),
                    csr_matrix(np.concatenate([np.ones(Y.shape[1]), np.zeros(2 * m)])[None, :]),
                ]
            ),
            b_eq=np.append(target, 1.0),
        )
        if master.fun < 1e-9:
            break
        multipliers = master.eqlin.marginals[:m]
    return np.array(found)
