"""All pairs alike, as far as the constraints allow: the yardstick that every design is held against."""

from __future__ import annotations

from torch import Tensor

from curation.design.rules.base import Problem, Weighted
from curation.design.sets.uniform import uniform_design


def weights(problem: Problem) -> Tensor:
    """Design measure (pairs,)."""
    return uniform_design(problem.feasible)


PLUG = Weighted(
    name="uniform",
    rank=10,
    title="uniform (all pairs alike)",
    short="uniform",
    colour="#86939B",
    weights=weights,
)
