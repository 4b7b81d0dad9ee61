"""The pair of every prompt whose generators differ most in strength, known from other prompts."""

from __future__ import annotations

import torch
from torch import Tensor

from curation.backtest.arena import LEAST_GENERATORS, Arena
from curation.backtest.contrasts.base import Contrast, Sight


def values(sight: Sight) -> Tensor:
    """(pairs,) difference of strength."""
    if sight.strength is None:
        raise ValueError("generator_gap needs the strengths of the generators")
    return sight.prepared.geometry.difference(torch.as_tensor(sight.strength)).abs()


def fits(arena: Arena) -> bool:
    """Whether quality is known and several generators are named."""
    names = {r.generator for prompt in arena.pool.prompts for r in prompt.responses}
    return arena.source == "quality" and len(names) >= LEAST_GENERATORS and None not in names


PLUG = Contrast(name="generator_gap", rank=30, values=values, informed=True, fits=fits)
