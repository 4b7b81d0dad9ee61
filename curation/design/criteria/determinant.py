"""D-optimality, f(w) = det(S)^(-1/d), S = Sigma_D + Lambda: every direction alike, whatever the Fisher matrix says.

1/f = det(S)^(1/d) is concave in S (Minkowski), so the certificate of docs/method.md section 6 holds. With
l_i = z_i' S^-1 z_i the gradient in the weights is -(f/d) l_i, and the Hessian (f/d) ((z_i' S^-1 z_j)^2 + l_i l_j / d).
A label of a pair raises det S by the factor 1 + l/n (the determinant lemma); an exchange by that of a 2 x 2 matrix.
Without a prior the optimum has max l = d (Kiefer and Wolfowitz 1960).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from curation.design.criteria.base import Criterion, Kind, Point, cholesky
from curation.design.geometry import Geometry


@dataclass(frozen=True)
class Determinant(Criterion):
    """f = det(Sigma + prior)^(-1/d). fisher: what explanations name directions by; f does not look at it."""

    quick = True

    def value(self, information: Tensor) -> float:
        """f at an information matrix Sigma_D (d, d). Raises DesignError where S is singular."""
        return _value(cholesky(information + self.prior))

    def at(self, information: Tensor) -> DeterminantPoint:
        """Value and derivatives at Sigma_D (d, d)."""
        factor = cholesky(information + self.prior)
        value, eye = _value(factor), torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        root = torch.linalg.solve_triangular(factor, eye, upper=False).T * (value / len(factor)) ** 0.5
        return DeterminantPoint(self, information, value, root.contiguous(), factor)

    def along(self, information: Tensor, direction: Tensor) -> Spectrum:
        """f at information + t direction: the eigenvalues of L^-1 D L^-T say it, S = L L'."""
        factor = cholesky(information + self.prior)
        half = torch.linalg.solve_triangular(factor, direction, upper=False)
        whitened = torch.linalg.solve_triangular(factor, half.T, upper=False)
        return Spectrum(torch.linalg.eigvalsh((whitened + whitened.T) / 2), _value(factor))


@dataclass(frozen=True)
class Spectrum:
    """f along a segment: log f = log start - (1/d) sum_k log(1 + t values_k)."""

    values: Tensor
    start: float

    def value(self, t: float) -> float:
        """f(t)."""
        return self.start * float(torch.exp(-torch.log1p(t * self.values).mean()))

    def slope(self, t: float) -> float:
        """df/dt."""
        return -float((self.values / (1 + t * self.values)).mean()) * self.value(t)

    def growing(self) -> Spectrum:
        """Without values below zero."""
        return replace(self, values=self.values.clamp_min(0.0))


class DeterminantPoint(Point):
    """f and its derivatives at one S. root: (d, d), root root' = (f/d) S^-1."""

    def curvature(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (m,) and Hessian (m, m) in the weights of pairs with vectors columns (m, d)."""
        half = self._half(columns)
        products = half.T @ half
        return self._of(products.diagonal().clone(), products.square_())

    def mixture(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (k,) and Hessian (k, k) in the weights of information matrices (k, d, d)."""
        inner = torch.cholesky_solve(matrices, self.factor)  # S^-1 V_k
        products = inner.flatten(1) @ inner.transpose(1, 2).flatten(1).T  # tr(S^-1 V_k S^-1 V_l)
        return self._of(inner.diagonal(dim1=1, dim2=2).sum(1), products)

    def fall(self, vectors: Tensor, n: float, labels: int = 1) -> Tensor:
        """f (1 - (1 + l/n)^(-1/d)), and of a label taken away with -l."""
        return self._by(labels * self._half(vectors).square().sum(0) / n)

    def falls(self, geometry: Geometry, n: float, among: Tensor | None = None) -> Tensor:
        """The same of every pair, exact for all."""
        return self._by(geometry.quadratic(self.root) * (len(self.factor) / self.value / n))

    def swap(self, leaving: Tensor, entering: Tensor, n: float, among: Tensor | None = None) -> Tensor:
        """Exact for all: det S grows by the factor (1 - l_e/n) (1 + l_f/n) + (l_ef/n)^2."""
        E, F = self._half(leaving), self._half(entering)
        gone, come = E.square().sum(0)[:, None] / n, F.square().sum(0)[None, :] / n
        return self._by((E.T @ F).div_(n).square_() + (come - gone - gone * come))

    def _half(self, vectors: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.factor, vectors.T, upper=False)

    def _by(self, growth: Tensor) -> Tensor:
        """How much f falls where det S grows by the factor 1 + growth."""
        return -self.value * torch.expm1(-torch.log1p(growth) / len(self.factor))

    def _of(self, traces: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        scale, size = self.value / len(self.factor), len(self.factor)
        return -scale * traces, products.addr_(traces, traces, alpha=1 / size).mul_(scale)


def _value(factor: Tensor) -> float:
    return float(torch.exp(-2 * factor.diagonal().log().mean()))


PLUG = Kind(
    name="determinant",
    rank=20,
    title="determinant: every direction alike (D-optimality)",
    unit="det(S)^(-1/d)",
    says="Every direction is taught alike, whatever the reference policy does.",
    make=Determinant,
)
