"""What a design minimises: a criterion, and at one S all that solvers, exchanges and explanations ask of it.

A criterion is one file of this folder: a `Criterion` with `value` and `at`, a `Point` with `curvature` and `mixture`,
and a `PLUG`. It must be positive, with 1/f concave in S, so that the certificate holds (docs/method.md section 6).
What else is asked of it stands here for any criterion, by evaluating f; formulas of its own are only faster.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from curation.design.geometry import Geometry
from curation.errors import DesignError
from curation.registry import Registry

LOOKS = 32  # exchanges of a label that are evaluated before all of them are


@dataclass(frozen=True)
class Criterion(ABC):
    """f of the information Sigma_D (d, d) of a design.

    fisher: (d, d) = M, which directions matter to the reference policy. prior: (d, d) = Lambda, what is known before
    the first label; S = Sigma_D + Lambda. degree: f(c S) = c^degree f(S). quick: whether its points have formulas of
    their own for exchanges.
    """

    fisher: Tensor
    prior: Tensor
    degree: ClassVar[float] = -1.0
    quick: ClassVar[bool] = False

    @abstractmethod
    def value(self, information: Tensor) -> float:
        """f at an information matrix (d, d). Raises DesignError where S is singular."""

    @abstractmethod
    def at(self, information: Tensor) -> Point:
        """f and its derivatives at an information matrix (d, d)."""

    def along(self, information: Tensor, direction: Tensor) -> Line:
        """f at information + t direction, (d, d) each."""
        return Segment(self, information, direction)

    def under(self, factor: float) -> Self:
        """The same criterion with `factor` times the prior."""
        return replace(self, prior=self.prior * factor)

    @cached_property
    def root(self) -> Tensor:
        """(d, k) with root root' = fisher."""
        return matrix_root(self.fisher)

    @cached_property
    def directions(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues mu (d,) of the Fisher matrix, falling, and its eigenvectors U (d, d) in columns, the largest
        entry of each positive."""
        values, vectors = torch.linalg.eigh(self.fisher)
        values, vectors = values.flip(0).clamp_min(0.0), vectors.flip(1)
        largest = vectors.abs().argmax(0)
        return values, vectors * torch.sign(vectors[largest, torch.arange(len(values), device=vectors.device)])


class Line(Protocol):
    """f along a segment."""

    def value(self, t: float) -> float:
        """f."""
        ...

    def slope(self, t: float) -> float:
        """df/dt; it rises through zero at the minimum."""
        ...

    def growing(self) -> Line:
        """The same where the direction takes nothing away, so that what rounding puts below zero is zero."""
        ...


class Moving(Protocol):
    """f at a batch that changes label by label. A label of a pair with vector z adds z z' / n, n the labels planned."""

    @property
    def value(self) -> float:
        """f."""
        ...

    @property
    def root(self) -> Tensor:
        """As a point's, perhaps of a few labels ago: good enough to choose what to look at."""
        ...

    def fall(self, vectors: Tensor, n: float, labels: int = 1) -> Tensor:
        """(m,) by how much f falls when `labels` (1, or -1: one is taken away) of each of vectors (m, d) are added."""
        ...

    def falls(self, geometry: Geometry, n: float, among: Tensor | None = None) -> Tensor:
        """(pairs,) the same for one label more of every pair of the pool. among: (pairs,) bool, of which the largest
        must be exact; the others rank the pairs and are never below what is exact."""
        ...

    def swap(self, leaving: Tensor, entering: Tensor, n: float, among: Tensor | None = None) -> Tensor:
        """(m, c) by how much f falls when a label of each of leaving (m, d) becomes one of each of entering (c, d).
        among: (m, c) bool, where a fall is looked for: what was not looked at is -inf, but if f falls anywhere, one of
        its falls is there."""
        ...

    def after(self, vector: Tensor, n: float, labels: int) -> Moving:
        """What it is with `labels` (1 or -1) more of the pair with this vector (d,)."""
        ...


@dataclass(frozen=True)
class Point(ABC):
    """f at one information matrix (d, d), and what is asked of it there.

    root: R (d, k), the gradient of f is -|R' z|^2 for every pair. factor: Cholesky factor of S = information + prior.
    """

    criterion: Criterion
    information: Tensor
    value: float
    root: Tensor
    factor: Tensor

    @abstractmethod
    def curvature(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (m,) and Hessian (m, m) of f in the weights of pairs with vectors columns (m, d)."""

    @abstractmethod
    def mixture(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (k,) and Hessian (k, k) of f in the weights of information matrices (k, d, d)."""

    @property
    def B(self) -> Tensor:
        """R R', (d, d): the gradient of f is -z' B z for every pair."""
        return self.root @ self.root.T

    def leverage(self, vectors: Tensor) -> Tensor:
        """(m,) z' S^-1 z of vectors (m, d)."""
        return (vectors * torch.cholesky_solve(vectors.T, self.factor).T).sum(1)

    def parts(self, vectors: Tensor) -> Tensor | None:
        """(m, d) what each Fisher direction adds to z' B z of vectors (m, d); None where f does not divide so."""
        return None

    def shares(self) -> Tensor | None:
        """(d,) what each Fisher direction adds to f; None where f does not divide so."""
        return None

    def moving(self) -> Moving:
        """The form in which many labels are exchanged."""
        return self

    def after(self, vector: Tensor, n: float, labels: int) -> Moving:
        """As `Moving.after`."""
        return self.criterion.at(self._with(vector, n, labels))

    def fall(self, vectors: Tensor, n: float, labels: int = 1) -> Tensor:
        """As `Moving.fall`."""
        moved = [self.criterion.value(self._with(z, n, labels)) for z in vectors]
        return self.value - torch.tensor(moved, dtype=vectors.dtype, device=vectors.device)

    def falls(self, geometry: Geometry, n: float, among: Tensor | None = None) -> Tensor:
        """As `Moving.falls`: exact values are looked for from the best promise down."""
        out = self._at_most(geometry.quadratic(self.root) / n)
        if among is None:
            return out
        promise, order = out.masked_fill(~among, -torch.inf).sort(descending=True, stable=True)
        best = -torch.inf
        for most, pair in zip(promise.tolist(), order.tolist(), strict=True):
            if most <= best:
                break
            out[pair] = self.fall(geometry.vectors(np.array([pair])), n)[0]
            best = max(best, float(out[pair]))
        return out

    def swap(self, leaving: Tensor, entering: Tensor, n: float, among: Tensor | None = None) -> Tensor:
        """As `Moving.swap`: f evaluated, of `among` first where a quotient of its derivatives promises most."""
        gone, come = ((vectors @ self.root).square().sum(1) for vectors in (leaving, entering))
        out = torch.full((len(leaving), len(entering)), -torch.inf, dtype=come.dtype, device=come.device)
        wanted = torch.isinf(out)
        if among is not None:
            wanted = among & (come[None, :] > gone[:, None])  # f is convex: nothing else can fall
            bend = self.curvature(torch.cat([leaving, entering]))[1] / (2 * n * n)
            own, m = bend.diagonal(), len(leaving)
            slope = (come[None, :] - gone[:, None]).clamp_min(1e-300) / n
            promise = slope / (1 + (own[:m, None] + own[None, m:] - 2 * bend[:m, m:]) / slope)
            best = promise.masked_fill(~wanted, -torch.inf).topk(min(LOOKS, len(entering)), dim=1).indices
            self._evaluate(out, wanted & torch.zeros_like(wanted).scatter_(1, best, True), leaving, entering, n)
            if bool((out > 0).any()):
                return out
        self._evaluate(out, wanted, leaving, entering, n)
        return out

    def _evaluate(self, out: Tensor, wanted: Tensor, leaving: Tensor, entering: Tensor, n: float) -> None:
        for e, f in wanted.nonzero().tolist():
            there = self._with(entering[f], n, 1) - torch.outer(leaving[e], leaving[e]) / n
            out[e, f] = self.value - self.criterion.value(there)

    def _with(self, vector: Tensor, n: float, labels: int) -> Tensor:
        return self.information + torch.outer(vector, vector) * (labels / n)

    def _at_most(self, promised: Tensor) -> Tensor:
        """What a step falls by at most, of what the gradient promises: 1/f is concave."""
        return promised / (1 + promised / self.value)


@dataclass(frozen=True)
class Segment:
    """f at information + t direction, by evaluating it."""

    criterion: Criterion
    information: Tensor
    direction: Tensor

    def value(self, t: float) -> float:
        """f."""
        return self.criterion.value(self.information + t * self.direction)

    def slope(self, t: float) -> float:
        """df/dt."""
        return -float((self.criterion.at(self.information + t * self.direction).B * self.direction).sum())

    def growing(self) -> Segment:
        """Itself."""
        return self


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A criterion that a design may be asked to minimise: `PLUG` of its file.

    title: on screen. unit: of f. says: what it asks for, in one sentence. make: the criterion of a Fisher matrix and a
    prior, (d, d) each. taught: whether labels that teach which directions matter can change it.
    """

    name: str
    rank: int
    title: str
    unit: str
    says: str
    make: Callable[[Tensor, Tensor], Criterion]
    taught: bool = False


CRITERIA: Registry[Kind] = Registry("curation.design.criteria", "criterion", DesignError)


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
