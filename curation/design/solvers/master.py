"""The restricted master: Newton steps over the active pairs, every other weight held (docs/method.md section 7)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.programs.interior import Rows, solve_interior
from curation.design.programs.quadratic import solve_quadratic
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import multipliers_of, row_set
from curation.design.sets.multipliers import Multipliers

INTERIOR_LIMIT = 1500  # columns up to which an interior point stands in for pivoting that does not settle


class Master:
    """Weights of a few active pairs, to be improved.

    weights: (pairs,) the whole design. information: its (d, d). active: (m,) pair numbers. The columns A (m, d) are
    the only place where pair vectors are held together; a pair that cannot move is left out.
    """

    def __init__(
        self, criterion: Criterion, feasible: Feasible, weights: Tensor, information: Tensor, active: Tensor
    ) -> None:
        self.criterion, self.weights, self.information = criterion, weights, information
        self.step: PivotStep | InteriorStep = (PivotStep if pivots(feasible) else InteriorStep)(
            feasible, weights, active
        )
        self.active = self.step.active
        self.columns = feasible.geometry.vectors(self.active)
        self.current = weights[self.active].clone()

    @property
    def multipliers(self) -> Multipliers | None:
        """Those of the last step, where it found any."""
        return self.step.multipliers

    def improve(self, target: float, *, steps: int = 12) -> Tensor:
        """Newton steps until the predicted decrease of f is under target. Returns the new weights (pairs,)."""
        if not len(self.active):
            return self.weights
        information = self.information
        for _ in range(steps):
            point = self.criterion.at(information)
            gradient, hessian = point.curvature(self.columns)
            goal = self.step.goal(hessian, gradient, self.current)
            direction = goal - self.current
            slope = float(gradient @ direction)
            if slope >= 0 or -slope < 1e-15 * point.value:
                break
            change = self.columns.T @ (self.columns * direction[:, None])
            step = self._length(information, change, point.value, slope)
            if step == 0.0:
                break
            self.current = goal.clone() if step == 1.0 else self.current + step * direction
            information = information + step * change
            if step == 1.0 and -slope / 2 < target:
                break
        weights = self.weights.clone()
        scale = float(self.current.max().clamp_min(1e-300))
        weights[self.active] = torch.where(self.current > 1e-13 * scale, self.current, torch.zeros_like(self.current))
        return weights

    def _length(self, information: Tensor, change: Tensor, value: float, slope: float) -> float:
        step = 1.0
        while step > 1e-8:
            if self.criterion.value(information + step * change) <= value + 1e-4 * step * slope:
                return step
            step /= 2
        return 0.0


class PivotStep:
    """The quadratic model within sums of one kind, in units of spend: every sum has coefficients of one."""

    multipliers: Multipliers | None = None

    def __init__(self, feasible: Feasible, weights: Tensor, active: Tensor) -> None:
        prompt = torch.as_tensor(feasible.geometry.prompt_of(active), device=active.device)
        movable, self.polytope = feasible.spread.program(feasible, weights, active, prompt)
        self.feasible, self.active = feasible, active[movable]
        self.cost = feasible.cost[self.active]

    def goal(self, hessian: Tensor, gradient: Tensor, current: Tensor) -> Tensor:
        """Where the model is lowest. gradient: (m,) and hessian: (m, m) of f at `current` (m,). Returns (m,)."""
        linear = gradient - hessian @ current
        if not self.feasible.counted:  # else by ones, which would copy the Hessian
            hessian, linear = hessian / (self.cost[:, None] * self.cost), linear / self.cost
        solution = solve_quadratic(hessian, linear, self.polytope, current * self.cost)
        if solution.optimal:
            return solution.x / self.cost
        found = self._by_interior(hessian, linear) if len(self.active) <= INTERIOR_LIMIT else None
        return self._vertex(gradient, current) if found is None else found

    def _by_interior(self, hessian: Tensor, linear: Tensor) -> Tensor | None:
        """The same in units of spend, where pivoting did not settle; None where this does not either."""
        polytope, m = self.polytope, len(self.active)
        total = csr_matrix(np.ones((1, m))), np.array([polytope.total or 0.0])
        none = csr_matrix((0, m)), np.zeros(0)
        groups = none
        if polytope.group is not None and polytope.group_totals is not None:
            finite = torch.isfinite(polytope.group_totals).cpu().numpy()
            at = (polytope.group.cpu().numpy(), np.arange(m))
            groups = (
                csr_matrix((np.ones(m), at), shape=(len(finite), m))[finite],
                polytope.group_totals.cpu().numpy()[finite],
            )
        rows = Rows(*groups, *none) if polytope.equality else Rows(*total, *groups)
        found = solve_interior(hessian.cpu().numpy(), linear.cpu().numpy(), rows, polytope.upper.cpu().numpy())
        if not found.optimal:
            return None
        x = torch.as_tensor(_settled(found.x), device=hessian.device)
        return x / self.cost

    def _vertex(self, gradient: Tensor, current: Tensor) -> Tensor:
        """Best vertex of the master's polytope, greedily: the direction to fall back on. Returns (m,)."""
        polytope = self.polytope
        goal = torch.zeros_like(current)
        rest_total = float((current * self.cost).sum()) if polytope.total is None else polytope.total
        rest = None if polytope.group_totals is None else polytope.group_totals.clone()
        for e in (gradient / self.cost).argsort().tolist():
            amount = min(rest_total, float(polytope.upper[e]))
            if rest is not None and polytope.group is not None:
                amount = min(amount, float(rest[polytope.group[e]]))
                rest[polytope.group[e]] -= amount
            goal[e] = amount
            rest_total -= amount
        return goal / self.cost


class InteriorStep:
    """The quadratic model within sums that overlap, by the interior point, whose multipliers are kept."""

    multipliers: Multipliers | None = None

    def __init__(self, feasible: Feasible, weights: Tensor, active: Tensor) -> None:
        self.feasible, self.active = feasible, active
        held = weights.clone()
        held[active] = 0.0
        held[feasible.pinned] = 0.0
        self.rows = row_set(feasible, active, held)
        full = self.rows.full
        if full.any():  # a full row lets nothing in: without its newcomers the program keeps an interior
            stuck = np.asarray(self.rows.rows.most[full].sum(0)).ravel() > 0
            self.active = active[torch.as_tensor(~stuck, device=active.device)]
            self.rows = row_set(feasible, self.active, held)

    def goal(self, hessian: Tensor, gradient: Tensor, current: Tensor) -> Tensor:
        """Where the model is lowest. gradient: (m,) and hessian: (m, m) of f at `current` (m,). Returns (m,)."""
        linear = gradient - hessian @ current
        upper = np.full(len(self.active), self.feasible.upper)
        found = solve_interior(hessian.cpu().numpy(), linear.cpu().numpy(), self.rows.rows, upper)
        self.multipliers = multipliers_of(self.feasible, self.rows, -found.equal, found.most)
        return torch.as_tensor(_settled(found.x), device=gradient.device) if found.optimal else current


def _settled(x: np.ndarray) -> np.ndarray:
    """x (m,) with what is nothing beside the largest at zero."""
    return np.where(x > 1e-10 * x.max(), x, 0.0)


def pivots(feasible: Feasible) -> bool:
    """Whether the sums are of one kind (prompts or strata, and one total), which pivoting can hold."""
    return feasible.laminar and feasible.spread.pivots(feasible)
