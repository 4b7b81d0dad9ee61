"""What a solver returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from curation.design.certificate import Certificate


@dataclass(frozen=True)
class Step:
    """One structured pass: when it ended (seconds), f, gap and open after it, columns in the master."""

    passes: int
    seconds: float
    objective: float
    gap: float
    open: float
    columns: int


Progress = Callable[[Step], None]


@dataclass(frozen=True)
class Design:
    """A design measure with its certificate.

    weights: (pairs,), sum 1. passes: structured passes over the pool. stopped: `certificate`, or what else ended it.
    """

    weights: Tensor
    certificate: Certificate
    passes: int
    solver: str
    stopped: str
    trace: tuple[Step, ...]

    @property
    def support(self) -> int:
        """Number of pairs with positive weight."""
        return int((self.weights > 0).sum())
