"""A convex quadratic program with bounds and general rows, by a primal-dual interior point (Mehrotra 1992).

minimise 1/2 x' H x + c' x   subject to   A x = b,  G x <= h,  0 <= x <= upper.

Used where rows overlap (generator shares across prompts, label caps under a cost budget), which pivoting on groups
cannot do. H is dense (m, m) or the diagonal (m,) of one; the rows are sparse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.linalg import cho_factor, cho_solve, lu_factor, lu_solve
from scipy.sparse import csr_matrix, diags, vstack
from scipy.sparse.linalg import splu

DENSE_ROWS = 1500  # rows up to which their Schur complement is factored as a dense matrix


@dataclass(frozen=True)
class Rows:
    """Linear rows over m variables: equal (k, m) x = right (k,) and most (l, m) x <= limit (l,)."""

    equal: csr_matrix
    right: np.ndarray
    most: csr_matrix
    limit: np.ndarray


@dataclass(frozen=True)
class Interior:
    """x (m,), multipliers of the rows, equal (k,) and most (l,), largest relative residual, and whether that is small:
    under 1e-6, or tol where that is more."""

    x: np.ndarray
    equal: np.ndarray
    most: np.ndarray
    residual: float
    optimal: bool


def solve_interior(
    H: np.ndarray, c: np.ndarray, rows: Rows, upper: np.ndarray, *, iterations: int = 80, tol: float = 1e-10
) -> Interior:
    """Solve the program. upper: (m,), inf where there is no bound. `optimal` is false where it does not converge."""
    with np.errstate(all="ignore"):  # without an interior numbers run off, and the residual says so
        return _Interior(H, c, rows, upper).run(iterations, tol)


class _Interior:
    def __init__(self, H: np.ndarray, c: np.ndarray, rows: Rows, upper: np.ndarray) -> None:
        sums = [np.abs(rows.right).max(initial=0.0), np.abs(rows.limit).max(initial=0.0)]
        finite = upper[np.isfinite(upper)]
        self.unit = max(max(sums) / max(len(c), 1), float(finite.mean()) * 1e-3 if len(finite) else 0.0, 1e-300)
        self.size = max(float(np.abs(c).max(initial=0.0)), 1e-300)
        self.H, self.c = H * (self.unit / self.size), c / self.size  # x = unit x', objective in size * unit
        self.rows = rows
        self.R = vstack([rows.equal, rows.most]).tocsr()
        self.k = rows.equal.shape[0]
        self.rhs = np.concatenate([rows.right, rows.limit]) / self.unit
        self.upper = upper / self.unit
        self.bounded = np.isfinite(self.upper)

    def _times(self, x: np.ndarray) -> np.ndarray:
        out: np.ndarray = self.H @ x if self.H.ndim == 2 else self.H * x
        return out

    def _start(self) -> None:
        m, rows = len(self.c), len(self.rhs)
        counts = np.maximum(np.asarray((self.R[: self.k] != 0).sum(1)).ravel(), 1)
        typical = float(np.median(self.rhs[: self.k] / counts)) if self.k else 1.0
        self.x = np.full(m, max(typical, 1e-3))
        self.x[self.bounded] = np.minimum(self.x[self.bounded], 0.5 * self.upper[self.bounded])
        self.room = np.where(self.bounded, self.upper - self.x, 1.0)  # kept apart: a difference would cancel
        self.low = np.ones(m)
        self.high = np.where(self.bounded, 1.0, 0.0)
        self.y = np.zeros(rows)
        self.y[self.k :] = 1.0
        self.slack = np.maximum(self.rhs[self.k :] - (self.R @ self.x)[self.k :], 1.0)

    def run(self, iterations: int, tol: float) -> Interior:
        """Predictor and corrector steps until residuals and complementarity are below tol."""
        self._start()
        k, pairs = self.k, len(self.c) + int(self.bounded.sum()) + len(self.slack)
        best, kept, stalled = np.inf, None, 0
        for _ in range(iterations):
            gradient = self._times(self.x) + self.c
            dual = gradient + self.R.T @ self.y - self.low + self.high
            primal = self.R @ self.x - self.rhs
            primal[k:] += self.slack
            inside = self.bounded
            mu = float(self.x @ self.low + self.room[inside] @ self.high[inside] + self.slack @ self.y[k:]) / pairs
            scale = 1.0 + np.abs(self.rhs).max(initial=0.0)
            residual = max(np.abs(dual).max(initial=0.0), np.abs(primal).max(initial=0.0) / scale, mu)
            if residual < best:
                best, kept, stalled = residual, (self.x.copy(), self.y.copy(), self._active()), 0
            else:
                stalled += 1
            if residual < tol or stalled > 8:
                break
            solve = self._factor()
            if solve is None:
                break
            zero = np.zeros(1)
            affine = self._direction(solve, dual, primal, zero, zero, zero)
            mu_affine = self._mu(affine, self._step(affine, 1.0)) / pairs
            target = mu * min(1.0, max(mu_affine / mu, 1e-8)) ** 3
            dx, dlow, dhigh, ds, dy = affine
            full = self._direction(solve, dual, primal, target - dx * dlow, target + dx * dhigh, target - ds * dy[k:])
            self._advance(full, self._step(full, max(0.9, 1.0 - mu) if mu < 0.1 else 0.9))
        if kept is None:
            return Interior(self.x * self.unit, self.y[:k], self.y[k:], np.inf, False)
        x, y, active = kept
        if best < 1e-4 and self.H.ndim == 2:
            x, y = self._polished(x, y, active)
        x, y = x * self.unit, y * self.size
        return Interior(x, y[:k], y[k:], best, best < max(tol, 1e-6))

    def _active(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which x are at zero, at their bound, and which rows bind, by which side of complementarity is larger."""
        binds = np.ones(len(self.rhs), dtype=bool)
        binds[self.k :] = self.slack < self.y[self.k :]
        return self.x < self.low, self.bounded & (self.room < self.high), binds

    def _polished(
        self, x: np.ndarray, y: np.ndarray, active: tuple[np.ndarray, np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The optimum on the active set found, to rounding; the point as it is where that set is not right."""
        low, high, binds = active
        free = np.flatnonzero(~low & ~high)
        if not len(free):
            return x, y
        fixed = np.where(high & self.bounded, self.upper, 0.0)
        R = self.R[binds].toarray()
        inside = R[:, free]
        used = np.abs(inside).sum(1) > 0
        inside, right = inside[used], (self.rhs[binds] - R @ fixed)[used]
        k = len(right)
        matrix = np.zeros((len(free) + k, len(free) + k))
        matrix[: len(free), : len(free)] = self.H[np.ix_(free, free)]
        matrix[: len(free), len(free) :] = inside.T
        matrix[len(free) :, : len(free)] = inside
        shift = np.concatenate([np.full(len(free), 1e-13), np.full(k, -1e-13)]) * max(np.abs(matrix).max(), 1e-300)
        target = np.concatenate([-(self.c + self.H @ fixed)[free], right])
        try:
            factor = lu_factor(matrix + np.diag(shift), check_finite=False)
            solution = lu_solve(factor, target)
            for _ in range(3):  # undoes the shift
                solution = solution + lu_solve(factor, target - matrix @ solution)
        except (np.linalg.LinAlgError, ValueError):
            return x, y
        new = fixed.copy()
        new[free] = solution[: len(free)]
        slack = self.rhs - self.R @ new
        scale = 1e-9 * max(float(x.max()), 1e-300)
        in_bounds = np.all(new >= -scale) and np.all(new[self.bounded] <= self.upper[self.bounded] + scale)
        met = np.abs(slack[: self.k]).max(initial=0.0) <= scale and slack[self.k :].min(initial=0.0) >= -scale
        if not (np.isfinite(new).all() and in_bounds and met):
            return x, y
        return np.clip(new, 0.0, np.where(self.bounded, self.upper, np.inf)), y

    def _factor(self) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
        """Solver of the reduced Newton system [H + D, R'; R, -E], as a function of its two right-hand sides."""
        barrier = self.low / self.x + np.where(self.bounded, self.high / self.room, 0.0)
        ease = np.concatenate([np.zeros(self.k), self.slack / self.y[self.k :]])
        R = self.R
        if self.H.ndim == 1:
            inverse = 1.0 / (self.H + barrier)

            def back(v: np.ndarray) -> np.ndarray:
                out: np.ndarray = inverse * v
                return out

            across = R @ (R.multiply(inverse[None, :])).T
        else:
            matrix = self.H.copy()
            matrix[np.diag_indices_from(matrix)] += barrier
            try:
                factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
            except np.linalg.LinAlgError:
                return None

            def back(v: np.ndarray) -> np.ndarray:
                out: np.ndarray = cho_solve(factor, v, check_finite=False)
                return out

            across = R @ back(R.T.toarray())
        solve_rows: Callable[[np.ndarray], np.ndarray]
        if R.shape[0] <= DENSE_ROWS or self.H.ndim == 2:
            schur = across if isinstance(across, np.ndarray) else across.toarray()
            schur[np.diag_indices_from(schur)] += ease + 1e-13 * max(np.abs(schur.diagonal()).max(initial=0.0), 1e-300)
            try:
                small = cho_factor(schur, lower=True, check_finite=False)
            except np.linalg.LinAlgError:
                return None
            solve_rows = partial(cho_solve, small, check_finite=False)
        else:
            shifted = (across + diags(ease + 1e-13 * across.diagonal().max())).tocsc()
            solve_rows = splu(shifted).solve

        def solve(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            dy = solve_rows(R @ back(first) - second)
            return back(first - R.T @ dy), dy

        return solve

    def _direction(
        self,
        solve: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
        dual: np.ndarray,
        primal: np.ndarray,
        want_low: np.ndarray,
        want_high: np.ndarray,
        want_slack: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        most = self.y[self.k :]
        to_low = want_low / self.x - self.low
        to_high = np.where(self.bounded, want_high / self.room - self.high, 0.0)
        to_most = want_slack / self.slack - most
        second = -primal
        second[self.k :] -= self.slack / most * to_most
        dx, dy = solve(-dual + to_low - to_high, second)
        ds = -primal[self.k :] - (self.R @ dx)[self.k :]
        dlow = to_low - self.low / self.x * dx
        dhigh = np.where(self.bounded, to_high + self.high / self.room * dx, 0.0)
        return dx, dlow, dhigh, ds, dy

    def _step(self, d: tuple[np.ndarray, ...], share: float) -> float:
        """How far to go along d: one step for all of it, as the quadratic term couples primal and dual."""
        dx, dlow, dhigh, ds, dy = d
        inside, k = self.bounded, self.k
        longest = min(
            _longest(self.x, dx),
            _longest(self.room[inside], -dx[inside]),
            _longest(self.slack, ds),
            _longest(self.low, dlow),
            _longest(self.high[inside], dhigh[inside]),
            _longest(self.y[k:], dy[k:]),
        )
        return min(1.0, share * longest)

    def _mu(self, d: tuple[np.ndarray, ...], step: float) -> float:
        dx, dlow, dhigh, ds, dy = d
        inside, k = self.bounded, self.k
        total = (self.x + step * dx) @ (self.low + step * dlow)
        total += (self.room - step * dx)[inside] @ (self.high + step * dhigh)[inside]
        return float(total + (self.slack + step * ds) @ (self.y[k:] + step * dy[k:]))

    def _advance(self, d: tuple[np.ndarray, ...], step: float) -> None:
        dx, dlow, dhigh, ds, dy = d
        self.x = self.x + step * dx
        self.room = np.where(self.bounded, self.room - step * dx, 1.0)
        self.slack = np.maximum(self.slack + step * ds, 1e-200)
        self.low = self.low + step * dlow
        self.high = self.high + step * dhigh
        self.y = self.y + step * dy
        self.y[self.k :] = np.maximum(self.y[self.k :], 1e-200)


def _longest(value: np.ndarray, change: np.ndarray) -> float:
    falling = change < 0
    if not falling.any():
        return 1e3
    return float((value[falling] / -change[falling]).min())
