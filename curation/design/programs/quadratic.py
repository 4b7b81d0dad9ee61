"""A quadratic program with bounds, group sums and one total, by block principal pivoting.

minimise 1/2 x' H x + c' x   subject to   0 <= x <= upper,   sum of each group = or <= its total,   sum of x = total.

Groups that bind are eliminated through a reference member, the total through one Schur complement. All violated
bounds change sides at once (Portugal, Judice and Vicente 1994); when that stops making progress only a seeded random
share of them does, which breaks cycles far sooner than one change at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LOW, FREE, HIGH = 0, 1, 2
SMALL = 500  # variables up to which another linear system costs next to nothing


@dataclass(frozen=True)
class Polytope:
    """Bounds and sums of a quadratic program over m variables in k groups.

    upper: (m,). group: (m,) group number, or None where there are no groups. group_totals: (k,).
    equality: whether groups sum to their totals (else: at most). total: sum of all x, or None where groups fix it.
    """

    upper: Tensor
    group: Tensor | None
    group_totals: Tensor | None
    equality: bool
    total: float | None


@dataclass(frozen=True)
class Solution:
    """x (m,), whether the optimality conditions hold, and the number of linear systems solved."""

    x: Tensor
    optimal: bool
    systems: int


def solve_quadratic(H: Tensor, c: Tensor, polytope: Polytope, start: Tensor, *, rounds: int | None = None) -> Solution:
    """Minimise the quadratic over the polytope from the partition that `start` (m,), feasible, suggests.

    H: (m, m), positive semidefinite. c: (m,). rounds: linear systems at most (default 60, or 200 for small programs).
    Where `optimal` is false x may violate bounds: callers must check.
    """
    return _Pivoting(H, c, polytope, start).run(rounds or (200 if len(c) <= SMALL else 60))


class _Pivoting:
    def __init__(self, H: Tensor, c: Tensor, polytope: Polytope, start: Tensor) -> None:
        self.H, self.c, self.polytope = H, c, polytope
        self.m = len(c)
        self.upper = polytope.upper
        self.unit = float(start.abs().max().clamp_min(1e-300))
        self.shift = float(H.diagonal().mean()) * 1e-12
        tiny = 1e-9 * self.unit
        self.state = torch.full((self.m,), FREE, dtype=torch.int64, device=c.device)
        self.state[start <= tiny] = LOW
        self.state[start >= self.upper - tiny] = HIGH
        if polytope.group is not None and polytope.group_totals is not None:
            self.group: Tensor = polytope.group
            self.group_totals: Tensor = polytope.group_totals
            self.k = len(self.group_totals)
            sums = self._group_sum(start)
            self.bound = torch.ones(self.k, dtype=torch.bool, device=c.device)
            if not polytope.equality:
                self.bound = sums >= self.group_totals - tiny
        else:
            self.group = torch.zeros(self.m, dtype=torch.int64, device=c.device)
            self.group_totals = torch.full((1,), torch.inf, dtype=c.dtype, device=c.device)
            self.k = 1
            self.bound = torch.zeros(1, dtype=torch.bool, device=c.device)

    def _group_sum(self, x: Tensor) -> Tensor:
        return torch.zeros(self.k, dtype=x.dtype, device=x.device).index_add_(0, self.group, x)

    def run(self, rounds: int) -> Solution:
        best, patience, share = self.m + self.k + 1, 3, 1.0
        generator = torch.Generator().manual_seed(0)  # on the CPU: the same draws on every device
        x = torch.zeros_like(self.c)
        for systems in range(1, rounds + 1):
            solved = self._equality_solve()
            if solved is None:
                return Solution(x, False, systems)
            x, reduced, group_multipliers = solved
            wrong, wrong_groups = self._violations(x, reduced, group_multipliers)
            count = int(wrong.sum()) + int(wrong_groups.sum())
            if count == 0:
                x = x.clamp_min(0.0).minimum(self.upper)
                return Solution(x, self._meets_sums(x), systems)
            if count < best:
                best, patience, share = count, 3, 1.0
            else:
                patience -= 1
                share = 1.0 if patience > 0 else max(0.25, 0.75 * share)
            if share < 1.0:
                wrong, wrong_groups = _some(wrong, wrong_groups, share, generator)
            self._flip(x, wrong, wrong_groups)
        return Solution(x, False, rounds)

    def _meets_sums(self, x: Tensor) -> bool:
        """Whether total and binding groups are met: a badly conditioned system can miss them."""
        slack = 1e-9 * max(self.unit, float(x.sum()))
        if self.polytope.total is not None and abs(float(x.sum()) - self.polytope.total) > slack:
            return False
        return bool(((self._group_sum(x) - self.group_totals).abs()[self.bound] <= slack).all())

    def _violations(self, x: Tensor, reduced: Tensor, group_multipliers: Tensor) -> tuple[Tensor, Tensor]:
        tol_x = 1e-10 * self.unit
        tol_g = 1e-9 * float(self.c.abs().max().clamp_min(1e-300))
        free = self.state == FREE
        wrong = free & ((x < -tol_x) | (x > self.upper + tol_x))
        wrong |= (self.state == LOW) & (reduced < -tol_g)
        wrong |= (self.state == HIGH) & (reduced > tol_g)
        wrong_groups = torch.zeros_like(self.bound)
        if self.polytope.group is not None and not self.polytope.equality:
            clipped = self._group_sum(x.clamp_min(0.0).minimum(self.upper))  # over its own bound: not the group's
            wrong_groups = ~self.bound & (clipped > self.group_totals + tol_x)
            wrong_groups |= self.bound & (group_multipliers < -tol_g)
        return wrong, wrong_groups

    def _flip(self, x: Tensor, wrong: Tensor, wrong_groups: Tensor) -> None:
        free = self.state == FREE
        self.state[wrong & free & (x < 0)] = LOW
        self.state[wrong & free & (x > 0)] = HIGH
        self.state[wrong & ~free] = FREE
        self.bound = self.bound ^ wrong_groups

    def _ensure_free(self) -> None:
        """A binding group keeps one free member where its total is not met by members at their bounds."""
        if not bool(self.bound.any()):
            return
        free_count = self._group_sum((self.state == FREE).to(self.c))
        for g in ((free_count == 0) & self.bound).nonzero().squeeze(1).tolist():
            members = (self.group == g).nonzero().squeeze(1)
            at_high = members[self.state[members] == HIGH]
            rest = float(self.group_totals[g] - self.upper[at_high].sum())
            at_low = members[self.state[members] == LOW]
            if rest > 1e-10 * self.unit and len(at_low):
                self.state[at_low[self.gradient[at_low].argmin()]] = FREE
            elif len(at_high):
                self.state[at_high[self.gradient[at_high].argmax()]] = FREE
            elif len(at_low):
                self.state[at_low[self.gradient[at_low].argmin()]] = FREE

    def _open_one(self, total: float) -> bool:
        """Let something outside the binding groups move, where the total could not be met otherwise."""
        in_bound = self.bound[self.group]
        at_high = self.upper.nan_to_num(posinf=0.0) * ((self.state == HIGH) & ~in_bound)
        missing = total - float(self.group_totals[self.bound].sum() + at_high.sum())
        wanted = LOW if missing > 0 else HIGH
        outside = (self.state == wanted) & ~in_bound
        if abs(missing) > 1e-10 * self.unit and bool(outside.any()):
            sign = 1.0 if wanted == LOW else -1.0
            self.state[(sign * self.gradient).masked_fill(~outside, torch.inf).argmin()] = FREE
            return True
        members = (self.state == FREE) & in_bound
        if not bool(members.any()):
            return False
        self.bound[self.group[self.gradient.masked_fill(~members, -torch.inf).argmax()]] = False
        return True

    def _equality_solve(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Minimise with the present partition held. Returns x, reduced costs (m,) and group multipliers (k,)."""
        self.gradient = self.c + self.H @ (self.upper.nan_to_num(posinf=0.0) * (self.state == HIGH))
        self._ensure_free()
        total = self.polytope.total
        free_mask = self.state == FREE
        in_bound = self.bound[self.group]
        if total is not None and not bool((free_mask & ~in_bound).any()):
            if not self._open_one(total):
                return None
            free_mask, in_bound = self.state == FREE, self.bound[self.group]
        fixed = torch.where(self.state == HIGH, self.upper, torch.zeros_like(self.upper))
        free = free_mask.nonzero().squeeze(1)
        if not len(free):
            return None
        reference = torch.full((self.k,), -1, dtype=torch.int64, device=free.device)
        bound_free = free[in_bound[free]]
        reference[self.group[bound_free]] = bound_free
        is_reference = torch.zeros(self.m, dtype=torch.bool, device=free.device)
        is_reference[reference[reference >= 0]] = True
        moving = free[~is_reference[free]]
        partner = torch.where(in_bound[moving], reference[self.group[moving]], -1)
        paired = (partner >= 0).to(self.c)
        safe = partner.clamp_min(0)

        particular = fixed.clone()
        rest = self.group_totals - self._group_sum(fixed)
        has_reference = (reference >= 0).nonzero().squeeze(1)
        particular[reference[has_reference]] = rest[has_reference]
        gradient = self.c + self.H @ particular
        multiplier = torch.zeros((), dtype=self.c.dtype, device=self.c.device)
        x = particular
        if len(moving):
            rows = self.H.index_select(0, moving)
            if bool((partner >= 0).any()):
                rows = rows.sub_(self.H.index_select(0, safe).mul_(paired[:, None]))
                reduced_H = rows.index_select(1, moving).sub_(rows.index_select(1, safe).mul_(paired))
            else:
                reduced_H = rows.index_select(1, moving)
            reduced_H.diagonal().add_(self.shift)
            rhs = -(gradient[moving] - gradient[safe] * paired)
            factor = self._factor(reduced_H)
            if factor is None:
                return None
            coupling = 1.0 - paired
            if total is not None and bool((coupling > 0).any()):
                both = torch.cholesky_solve(torch.stack([rhs, coupling], dim=1), factor)
                need = total - float(particular.sum())
                multiplier = (both[:, 0] @ coupling - need) / (both[:, 1] @ coupling)
                y = both[:, 0] - multiplier * both[:, 1]
            else:
                y = torch.cholesky_solve(rhs[:, None], factor)[:, 0]
            x = particular.clone()
            x[moving] = y
            x.index_add_(0, safe, -y * paired)
            gradient = gradient + y @ rows  # H is symmetric
        multipliers = torch.zeros(self.k, dtype=self.c.dtype, device=self.c.device)
        multipliers[has_reference] = -(gradient[reference[has_reference]] + multiplier)
        reduced = gradient + multiplier + multipliers[self.group]
        return x, reduced, multipliers

    def _factor(self, matrix: Tensor) -> Tensor | None:
        shift = self.shift
        for _ in range(6):
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if not int(failed):
                return factor
            shift = max(shift, 1e-300) * 100
            matrix = matrix.clone()
            matrix.diagonal().add_(shift)
        return None


def _some(wrong: Tensor, wrong_groups: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random share of the violations, at least one of them."""
    both = torch.cat([wrong, wrong_groups])
    draw = torch.rand(len(both), generator=generator, dtype=torch.float32).to(both.device)
    chosen = both & (draw < share)
    chosen[draw.masked_fill(~both, 2.0).argmin()] = True
    return chosen[: len(wrong)], chosen[len(wrong) :]
