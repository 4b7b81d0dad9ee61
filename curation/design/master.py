"""The restricted master: Newton steps over the active pairs, every other weight held (METHOD.md section 7)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from curation.design.criterion import Criterion
from curation.design.feasible import Feasible
from curation.design.quadratic import Polytope, solve_quadratic


class Master:
    """Weights of a few active pairs, to be improved.

    weights: (pairs,) the whole design. information: its (d, d). active: (m,) pair numbers. The columns A (m, d) are
    the only place where pair vectors are held together; a prompt whose total leaves it no choice is left out.
    """

    def __init__(
        self, criterion: Criterion, feasible: Feasible, weights: Tensor, information: Tensor, active: Tensor
    ) -> None:
        self.criterion, self.feasible, self.weights, self.information = criterion, feasible, weights, information
        prompt = torch.as_tensor(feasible.geometry.prompt_of(active), device=active.device)
        totals, movable = self._totals(active, prompt)
        self.active, prompt, totals = active[movable], prompt[movable], totals[movable]
        self.columns = feasible.geometry.vectors(self.active)
        self.current = weights[self.active].clone()
        self.polytope = self._polytope(prompt, totals)

    def _totals(self, active: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """What each active pair's prompt may hold within the master, and which active pairs can move at all."""
        feasible, weights, prompts = self.feasible, self.weights, self.feasible.geometry.prompts
        everything = torch.ones_like(active, dtype=torch.bool)
        if not feasible.per_prompt:
            return torch.full_like(weights[active], math.inf), everything
        zeros = torch.zeros(prompts, dtype=torch.float64, device=weights.device)
        inside = zeros.index_add(0, prompt, weights[active])
        if feasible.spread == "balanced":  # one active pair and nothing to trade with: a constant
            return inside[prompt], torch.bincount(prompt, minlength=prompts)[prompt] > 1
        chosen = weights > 0
        if feasible.blocked is not None:
            chosen &= ~feasible.blocked
        support = chosen.nonzero().squeeze(1)
        owner = torch.as_tensor(feasible.geometry.prompt_of(support), device=weights.device)
        used = zeros.index_add(0, owner, weights[support])
        totals = torch.maximum(feasible.totals - used + inside, inside)
        return totals[prompt], totals[prompt] > 1e-9 * feasible.totals[prompt]  # the rest of a full prompt is held

    def _polytope(self, prompt: Tensor, totals: Tensor) -> Polytope:
        feasible = self.feasible
        upper = torch.full_like(self.current, feasible.upper)
        everything = float(self.current.sum())
        if not feasible.per_prompt or not len(self.active):
            return Polytope(upper, None, None, False, everything)
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

    def improve(self, target: float, *, steps: int = 12) -> Tensor:
        """Newton steps until the predicted decrease of f is under target. Returns the new weights (pairs,)."""
        if not len(self.active):
            return self.weights
        information = self.information
        for _ in range(steps):
            point = self.criterion.at(information)
            gradient = -(self.columns @ point.root).square().sum(1)
            half = torch.linalg.solve_triangular(point.factor, self.columns.T, upper=False).T
            across = self.columns @ point.root
            hessian = 2 * (half @ half.T) * (across @ across.T)
            linear = gradient - hessian @ self.current
            solution = solve_quadratic(hessian, linear, self.polytope, self.current)
            goal = solution.x if solution.optimal else self._vertex(gradient)
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
        rest_total = float(self.current.sum()) if polytope.total is None else polytope.total
        rest = None if polytope.group_totals is None else polytope.group_totals.clone()
        for e in gradient.argsort().tolist():
            amount = min(rest_total, float(polytope.upper[e]))
            if rest is not None and polytope.group is not None:
                amount = min(amount, float(rest[polytope.group[e]]))
                rest[polytope.group[e]] -= amount
            goal[e] = amount
            rest_total -= amount
        return goal
