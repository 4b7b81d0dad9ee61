"""The criterion f(w) = tr(M S^-1), S = Sigma_D + Lambda (METHOD.md section 2; HGM's tr(I(theta) Sigma_D^-1))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from curation.design.geometry import Geometry
from curation.errors import DesignError


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


def cholesky(matrix: Tensor) -> Tensor:
    """Cholesky factor of a symmetric positive definite (d, d). Raises DesignError with a remedy otherwise."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if int(failed) or not bool(torch.isfinite(factor).all()):
        raise DesignError(
            "the information matrix is singular at this ridge: some direction is taught by no pair; "
            "raise --ridge or lower --dim."
        )
    return factor


def matrix_root(matrix: Tensor) -> Tensor:
    """R (d, k) with R R' = a positive semidefinite matrix (d, d); directions below 1e-14 of the largest are cut."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    keep = values > max(float(values[-1]), 0.0) * 1e-14
    if not bool(keep.any()):
        raise DesignError("the Fisher matrix is zero: all candidates of every prompt are alike; check the features.")
    return vectors[:, keep] * values[keep].sqrt()


def make_criterion(
    geometry: Geometry,
    fisher: Tensor,
    *,
    ridge: float,
    kind: Literal["relative", "absolute"] = "relative",
    previous: Tensor | None = None,
) -> Criterion:
    """Criterion with Lambda = ridge s I + previous: s = tr(Sigma_uniform) / d (relative) or 1 (absolute).

    fisher: (d, d), symmetric. ridge: positive, without unit when relative. previous: (d, d) information of the labels
    already bought, n_prev Sigma_prev / n, so counted per label of this design. Raises DesignError.
    """
    if not ridge > 0:
        raise DesignError(f"ridge {ridge} is not positive; try 30 (relative) or 1e-3 (absolute).")
    fisher = fisher.to(dtype=torch.float64, device=geometry.device)
    scale = 1.0
    if kind == "relative":
        scale = float(torch.trace(geometry.uniform_information())) / geometry.dim
        if scale <= 0:
            raise DesignError("all pairs have zero difference: no label can teach anything; check the features.")
    prior = ridge * scale * torch.eye(geometry.dim, dtype=torch.float64, device=geometry.device)
    if previous is not None:
        previous = torch.as_tensor(previous, dtype=torch.float64, device=geometry.device)
        if previous.shape != prior.shape or not bool(torch.isfinite(previous).all()):
            raise DesignError(
                f"the information of earlier labels is {tuple(previous.shape)}, this space needs {tuple(prior.shape)}; "
                "earlier batches must be in the same space."
            )
        prior = prior + (previous + previous.T) / 2
    return Criterion(fisher=fisher, prior=prior, root=matrix_root(fisher))
