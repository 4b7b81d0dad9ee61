"""The restricted master: Newton steps over the active pairs, every other weight held (docs/method.md section 7)."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.programs.interior import Rows, solve_interior
from curation.design.programs.quadratic import Polytope, solve_quadratic
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import RowSet, multipliers_of, row_set
from curation.design.sets.multipliers import Multipliers

INTERIOR_LIMIT = 1500  # columns up to which an interior point stands in for pivoting that does not settle


class Master:
    """Weights of a few active pairs, to be improved.

    weights: (pairs,) the whole design. information: its (d, d). active: (m,) pair numbers. The columns A (m, d) are
    the only place where pair vectors are held together; a prompt whose total leaves it no choice is left out. Sums of
    one kind are pivoted (quadratic.py), overlapping ones take the interior point. `prices` are its multipliers then.
    """

    def __init__(
        self, criterion: Criterion, feasible: Feasible, weights: Tensor, information: Tensor, active: Tensor
    ) -> None:
        self.criterion, self.feasible, self.weights, self.information = criterion, feasible, weights, information
        self.prices: Multipliers | None = None
        self.rows: RowSet | None = None
        prompt = torch.as_tensor(feasible.geometry.prompt_of(active), device=active.device)
        if pivots(feasible):
            totals, movable = self._totals(active, prompt)
            self.active, prompt, totals = active[movable], prompt[movable], totals[movable]
        else:
            self.active = active
            held = weights.clone()
            held[active] = 0.0
            held[feasible.pinned] = 0.0
            self.rows = row_set(feasible, active, held)
            full = self.rows.full
            if full.any():  # a full row lets nothing in: without its newcomers the program keeps an interior
                stuck = np.asarray(self.rows.rows.most[full].sum(0)).ravel() > 0
                self.active = active[torch.as_tensor(~stuck, device=active.device)]
                self.rows = row_set(feasible, self.active, held)
        self.columns = feasible.geometry.vectors(self.active)
        self.current = weights[self.active].clone()
        self.price = None if feasible.price is None else feasible.price[self.active]
        if self.rows is None:
            self.polytope = self._polytope(prompt, totals)

    def _totals(self, active: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """What each active pair's prompt may hold within the master, and which active pairs can move at all."""
        feasible, weights, prompts = self.feasible, self.weights, self.feasible.geometry.prompts
        everything = torch.ones_like(active, dtype=torch.bool)
        if feasible.spread == "free":
            return torch.full_like(weights[active], math.inf), everything
        zeros = torch.zeros(prompts, dtype=torch.float64, device=weights.device)
        inside = zeros.index_add(0, prompt, feasible.spend(weights[active], active))
        if feasible.spread == "balanced":  # one active pair and nothing to trade with: a constant
            return inside[prompt], torch.bincount(prompt, minlength=prompts)[prompt] > 1
        support = weights.nonzero().squeeze(1)
        if feasible.blocked is not None:
            support = support[~feasible.blocked[support]]
        owner = torch.as_tensor(feasible.geometry.prompt_of(support), device=weights.device)
        used = zeros.index_add(0, owner, weights[support])
        totals = torch.maximum(feasible.totals - used + inside, inside)
        room = torch.isinf(totals) | (totals > 1e-9 * feasible.totals)
        return totals[prompt], room[prompt]  # the rest of a full prompt is held

    def _polytope(self, prompt: Tensor, totals: Tensor) -> Polytope:
        """Bounds and sums in units of spend."""
        feasible = self.feasible
        spent = self._spend(self.current)
        upper = self._spend(torch.full_like(self.current, feasible.upper))
        everything = float(spent.sum())
        if not len(self.active):
            return Polytope(upper, None, None, False, everything)
        if feasible.spread == "free":
            if len(feasible.block_totals) == 1:
                return Polytope(upper, None, None, False, everything)
            present, group = feasible.block[prompt].unique(return_inverse=True)
            sums = torch.zeros(len(present), dtype=torch.float64, device=prompt.device).index_add_(0, group, spent)
            return Polytope(upper, group, sums, True, None)
        present, group = prompt.unique(return_inverse=True)
        group_totals = torch.zeros(len(present), dtype=torch.float64, device=prompt.device)
        group_totals[group] = totals
        upper = torch.where(upper >= totals * (1 - 1e-12), torch.full_like(upper, math.inf), upper)
        if feasible.spread == "balanced":
            return Polytope(upper, group, group_totals, True, None)
        if float(group_totals.sum()) <= everything * (1 + 1e-12):  # every cap is met: sums are fixed
            return Polytope(upper, group, group_totals, True, None)
        reach = torch.zeros_like(group_totals).index_add_(0, group, upper)
        group_totals = torch.where(reach <= group_totals, torch.full_like(reach, math.inf), group_totals)
        return Polytope(upper, group, group_totals, False, everything)

    def _spend(self, weights: Tensor) -> Tensor:
        return weights if self.price is None else weights * self.price

    def improve(self, target: float, *, steps: int = 12) -> Tensor:
        """Newton steps until the predicted decrease of f is under target. Returns the new weights (pairs,)."""
        if not len(self.active):
            return self.weights
        information = self.information
        for _ in range(steps):
            point = self.criterion.at(information)
            gradient, hessian = point.curvature(self.columns)
            goal = self._goal(hessian, gradient)
            direction = goal - self.current
            slope = float(gradient @ direction)
            if slope >= 0 or -slope < 1e-15 * point.value:
                break
            change = self.columns.T @ (self.columns * direction[:, None])
            step = self._step(information, change, point.value, slope)
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

    def _goal(self, hessian: Tensor, gradient: Tensor) -> Tensor:
        """Where the quadratic model is lowest within the constraints. Returns (m,)."""
        linear = gradient - hessian @ self.current
        if self.rows is not None:
            upper = np.full(len(self.active), self.feasible.upper)
            found = solve_interior(hessian.cpu().numpy(), linear.cpu().numpy(), self.rows.rows, upper)
            self.prices = multipliers_of(self.feasible, self.rows, -found.equal_price, found.most_price)
            if not found.optimal:
                return self.current
            x = np.where(found.x > 1e-10 * found.x.max(), found.x, 0.0)
            return torch.as_tensor(x, device=gradient.device)
        if self.price is not None:  # in units of spend every sum has coefficients of one
            hessian, linear = hessian / (self.price[:, None] * self.price), linear / self.price
        solution = solve_quadratic(hessian, linear, self.polytope, self._spend(self.current))
        if solution.optimal:
            return solution.x if self.price is None else solution.x / self.price
        goal = self._by_interior(hessian, linear) if len(self.active) <= INTERIOR_LIMIT else None
        return self._vertex(gradient) if goal is None else goal

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
        x = torch.as_tensor(np.where(found.x > 1e-10 * found.x.max(), found.x, 0.0), device=hessian.device)
        return x if self.price is None else x / self.price

    def _step(self, information: Tensor, change: Tensor, value: float, slope: float) -> float:
        step = 1.0
        while step > 1e-8:
            if self.criterion.value(information + step * change) <= value + 1e-4 * step * slope:
                return step
            step /= 2
        return 0.0

    def _vertex(self, gradient: Tensor) -> Tensor:
        """Best vertex of the master's polytope, greedily: the direction to fall back on. Returns (m,)."""
        polytope = self.polytope
        goal = torch.zeros_like(self.current)
        worth = gradient if self.price is None else gradient / self.price
        rest_total = float(self._spend(self.current).sum()) if polytope.total is None else polytope.total
        rest = None if polytope.group_totals is None else polytope.group_totals.clone()
        for e in worth.argsort().tolist():
            amount = min(rest_total, float(polytope.upper[e]))
            if rest is not None and polytope.group is not None:
                amount = min(amount, float(rest[polytope.group[e]]))
                rest[polytope.group[e]] -= amount
            goal[e] = amount
            rest_total -= amount
        return goal if self.price is None else goal / self.price


def pivots(feasible: Feasible) -> bool:
    """Whether the sums are of one kind (prompts or strata, and one total), which pivoting can hold."""
    return feasible.laminar and not (feasible.spread == "capped" and len(feasible.block_totals) > 1)
