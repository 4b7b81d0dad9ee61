"""Prompts of one size, worked on together so that nothing is padded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Bucket:
    """Prompts of one size K whose pairs are either all admissible or a given list.

    prompts: (b,) prompt numbers. rows: (b, K) rows of the feature matrix. first, second: (T,) local candidates of
    the T = K (K - 1) / 2 pairs. slots: (b,) number of the first pair of each prompt where the graph is complete.
    kept: None, or (block, pair) positions within (b, T) of the admissible pairs, in the order of their numbers.
    """

    size: int
    prompts: np.ndarray
    rows: Tensor
    first: Tensor
    second: Tensor
    slots: Tensor
    kept: tuple[Tensor, Tensor, Tensor] | None  # (block, pair, number)
