"""Two criteria hedged: the weighted geometric mean of two criteria that bet differently.

Source: docs/method.md section 3.

f = f1^a f2^b, b = 1 - a, say of two f_i = tr(M_i S_i^-1), S_i = Sigma + Lambda_i: a design that is good under a light
and a heavy ridge, or for two Fisher matrices, or for trace and determinant, without a unit in which the two would have
to be added. There is no `PLUG`: whoever hedges says what.

The certificate f* >= f^2 / (f + g) holds as it stands, g = max_v <v, q> - <w, q> with -q the gradient of f:
1. 1/f_i is concave in S, as of every criterion here. Of the trace: with M = R R' (R of full column rank)
   S -> C = (R' S^-1 R)^-1 is concave in the order of matrices (a Schur complement), and C -> 1 / tr(C^-1) is concave
   and rises with C (Kiefer's phi_p, p = -1).
2. The geometric mean of positive concave functions is concave: phi = 1/f = (1/f1)^a (1/f2)^b is.
3. A concave function lies under its tangent: phi* <= phi(w) + max_v phi'(w; v - w), and phi' = -f'/f^2, so that
   1/f* <= 1/f + g/f^2, which is the bound. And f = 1/phi is convex, being the inverse of a positive concave function.

With u_i = gradient of f_i / f_i the gradient of f is f (a u1 + b u2) and its Hessian
f (a H1/f1 + b H2/f2 - a b (u1 - u2)(u1 - u2)'): the two Hessians and one rank-one term, all over the same columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from curation.design.criteria.base import Criterion, Line, Point, cholesky
from curation.errors import DesignError


@dataclass(frozen=True)
class Hedged(Criterion):
    """f = first^share second^(1 - share). fisher, prior: the same mean of both, for explanations only.

    Raises DesignError where the share is outside (0, 1) or the two are of different spaces or degrees.
    """

    fisher: Tensor = field(init=False)
    prior: Tensor = field(init=False)
    first: Criterion
    second: Criterion
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise DesignError(
                f"a share of {self.share:g} hedges nothing; give the first criterion more than 0, less than 1."
            )
        if self.first.fisher.shape != self.second.fisher.shape:
            raise DesignError(
                f"criteria of {len(self.first.fisher)} and {len(self.second.fisher)} dimensions cannot be hedged; "
                "both must be of one space."
            )
        if self.first.degree != self.second.degree:
            raise DesignError(
                f"criteria of degrees {self.first.degree:g} and {self.second.degree:g} cannot be hedged; choose two "
                "that answer alike to more labels."
            )
        a, b = self.share, 1 - self.share
        object.__setattr__(self, "fisher", a * self.first.fisher + b * self.second.fisher)
        object.__setattr__(self, "quick", self.first.quick and self.second.quick)
        object.__setattr__(self, "prior", a * self.first.prior + b * self.second.prior)

    def value(self, information: Tensor) -> float:
        """f at an information matrix Sigma_D (d, d)."""
        return self._mean(self.first.value(information), self.second.value(information))

    def at(self, information: Tensor) -> HedgedPoint:
        """Value and derivatives at Sigma_D (d, d)."""
        one, two = self.first.at(information), self.second.at(information)
        value = self._mean(one.value, two.value)
        parts = ((one, value * self.share / one.value), (two, value * (1 - self.share) / two.value))
        stacked = torch.cat([point.root * weight**0.5 for point, weight in parts], dim=1)
        root = torch.linalg.qr(stacked.T, mode="r").R.T if stacked.shape[1] > stacked.shape[0] else stacked
        factor = cholesky(information + self.prior)
        return HedgedPoint(self, information, value, root.contiguous(), factor, one, two, self.share)

    def along(self, information: Tensor, direction: Tensor) -> HedgedLine:
        """f at information + t direction."""
        lines = (self.first.along(information, direction), self.second.along(information, direction))
        return HedgedLine(*lines, self.share)

    def under(self, factor: float) -> Self:
        """Both under `factor` times their priors."""
        return type(self)(self.first.under(factor), self.second.under(factor), self.share)

    def _mean(self, one: float, two: float) -> float:
        return float(one**self.share * two ** (1 - self.share))


@dataclass(frozen=True)
class HedgedPoint(Point):
    """f and its derivatives at one Sigma. root: (d, d), root root' = B = f (a B1/f1 + b B2/f2): a pass over the pool
    costs what it costs for one criterion."""

    one: Point
    two: Point
    share: float

    def curvature(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (m,) and Hessian (m, m) in the weights of pairs with vectors columns (m, d)."""
        return self._together(self.one.curvature(columns), self.two.curvature(columns))

    def mixture(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (k,) and Hessian (k, k) in the weights of information matrices (k, d, d)."""
        return self._together(self.one.mixture(matrices), self.two.mixture(matrices))

    def fall(self, vectors: Tensor, n: float, labels: int = 1) -> Tensor:
        """f (1 - (1 - fall1/f1)^a (1 - fall2/f2)^b)."""
        return self._fallen(self.one.fall(vectors, n, labels), self.two.fall(vectors, n, labels))

    def swap(self, leaving: Tensor, entering: Tensor, n: float, among: Tensor | None = None) -> Tensor:
        """The same of an exchange, exact for all."""
        return self._fallen(self.one.swap(leaving, entering, n), self.two.swap(leaving, entering, n))

    def _fallen(self, one: Tensor, two: Tensor) -> Tensor:
        logs = torch.log1p(-one / self.one.value), torch.log1p(-two / self.two.value)
        return -self.value * torch.expm1(self.share * logs[0] + (1 - self.share) * logs[1])

    def _together(self, one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        a, b = self.share, 1 - self.share
        u, v = one[0] / self.one.value, two[0] / self.two.value
        hessian = one[1].mul_(a / self.one.value).add_(two[1], alpha=b / self.two.value)
        hessian.addr_(u - v, u - v, alpha=-a * b)
        return self.value * (a * u + b * v), hessian.mul_(self.value)


@dataclass(frozen=True)
class HedgedLine:
    """f along a segment."""

    one: Line
    two: Line
    share: float

    def value(self, t: float) -> float:
        """f(t)."""
        return float(self.one.value(t) ** self.share * self.two.value(t) ** (1 - self.share))

    def slope(self, t: float) -> float:
        """df/dt."""
        one, two = self.one.slope(t) / self.one.value(t), self.two.slope(t) / self.two.value(t)
        return self.value(t) * (self.share * one + (1 - self.share) * two)

    def growing(self) -> HedgedLine:
        """Of both."""
        return HedgedLine(self.one.growing(), self.two.growing(), self.share)
