"""The criterion f(w) = tr(M S^-1), S = Sigma_D + Lambda (docs/method.md section 2; HGM's tr(I(theta) Sigma_D^-1))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from curation.design.criteria.base import cholesky, matrix_root
from curation.design.geometry import Geometry
from curation.errors import DesignError

FLOOR = 1e-6  # of the largest Fisher eigenvalue: what a direction that does not matter counts in the prior's shape


@dataclass(frozen=True)
class Criterion:
    """Which directions matter (fisher, (d, d)) and what is known before the first label (prior, (d, d) = Lambda)."""

    fisher: Tensor
    prior: Tensor
    root: Tensor  # (d, k) with root root' = fisher

    def value(self, information: Tensor) -> float:
        """f = tr(M S^-1) for an information matrix Sigma_D (d, d). Raises DesignError where S is singular."""
        factor = cholesky(information + self.prior)
        return float(torch.linalg.solve_triangular(factor, self.root, upper=False).square().sum())

    def at(self, information: Tensor) -> Point:
        """Value and derivatives at Sigma_D (d, d)."""
        factor = cholesky(information + self.prior)
        sensitivity_root = torch.cholesky_solve(self.root, factor)  # S^-1 M^1/2
        half = torch.linalg.solve_triangular(factor, self.root, upper=False)
        return Point(value=float(half.square().sum()), factor=factor, root=sensitivity_root)

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


@dataclass(frozen=True)
class Point:
    """f and what its derivatives need at one S: factor is Cholesky of S; root root' = B = S^-1 M S^-1."""

    value: float
    factor: Tensor
    root: Tensor

    @property
    def B(self) -> Tensor:
        """S^-1 M S^-1, (d, d): the gradient of f is -z' B z for every pair."""
        return self.root @ self.root.T

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


def make_criterion(
    geometry: Geometry,
    fisher: Tensor,
    *,
    ridge: float,
    kind: Literal["relative", "absolute"] = "relative",
    power: float = 0.0,
    previous: Tensor | None = None,
) -> Criterion:
    """Criterion with Lambda = ridge s P + previous: s = tr(Sigma_uniform) / d (relative) or 1 (absolute).

    P = M^power scaled to trace d: theta ~ N(0, M^-power) up to scale. Power 0 is the identity, which a few dominating
    directions inflate for all; with power 1 each direction's prior is as large as what it matters.
    fisher: (d, d), symmetric. ridge: positive, without unit when relative. previous: (d, d) information of the labels
    already bought, n_prev Sigma_prev / n, so counted per label of this design. Raises DesignError.
    """
    if not ridge > 0:
        raise DesignError(f"ridge {ridge} is not positive; give a number above 0, as 1 (relative) or 1e-3 (absolute).")
    fisher = fisher.to(dtype=torch.float64, device=geometry.device)
    scale = 1.0
    if kind == "relative":
        scale = float(torch.trace(geometry.uniform_information())) / geometry.dim
        if scale <= 0:
            raise DesignError("all pairs have zero difference: no label can teach anything; check the features.")
    prior = ridge * scale * _shape(fisher, power)
    if previous is not None:
        previous = torch.as_tensor(previous, dtype=torch.float64, device=geometry.device)
        if previous.shape != prior.shape or not bool(torch.isfinite(previous).all()):
            raise DesignError(
                f"the information of earlier labels is {tuple(previous.shape)}, this space needs {tuple(prior.shape)}; "
                "earlier batches must be in the same space."
            )
        prior = prior + (previous + previous.T) / 2
    return Criterion(fisher=fisher, prior=prior, root=matrix_root(fisher))


def _shape(fisher: Tensor, power: float) -> Tensor:
    """M^power (d, d), eigenvalues below FLOOR of the largest taken as that, scaled to trace d."""
    size = len(fisher)
    if power == 0:
        return torch.eye(size, dtype=torch.float64, device=fisher.device)
    values, vectors = torch.linalg.eigh((fisher + fisher.T) / 2)
    raised = values.clamp_min(FLOOR * float(values[-1])) ** power
    return (vectors * (raised * (size / float(raised.sum())))) @ vectors.T
