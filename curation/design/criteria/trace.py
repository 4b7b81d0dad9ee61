"""The criterion f(w) = tr(M S^-1), S = Sigma_D + Lambda (docs/method.md section 2; HGM's tr(I(theta) Sigma_D^-1)).

It divides over the Fisher directions, and one label more or less, or an exchange of two, has a formula of its own
(Sherman and Morrison; docs/method.md section 9).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from curation.design.criteria.base import Criterion, Kind, Point, cholesky
from curation.design.criteria.prior import fisher_and_prior
from curation.design.geometry import Geometry


@dataclass(frozen=True)
class Trace(Criterion):
    """f = tr(M S^-1). Raises DesignError where the Fisher matrix M is zero."""

    quick = True

    def __post_init__(self) -> None:
        _ = self.root

    def value(self, information: Tensor) -> float:
        """f at an information matrix Sigma_D (d, d). Raises DesignError where S is singular."""
        factor = cholesky(information + self.prior)
        return float(torch.linalg.solve_triangular(factor, self.root, upper=False).square().sum())

    def at(self, information: Tensor) -> TracePoint:
        """Value and derivatives at Sigma_D (d, d)."""
        factor = cholesky(information + self.prior)
        sensitivity_root = torch.cholesky_solve(self.root, factor)  # S^-1 M^1/2
        half = torch.linalg.solve_triangular(factor, self.root, upper=False)
        return TracePoint(self, information, float(half.square().sum()), sensitivity_root, factor)

    def along(self, information: Tensor, direction: Tensor) -> Rational:
        """f(S + t D) = sum_k m_k / (1 + t lambda_k) in the eigenbasis of L^-1 D L^-T, S = L L'."""
        factor = cholesky(information + self.prior)
        half = torch.linalg.solve_triangular(factor, direction, upper=False)
        whitened = torch.linalg.solve_triangular(factor, half.T, upper=False)
        values, vectors = torch.linalg.eigh((whitened + whitened.T) / 2)
        mass = (vectors.T @ torch.linalg.solve_triangular(factor, self.root, upper=False)).square().sum(1)
        return Rational(values, mass)


@dataclass(frozen=True)
class Rational:
    """f(t) = sum_k mass_k / (1 + t values_k), both (d,)."""

    values: Tensor
    mass: Tensor

    def value(self, t: float) -> float:
        """f(t)."""
        return float((self.mass / (1 + t * self.values)).sum())

    def slope(self, t: float) -> float:
        """df/dt, which rises with t."""
        return -float((self.mass * self.values / (1 + t * self.values).square()).sum())

    def growing(self) -> Rational:
        """Without values below zero."""
        return replace(self, values=self.values.clamp_min(0.0))


