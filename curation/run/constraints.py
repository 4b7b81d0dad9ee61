"""What a team demands of a batch past budget and spread: read from the settings, found in the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curation.errors import DesignError, PoolError
from curation.pool.limits import cost_parts, generator_groups, stratum_groups
from curation.pool.schema import Pool
from curation.settings import DesignSettings

if TYPE_CHECKING:
    from curation.design.geometry import Geometry
    from curation.design.sets.limits import Limits

LENGTH_DIFFERENCE = "the mean |log length difference| (--max-length-difference)"


def pool_limits(pool: Pool, geometry: Geometry, settings: DesignSettings) -> Limits:
    """The constraints past budget and spread that the settings ask of this pool. Raises DesignError, PoolError."""
    from curation.design.sets.limits import Limits, MeanLimit

    strata, generators = stratum_groups(pool), generator_groups(pool)
    unknown = [name for name, _, _ in settings.quotas if name not in strata.names]
    if unknown:
        raise DesignError(
            f"quota of {unknown[0]}: no prompt of this pool has that stratum; it has "
            f"{', '.join(strata.names[:20])}{' and others' if len(strata.names) > 20 else ''}."
        )
    means: tuple[MeanLimit, ...] = ()
    if settings.max_length_difference is not None:
        differences = length_differences(pool, geometry)
        means = (MeanLimit(LENGTH_DIFFERENCE, differences, settings.max_length_difference),)
    return Limits(
        per_prompt=settings.per_prompt,
        strata=strata.numbers,
        stratum_names=strata.names,
        quotas={strata.names.index(name): (low, high) for name, low, high in settings.quotas},
        generators=generators.numbers,
        generator_names=generators.names,
        generator_share=settings.generator_share,
        costs=None if settings.cost is None else pair_costs(pool, geometry, settings.cost),
        means=means,
    )


def length_differences(pool: Pool, geometry: Geometry) -> np.ndarray:
    """(pairs,) |log(1 + characters) of one response minus the other's|; 0.69 where one is twice as long."""
    import torch

    logs = torch.as_tensor(np.log1p(pool.lengths()), device=geometry.device)
    return np.asarray(geometry.difference(logs).abs().cpu().numpy())


def pair_costs(pool: Pool, geometry: Geometry, name: str) -> np.ndarray:
    """(pairs,) what a label costs: the prompt's `meta[name]` plus both responses', what is given of these.

    Raises PoolError naming the first pair of which nothing is given, or whose sum is not positive.
    """
    import torch

    prompts, responses = cost_parts(pool, name)

    def totals(of_prompt: np.ndarray, of_response: np.ndarray) -> np.ndarray:
        both = geometry.sums(torch.as_tensor(of_response, dtype=torch.float64, device=geometry.device))
        return np.asarray(np.repeat(of_prompt, geometry.pair_counts) + both.cpu().numpy())

    costs = totals(np.nan_to_num(prompts), np.nan_to_num(responses))
    given = totals(np.isfinite(prompts), np.isfinite(responses)) > 0
    bad = np.flatnonzero(~given | ~(costs > 0))
    if len(bad):
        first, second = (pool.ids()[int(row[0])] for row in geometry.endpoints(bad[:1]))
        what = f"{name!r} sums to {costs[bad[0]]:g}, not above 0" if given[bad[0]] else f"no {name!r} is given"
        raise PoolError(
            f"prompt {first[0]!r}, responses {first[1]!r} and {second[1]!r}: {what} "
            f"({len(bad)} of {len(costs)} pairs are so); give the cost in the meta of "
            "prompts or responses, or choose another --cost."
        )
    return costs
