"""The pair of every prompt whose answers differ most in length."""

from __future__ import annotations

import torch
from torch import Tensor

from curation.backtest.contrasts.base import Contrast, Sight
from curation.backtest.nuisance import nuisance_columns


def values(sight: Sight) -> Tensor:
    """(pairs,) squared difference of log length."""
    length = torch.as_tensor(nuisance_columns(sight.prepared.pool, ["length"])[:, 0])
    return sight.prepared.geometry.difference(length).square()


PLUG = Contrast(name="length_gap", rank=10, values=values)
