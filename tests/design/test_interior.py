"""The interior point for overlapping sums, against an open conic solver."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from curation.design.programs.interior import Rows, solve_interior


def program(seed: int, *, diagonal: bool = False):
    """A random convex program with a feasible point, groups that sum to given totals, and overlapping limits."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(6, 40))
    half = rng.standard_normal((m, int(rng.integers(1, m + 1))))
    H = rng.uniform(0.1, 3.0, m) if diagonal else half @ half.T
    c = -np.abs(rng.standard_normal(m)) * 10 ** rng.uniform(-3, 3)
    group = rng.integers(0, 4, m)
    upper = np.where(rng.random(m) < 0.3, np.inf, rng.uniform(0.05, 0.5, m))
    inside = rng.uniform(0.05, 0.9, m) * np.minimum(upper, 1.0)
    equal = np.array([group == g for g in np.unique(group)], float)
    most = (rng.random((3, m)) < 0.5).astype(float)
    limit = most @ inside + rng.uniform(0.01, 0.5, 3) * (rng.random(3) < 0.7) + 1e-6
    return H, c, Rows(csr_matrix(equal), equal @ inside, csr_matrix(most), limit), upper


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("diagonal", [False, True])
def test_it_reaches_the_optimum_of_clarabel(seed, diagonal):
    import cvxpy as cp

    H, c, rows, upper = program(seed, diagonal=diagonal)
    found = solve_interior(H, c, rows, upper)
    assert found.optimal
    x = found.x
    full = np.diag(H) if diagonal else H
    assert x.min() >= -1e-12
    assert np.all(x <= upper + 1e-9)
    assert np.abs(rows.equal @ x - rows.right).max() < 1e-7
    assert (rows.most @ x - rows.limit).max() < 1e-7
    variable = cp.Variable(len(c), nonneg=True)
    bounded = np.isfinite(upper)
    wanted = [rows.equal @ variable == rows.right, rows.most @ variable <= rows.limit]
    wanted += [variable[bounded] <= upper[bounded]] if bounded.any() else []
    goal = cp.Problem(cp.Minimize(0.5 * cp.quad_form(variable, cp.psd_wrap(full)) + c @ variable), wanted)
    goal.solve(solver=cp.CLARABEL)
    assert 0.5 * x @ full @ x + c @ x == pytest.approx(goal.value, rel=1e-5, abs=1e-6)


def test_the_prices_of_the_rows_are_their_marginal_worth():
    H, c, rows, upper = program(3)
    found = solve_interior(H, c, rows, upper)
    step = 1e-4 * rows.right[0]
    moved = Rows(rows.equal, rows.right + np.eye(len(rows.right))[0] * step, rows.most, rows.limit)
    other = solve_interior(H, c, moved, upper)

    def value(x: np.ndarray) -> float:
        return float(0.5 * x @ H @ x + c @ x)

    assert (value(other.x) - value(found.x)) / step == pytest.approx(-found.equal[0], rel=1e-2, abs=1e-4)
    assert found.most.min() >= -1e-9
