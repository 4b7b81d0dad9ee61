"""Constraints past the budget and the spread: caps per prompt, quotas, generator shares, costs.

Source: docs/method.md section 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from curation.design.geometry import Geometry
from curation.errors import DesignError


@dataclass(frozen=True)
class MeanLimit:
    """The mean of a number per pair over a design's labels, at most: sum_e w_e values_e <= most sum_e w_e.

    name: what it is, for messages, with the option that sets it. values: (pairs,), finite.
    """

    name: str
    values: np.ndarray
    most: float


@dataclass(frozen=True)
class Limits:
    """What a team may demand of a batch. Every field is optional; they hold together, in any combination.

    per_prompt: (P,) labels a prompt gets at most (inf: no own cap), or one number for all. strata: (P,) number of
    each prompt's stratum, into stratum_names. quotas: stratum number -> (lo, hi), in labels, or in cost units where
    there are costs. generators: (N,) number of each candidate's generator into generator_names, -1 unknown.
    generator_share: no generator takes part in more than this share of the labels; one for all, or one for each
    generator number. costs: (pairs,), positive: the budget is then in these units. means: numbers of pairs whose mean
    over the labels is bounded.
    """

    per_prompt: float | np.ndarray | None = None
    strata: np.ndarray | None = None
    stratum_names: tuple[str, ...] = ()
    quotas: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    generators: np.ndarray | None = None
    generator_names: tuple[str, ...] = ()
    generator_share: float | Mapping[int, float] | None = None
    costs: np.ndarray | None = None
    means: tuple[MeanLimit, ...] = ()

    def own_caps(self, prompts: int) -> np.ndarray:
        """(P,) labels at most per prompt, inf where there is no own cap. Raises DesignError."""
        if self.per_prompt is None:
            return np.full(prompts, math.inf)
        caps = np.broadcast_to(np.asarray(self.per_prompt, dtype=float), (prompts,)).copy()
        if np.isnan(caps).any() or caps.min(initial=1.0) < 0:
            raise DesignError(f"--per-prompt {np.nanmin(caps):g} is negative; give 1 label or more.")
        return caps

    def stratum_of(self, prompts: int) -> np.ndarray:
        """(P,) the block of prompts whose total is fixed: strata where there are quotas, else one block of all."""
        if not self.quotas:
            return np.zeros(prompts, dtype=np.int64)
        if self.strata is None:
            raise DesignError("quotas need strata: no prompt of this pool has a `stratum`; leave out --quota.")
        return np.asarray(self.strata, dtype=np.int64)

    def shares(self) -> dict[int, float]:
        """Generator number -> its greatest share of the labels, those below one only. Raises DesignError."""
        if self.generator_share is None:
            return {}
        if self.generators is None or not (np.asarray(self.generators) >= 0).any():
            raise DesignError("a cap on generator shares needs generators: no response names its `generator`.")
        if isinstance(self.generator_share, Mapping):
            given = {int(g): float(share) for g, share in self.generator_share.items()}
        else:
            present = np.unique(self.generators[self.generators >= 0])
            given = dict.fromkeys(present.tolist(), float(self.generator_share))
        for g, share in given.items():
            if not 0 < share <= 1:
                raise DesignError(f"generator share {share:g} of {self.generator(g)} is outside (0, 1]; try 0.3.")
        return {g: share for g, share in given.items() if share < 1}

    def generator(self, number: int) -> str:
        """Name of a generator for messages."""
        return f"generator {self.generator_names[number]}" if self.generator_names else f"generator number {number}"

    def stratum(self, number: int) -> str:
        """Name of a stratum for messages."""
        return f"stratum {self.stratum_names[number]}" if self.stratum_names else f"stratum number {number}"

    def checked_costs(self, geometry: Geometry) -> np.ndarray | None:
        """(pairs,) costs, all positive and finite, or None. Raises DesignError."""
        if self.costs is None:
            return None
        costs = np.asarray(self.costs, dtype=float)
        if costs.shape != (geometry.pairs,):
            raise DesignError(f"{len(costs)} costs for {geometry.pairs} pairs; give one per pair.")
        bad = ~(np.isfinite(costs) & (costs > 0))
        if bad.any():
            raise DesignError(
                f"{bad.sum()} pairs have a cost that is not a positive number (first: {costs[bad][0]}); mend the pool."
            )
        return costs

    def checked_means(self, geometry: Geometry) -> tuple[MeanLimit, ...]:
        """The limits on means, every number finite and one per pair. Raises DesignError."""
        for mean in self.means:
            if np.shape(mean.values) != (geometry.pairs,):
                raise DesignError(f"{mean.name}: {len(mean.values)} numbers for {geometry.pairs} pairs; give one each.")
            if not np.isfinite(mean.values).all() or not math.isfinite(mean.most):
                raise DesignError(f"{mean.name}: the limit {mean.most:g} and every pair's number must be finite.")
        return self.means