class TracePoint(Point):
    """f and its derivatives at one S: root root' = B = S^-1 M S^-1."""

    def curvature(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (m,) and Hessian 2 (A S^-1 A') o (A B A') (m, m) over pairs with vectors A = columns (m, d)."""
        across = columns @ self.root
        half = torch.linalg.solve_triangular(self.factor, columns.T, upper=False).T
        return -across.square().sum(1), (half @ half.T).mul_(across @ across.T).mul_(2)

    def mixture(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (k,) and Hessian 2 tr(S^-1 V_k B V_l) (k, k) over information matrices V (k, d, d)."""
        B = self.B
        inner = torch.cholesky_solve(matrices, self.factor)  # S^-1 V_k
        outer = matrices @ B  # V_k B
        hessian = inner.flatten(1) @ outer.flatten(1).T  # tr(S^-1 V_k B V_l)
        return -(matrices * B).sum((1, 2)), hessian + hessian.T

    def parts(self, vectors: Tensor) -> Tensor:
        """(m, d) (sqrt(mu_k) u_k' S^-1 z)^2, which sum to z' B z."""
        mu, U = self.criterion.directions
        return (torch.cholesky_solve(vectors.T, self.factor).T @ U).square() * mu

    def shares(self) -> Tensor:
        """(d,) mu_k u_k' S^-1 u_k, which sum to f."""
        mu, U = self.criterion.directions
        return mu * torch.linalg.solve_triangular(self.factor, U, upper=False).square().sum(0)

    def fall(self, vectors: Tensor, n: float, labels: int = 1) -> Tensor:
        """(q/n) / (1 + l/n), q = z' B z and l = z' S^-1 z; of a label taken away -(q/n) / (1 - l/n)."""
        q = self.parts(vectors).sum(1)
        return (labels * q / n) / (1 + labels * self.leverage(vectors) / n)

    def falls(self, geometry: Geometry, n: float, among: Tensor | None = None) -> Tensor:
        """The same of every pair, exact for all: one structured pass for q, one for the leverage."""
        inverse_root = torch.linalg.cholesky(torch.cholesky_inverse(self.factor))
        return (geometry.quadratic(self.root) / n) / (1 + geometry.quadratic(inverse_root) / n)

    def swap(self, leaving: Tensor, entering: Tensor, n: float, among: Tensor | None = None) -> Tensor:
        """Exact for all, by the rank-two formula."""
        return self.moving().swap(leaving, entering, n)

    def moving(self) -> Exchanged:
        """With S^-1 and B, which a label moves by rank one."""
        return Exchanged(self.value, self.root, torch.cholesky_inverse(self.factor), self.B)


@dataclass(frozen=True)
class Exchanged:
    """f with inverse = S^-1 and B = S^-1 M S^-1 (d, d) of a batch whose labels are exchanged. root: of B where it
    began."""

    value: float
    root: Tensor
    inverse: Tensor
    B: Tensor

    def fall(self, vectors: Tensor, n: float, labels: int = 1) -> Tensor:
        """q / (n + l), or -q / (n - l)."""
        q = ((vectors @ self.B) * vectors).sum(1)
        leverage = ((vectors @ self.inverse) * vectors).sum(1)
        return labels * q / (n + labels * leverage).clamp_min(1e-9 * n)

    def falls(self, geometry: Geometry, n: float, among: Tensor | None = None) -> Tensor:
        """q / (n + l) of every pair."""
        leverage = geometry.quadratic(torch.linalg.cholesky(self.inverse))
        return geometry.quadratic(self.root) / (n + leverage)

    def swap(self, leaving: Tensor, entering: Tensor, n: float, among: Tensor | None = None) -> Tensor:
        """((n - l_e) q_f - (n + l_f) q_e + 2 l_ef q_ef) / ((n - l_e) (n + l_f) + l_ef^2), from two Gram matrices."""
        over_f = ((entering @ self.inverse) * entering).sum(1) + n
        q_f = ((entering @ self.B) * entering).sum(1)
        SE, BE = leaving @ self.inverse, leaving @ self.B
        under = n - (SE * leaving).sum(1)
        q_e = (BE * leaving).sum(1)
        X = SE @ entering.T
        top = (
            (BE @ entering.T)
            .mul_(X)
            .mul_(2)
            .addcmul_(under[:, None], q_f[None, :])
            .addcmul_(q_e[:, None], over_f[None, :], value=-1)
        )
        return top.div_(X.square_().addcmul_(under[:, None], over_f[None, :]))

    def after(self, vector: Tensor, n: float, labels: int) -> Exchanged:
        """Rank-one updates of all but the root."""
        s, t = self.inverse @ vector, self.B @ vector
        scale = n + labels * float(vector @ s)
        inner = float(vector @ t) / scale**2
        return Exchanged(
            self.value - labels * float(vector @ t) / scale,
            self.root,
            self.inverse - labels * torch.outer(s, s) / scale,
            self.B - labels * (torch.outer(s, t) + torch.outer(t, s)) / scale + inner * torch.outer(s, s),
        )


def make_criterion(
    geometry: Geometry,
    fisher: Tensor,
    *,
    ridge: float,
    kind: Literal["relative", "absolute"] = "relative",
    power: float = 0.0,
    previous: Tensor | None = None,
) -> Trace:
    """The trace criterion of a pool; the rest as `fisher_and_prior`. Raises DesignError."""
    return Trace(*fisher_and_prior(geometry, fisher, ridge=ridge, kind=kind, power=power, previous=previous))


PLUG = Kind(
    name="trace",
    rank=10,
    title="trace: what matters to the reference policy",
    unit="tr(M S^-1)",
    says="Every direction is taught as much as the reference policy moves in it.",
    make=Trace,
    taught=True,
)
