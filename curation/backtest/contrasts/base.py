"""What a contrast is: the pairs of largest value in every prompt. A module of this folder with a `PLUG` is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from curation.backtest.arena import Arena, BacktestError
from curation.design.criteria.base import Criterion
from curation.registry import Registry
from curation.run.results import Prepared


@dataclass(frozen=True)
class Sight:
    """What a contrast looks at. strength: (n,) of each response's generator, where the contrast is `informed`."""

    prepared: Prepared
    criterion: Criterion
    strength: NDArray[np.float64] | None


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """values: (pairs,) what it takes the largest of in every prompt. informed: whether it is told something of outcomes
    elsewhere. fits: whether it means something on an arena."""

    name: str
    rank: int
    values: Callable[[Sight], Tensor]
    informed: bool = False
    fits: Callable[[Arena], bool] = lambda arena: True


CONTRASTS: Registry[Contrast] = Registry("curation.backtest.contrasts", "contrast", BacktestError)
