"""The pair of every prompt whose responses lie farthest apart: the largest z'z."""

from __future__ import annotations

import torch
from torch import Tensor

from curation.design.rules.base import Problem, Weighted
from curation.design.rules.inside import choose_inside


def weights(problem: Problem) -> Tensor:
    """Design measure (pairs,): the largest z'z first."""
    geometry = problem.feasible.geometry
    values = geometry.plain.quadratic(torch.eye(geometry.dim, dtype=torch.float64, device=geometry.device))
    return choose_inside(problem.feasible, values)


PLUG = Weighted(
    name="farthest",
    rank=30,
    title="farthest pair of a prompt",
    short="farthest",
    colour="#8F6F2E",
    rival="the farthest pair",
    weights=weights,
)
