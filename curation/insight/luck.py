"""How much of a batch's criterion is the luck of its draw?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.selection.drawn import realised
from curation.design.selection.sampling import sample
from curation.design.sets.feasible import Feasible
from curation.design.sets.uniform import uniform_design


@dataclass(frozen=True)
class Draws:
    """Realised f of repeated draws: of the design (s,) and of uniform sampling under the same constraints (s,)."""

    design: np.ndarray
    uniform: np.ndarray
    lower_bound: float

    @property
    def worse(self) -> float:
        """Share of the pairs of draws in which the design's batch has the larger criterion, 0 to 1."""
        return float(np.mean(self.design[:, None] > self.uniform[None, :]))

    def sentence(self) -> str:
        """What the two distributions say, in words."""
        return (
            f"Over {len(self.design)} draws each, the design's batches have a criterion of {self.design.mean():.4g} "
            f"(standard deviation {self.design.std(ddof=1):.2g}), uniform batches {self.uniform.mean():.4g} "
            f"({self.uniform.std(ddof=1):.2g}); a design batch is worse than a uniform one in {self.worse:.0%} of the "
            "pairs of draws. This is the criterion, not the reward."
        )


def repeated_draws(
    criterion: Criterion, feasible: Feasible, weights: Tensor, lower_bound: float, *, draws: int = 40, seed: int = 0
) -> Draws:
    """Draw the design and uniform sampling `draws` times with seeds seed, seed + 1, ..."""
    uniform = uniform_design(feasible)
    return Draws(
        design=np.array(
            [realised(criterion, feasible, sample(feasible, weights, seed=seed + k)) for k in range(draws)]
        ),
        uniform=np.array(
            [realised(criterion, feasible, sample(feasible, uniform, seed=seed + k)) for k in range(draws)]
        ),
        lower_bound=lower_bound,
    )
