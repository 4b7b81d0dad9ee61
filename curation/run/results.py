"""What the steps hand to each other: a prepared pool, earlier labels, a solved design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from curation.pool.pair_lists import LocalPair
from curation.pool.schema import Pool
from curation.settings import DesignSettings

if TYPE_CHECKING:
    import torch

    from curation.design.criteria.base import Criterion
    from curation.design.geometry import Geometry
    from curation.design.result import Design
    from curation.design.rules.compare import Baseline
    from curation.design.selection.sampling import Batch
    from curation.design.sets.feasible import Feasible
    from curation.insight.explain import Explanations
    from curation.insight.learning import Outcomes
    from curation.insight.learning_rule import Taught
    from curation.insight.length_share import LengthShare
    from curation.representation.features_file import FeatureTable
    from curation.representation.fisher.base import Probabilities
    from curation.representation.space import Space


@dataclass(frozen=True, repr=False)
class Prepared:
    """A pool in the design's space: everything a design needs that budget and ridge do not change.

    phi: (N, d) candidates. fisher: (d, d) = M. seconds: of the steps `space` and `fisher`.
    """

    pool: Pool
    table: FeatureTable
    space: Space
    phi: np.ndarray
    probabilities: Probabilities
    fisher: np.ndarray
    geometry: Geometry
    device: str
    seconds: dict[str, float]

    def __repr__(self) -> str:
        return f"{self.pool!r} in {self.space.dim} dimensions on {self.device}"


@dataclass(frozen=True)
class Earlier:
    """What earlier batches have taught, in their space: the next design starts from it and buys none of it twice.

    information: sum over labelled pairs of their labels times z z', (d, d). labelled: pairs of this pool that have
    labels. labels: how many labels that is. space: the map all of it was made in. outcomes: who won. taught: what the
    outcomes say and the next design makes of it; None where they are not to be looked at.
    """

    batch_ids: tuple[str, ...]
    space: Space
    information: np.ndarray
    labelled: tuple[LocalPair, ...]
    labels: int
    outcomes: Outcomes | None = None
    taught: Taught | None = None


@dataclass(frozen=True, repr=False)
class Solved:
    """A design, the batch drawn from it and everything said about them.

    realised: f of the drawn batch. batch_information: its Sigma (d, d). explanations: one entry per pair of the batch.
    length: what the batch has to do with answer length.
    pilot_of: the whole budget where this batch is its first part, bought to learn from.
    """

    prepared: Prepared
    settings: DesignSettings
    overlap: int
    criterion: Criterion
    feasible: Feasible
    design: Design
    batch: Batch
    batch_information: torch.Tensor
    realised: float
    baselines: Mapping[str, Baseline]
    explanations: Explanations
    length: LengthShare
    seconds: dict[str, float] = field(default_factory=dict)
    earlier: Earlier | None = None
    pilot_of: float | None = None

    def __repr__(self) -> str:
        return (
            f"{self.batch.labels} labels on {len(self.batch.pairs):,} of {self.prepared.pool.n_pairs:,} pairs; "
            f"{self.attained:.1%} of the way from no labels to the bound, gap {self.design.certificate.gap:.1e}, "
            f"stopped on {self.design.stopped}"
        )

    @property
    def efficiency(self) -> float:
        """Lower bound over realised f: how near the drawn batch is to the best possible design.

        Slightly above 1 is possible where prompt totals are fractions of a label (balanced, fewer labels than
        prompts): the bound is that of designs that keep those fractions, and a draw settles them to 0 or 1.
        """
        return self.design.certificate.lower_bound / self.realised

    @property
    def attained(self) -> float:
        """How far the drawn batch goes from no labels at all to the bound: 0 to about 1, nan where both are the same.

        What to show people: `efficiency` of no labels at all can be 0.8 under a heavy prior.
        """
        nothing, bound = self.criterion.value(self.batch_information * 0), self.design.certificate.lower_bound
        return float("nan") if nothing <= bound else (nothing - self.realised) / (nothing - bound)
