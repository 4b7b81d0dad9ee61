"""The first pair of every prompt, as the pool lists its responses: what happens where nobody chooses."""

from __future__ import annotations

import torch
from torch import Tensor

from curation.design.rules.base import Problem, Weighted
from curation.design.rules.inside import choose_inside


def weights(problem: Problem) -> Tensor:
    """Design measure (pairs,): earlier pairs first."""
    geometry = problem.feasible.geometry
    values = -torch.arange(geometry.pairs, dtype=torch.float64, device=geometry.device)
    return choose_inside(problem.feasible, values)


PLUG = Weighted(
    name="first_pair",
    rank=20,
    title="first pair of a prompt",
    short="first pair",
    colour="#2F8C9C",
    weights=weights,
)
