"""The pair of every prompt that is farthest apart in the Fisher metric: the largest z'Mz."""

from __future__ import annotations

from torch import Tensor

from curation.design.rules.base import Problem, Weighted
from curation.design.rules.inside import choose_inside


def weights(problem: Problem) -> Tensor:
    """Design measure (pairs,): the largest z'Mz first."""
    return choose_inside(problem.feasible, problem.feasible.geometry.plain.quadratic(problem.criterion.root))


PLUG = Weighted(
    name="farthest_fisher",
    rank=40,
    title="farthest pair, Fisher metric",
    short="farthest (Fisher)",
    colour="#A83E8C",
    rival="the farthest pair in the Fisher metric",
    weights=weights,
)
