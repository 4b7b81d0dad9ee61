"""D-optimal: every label where the determinant of S grows most, the largest leverage."""

from __future__ import annotations

from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.geometry import Geometry
from curation.design.rules.base import OneByOne, Problem
from curation.design.rules.one_by_one import Picked, sequential
from curation.design.selection.sampling import Batch


class Leverage:
    """l = z' S^-1 z itself, which `sequential` keeps up to date for every rule."""

    def __init__(self, criterion: Criterion, geometry: Geometry, n: float, inverse: Tensor) -> None:
        """Nothing to remember."""

    def of(self, leverage: Tensor) -> Tensor:
        """(pairs,)."""
        return leverage

    def after(self, picked: Picked) -> None:
        """Nothing of its own to mend."""


def pick(problem: Problem, seed: int) -> Batch:
    """The batch."""
    return sequential(problem.criterion, problem.feasible, Leverage, seed=seed)


PLUG = OneByOne(
    name="d_optimal",
    rank=60,
    title="D-optimal, one by one",
    short="D-optimal",
    colour="#CC6A98",
    pick=pick,
)
