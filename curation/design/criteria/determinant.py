"""D-optimality, f(w) = det(S)^(-1/d), S = Sigma_D + Lambda: every direction alike, whatever the Fisher matrix says.

1/f = det(S)^(1/d) is concave in S (Minkowski), so the certificate of docs/method.md section 6 holds. With
l_i = z_i' S^-1 z_i the gradient in the weights is -(f/d) l_i, and the Hessian (f/d) ((z_i' S^-1 z_j)^2 + l_i l_j / d).
Without a prior the optimum has max l = d (Kiefer and Wolfowitz 1960).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from curation.design.criteria.base import cholesky


@dataclass(frozen=True)
class Determinant:
    """f = det(Sigma + prior)^(-1/d). prior: (d, d)."""

    prior: Tensor

    def value(self, information: Tensor) -> float:
        """f at an information matrix Sigma_D (d, d). Raises DesignError where S is singular."""
        return _value(cholesky(information + self.prior))

    def at(self, information: Tensor) -> DeterminantPoint:
        """Value and derivatives at Sigma_D (d, d)."""
        factor = cholesky(information + self.prior)
        value, eye = _value(factor), torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        root = torch.linalg.solve_triangular(factor, eye, upper=False).T * (value / len(factor)) ** 0.5
        return DeterminantPoint(value, factor, root.contiguous())

    def along(self, information: Tensor, direction: Tensor) -> Spectrum:
        """f at information + t direction: the eigenvalues of L^-1 D L^-T say it, S = L L'."""
        factor = cholesky(information + self.prior)
        half = torch.linalg.solve_triangular(factor, direction, upper=False)
        whitened = torch.linalg.solve_triangular(factor, half.T, upper=False)
        return Spectrum(torch.linalg.eigvalsh((whitened + whitened.T) / 2))


@dataclass(frozen=True)
class Spectrum:
    """log f along a segment, up to a constant: -(1/d) sum_k log(1 + t values_k)."""

    values: Tensor

    def slope(self, t: float) -> float:
        """d log f / dt, which rises with t."""
        return -float((self.values / (1 + t * self.values)).mean())


@dataclass(frozen=True)
class DeterminantPoint:
    """f and its derivatives at one S. factor: Cholesky of S. root: (d, d), root root' = (f/d) S^-1."""

    value: float
    factor: Tensor
    root: Tensor

    @property
    def B(self) -> Tensor:
        """(d, d): the gradient of f is -z' B z for every pair."""
        return self.root @ self.root.T

    def curvature(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (m,) and Hessian (m, m) in the weights of pairs with vectors columns (m, d)."""
        half = torch.linalg.solve_triangular(self.factor, columns.T, upper=False)
        products = half.T @ half
        return self._of(products.diagonal().clone(), products.square_())

    def mixture(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (k,) and Hessian (k, k) in the weights of information matrices (k, d, d)."""
        inner = torch.cholesky_solve(matrices, self.factor)  # S^-1 V_k
        products = inner.flatten(1) @ inner.transpose(1, 2).flatten(1).T  # tr(S^-1 V_k S^-1 V_l)
        return self._of(inner.diagonal(dim1=1, dim2=2).sum(1), products)

    def _of(self, traces: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        scale, size = self.value / len(self.factor), len(self.factor)
        return -scale * traces, products.addr_(traces, traces, alpha=1 / size).mul_(scale)


def _value(factor: Tensor) -> float:
    return float(torch.exp(-2 * factor.diagonal().log().mean()))
