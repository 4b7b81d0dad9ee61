"""What a solver minimises, and the algebra that every criterion needs. Source: docs/method.md section 6."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from curation.errors import DesignError


class Line(Protocol):
    """f along a segment."""

    def slope(self, t: float) -> float:
        """A number of the sign of df/dt; it rises through zero at the minimum."""
        ...


class Local(Protocol):
    """f and its derivatives at one S."""

    @property
    def value(self) -> float:
        """f."""
        ...

    @property
    def root(self) -> Tensor:
        """R (d, k): the gradient of f is -|R' z|^2 for every pair."""
        ...

    @property
    def B(self) -> Tensor:
        """R R', (d, d)."""
        ...

    def curvature(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (m,) and Hessian (m, m) of f in the weights of pairs with vectors columns (m, d)."""
        ...

    def mixture(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (k,) and Hessian (k, k) of f in the weights of information matrices (k, d, d)."""
        ...


class Objective(Protocol):
    """What a solver minimises: positive, and 1/f concave in S, so that the certificate holds.

    Source: docs/method.md section 6.
    """

    def value(self, information: Tensor) -> float:
        """f at an information matrix (d, d)."""
        ...

    def at(self, information: Tensor) -> Local:
        """f and its derivatives at an information matrix (d, d)."""
        ...

    def along(self, information: Tensor, direction: Tensor) -> Line:
        """f at information + t direction, (d, d) each."""
        ...


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
