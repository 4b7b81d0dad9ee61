"""A criterion of one file, as somebody might add it: f = (tr(S^-2) / d)^(1/2), Kiefer's phi of p = -2.

It says no more than it must, so that everything else is what `curation/design/criteria/base.py` has for any criterion.
With P_k = A S^-k A' the gradient is -diag(P_3) / (d f), and the second derivative of f^2 2 (2 P_1 o P_3 + P_2 o P_2) / d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from curation.design.criteria.base import Criterion, Kind, Point, cholesky


@dataclass(frozen=True)
class QuadraticMean(Criterion):
    """The root mean square of the variances of all directions."""

    def value(self, information: Tensor) -> float:
        """f."""
        inverse = torch.cholesky_inverse(cholesky(information + self.prior))
        return float(inverse.square().sum() / len(inverse)) ** 0.5

    def at(self, information: Tensor) -> QuadraticMeanPoint:
        """Value and derivatives."""
        value, factor = self.value(information), cholesky(information + self.prior)
        inverse = torch.cholesky_inverse(factor)
        root = inverse @ torch.linalg.solve_triangular(factor, torch.eye(len(factor)).to(factor), upper=False).T
        return QuadraticMeanPoint(self, information, value, root / (len(factor) * value) ** 0.5, factor)


class QuadraticMeanPoint(Point):
    """At one S."""

    def curvature(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient and Hessian over pairs."""
        one = torch.cholesky_inverse(self.factor)
        P1, P2, P3 = (columns @ power @ columns.T for power in (one, one @ one, one @ one @ one))
        return self._of(P3.diagonal(), 2 * P1 * P3 + P2 * P2)

    def mixture(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """The same over information matrices."""
        one = torch.cholesky_inverse(self.factor)
        two, three = one @ one, one @ one @ one

        def across(left: Tensor, right: Tensor) -> Tensor:  # tr(left V_k right V_l)
            return torch.einsum("kab,lba->kl", left @ matrices, right @ matrices)

        bent = across(one, three) + across(two, two) + across(three, one)
        return self._of((matrices * three).sum((1, 2)), bent)

    def _of(self, traces: Tensor, bent: Tensor) -> tuple[Tensor, Tensor]:
        size, f = len(self.factor), self.value
        slope = -traces / (size * f)
        return slope, bent / (size * f) - torch.outer(slope, slope) / f


PLUG = Kind(
    name="quadratic-mean",
    rank=90,
    title="quadratic mean of the variances",
    unit="(tr(S^-2) / d)^(1/2)",
    says="The least known directions weigh most.",
    make=QuadraticMean,
)
