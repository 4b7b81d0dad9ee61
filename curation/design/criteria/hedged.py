"""Two criteria hedged: the weighted geometric mean of two trace criteria that bet differently.

Source: docs/method.md section 3.

f = f1^a f2^b, b = 1 - a, f_i = tr(M_i S_i^-1), S_i = Sigma + Lambda_i: a design that is good under a light and a heavy
ridge, or for two Fisher matrices, without a unit in which the two would have to be added.

The certificate f* >= f^2 / (f + g) holds as it stands, g = max_v <v, q> - <w, q> with -q the gradient of f:
1. 1/f_i is concave in S. With M = R R' (R of full column rank) S -> C = (R' S^-1 R)^-1 is concave in the order of
   matrices (a Schur complement), and C -> 1 / tr(C^-1) is concave and rises with C (Kiefer's phi_p, p = -1).
2. The geometric mean of positive concave functions is concave: phi = 1/f = (1/f1)^a (1/f2)^b is.
3. A concave function lies under its tangent: phi* <= phi(w) + max_v phi'(w; v - w), and phi' = -f'/f^2, so that
   1/f* <= 1/f + g/f^2, which is the bound. And f = 1/phi is convex, being the inverse of a positive concave function.

With u_i = gradient of f_i / f_i the gradient of f is f (a u1 + b u2) and its Hessian
f (a H1/f1 + b H2/f2 - a b (u1 - u2)(u1 - u2)'): the two Hessians and one rank-one term, all over the same columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from curation.design.criteria.trace import Criterion, Point, Rational
from curation.errors import DesignError


@dataclass(frozen=True)
class Hedged:
    """f = first^share second^(1 - share); solvers, certificate and draws take it like a Criterion.

    Raises DesignError where the share is outside (0, 1) or the two are of different spaces.
    """

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
        return HedgedPoint(value, root.contiguous(), one, two, self.share)

    def along(self, information: Tensor, direction: Tensor) -> HedgedLine:
        """f at information + t direction."""
        lines = (self.first.along(information, direction), self.second.along(information, direction))
        return HedgedLine(*lines, self.share)

    def _mean(self, one: float, two: float) -> float:
        return float(one**self.share * two ** (1 - self.share))


@dataclass(frozen=True)
class HedgedPoint:
    """f and its derivatives at one Sigma. root: (d, d), root root' = B = f (a B1/f1 + b B2/f2): a pass over the pool
    costs what it costs for one criterion."""

    value: float
    root: Tensor
    one: Point
    two: Point
    share: float

    @property
    def B(self) -> Tensor:
        """(d, d): the gradient of f is -z' B z for every pair."""
        return self.root @ self.root.T

    def curvature(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (m,) and Hessian (m, m) in the weights of pairs with vectors columns (m, d)."""
        return self._together(self.one.curvature(columns), self.two.curvature(columns))

    def mixture(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (k,) and Hessian (k, k) in the weights of information matrices (k, d, d)."""
        return self._together(self.one.mixture(matrices), self.two.mixture(matrices))

    def _together(self, one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        a, b = self.share, 1 - self.share
        u, v = one[0] / self.one.value, two[0] / self.two.value
        hessian = one[1].mul_(a / self.one.value).add_(two[1], alpha=b / self.two.value)
        hessian.addr_(u - v, u - v, alpha=-a * b)
        return self.value * (a * u + b * v), hessian.mul_(self.value)


@dataclass(frozen=True)
class HedgedLine:
    """log f along a segment."""

    one: Rational
    two: Rational
    share: float

    def slope(self, t: float) -> float:
        """d log f / dt."""
        return self.share * self.one.slope(t) / self.one.value(t) + (1 - self.share) * self.two.slope(t) / (
            self.two.value(t)
        )
