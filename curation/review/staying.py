"""What stays of a batch when it goes on: how many labels each pair holds, and room for them under every limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from curation.batch.folder import BatchFolder
from curation.design.selection.sampling import repeated
from curation.pool.pair_lists import LocalPair, pairs_by_id
from curation.pool.schema import Pool
from curation.run.constraints import length_differences, pool_limits
from curation.run.results import Prepared
from curation.run.solve import pair_numbers
from curation.settings import DesignSettings


def design_labels(batch: BatchFolder) -> dict[str, int]:
    """pair_id -> labels of each pair as the design counted them, without the repeats for agreement."""
    copies = np.array([int(record["copies"]) for record in batch.records], dtype=np.int64)
    repeats = int(batch.manifest["overlap_labels"])
    if repeats:
        copies = copies - repeated(len(copies), repeats, seed=int(batch.manifest["settings"]["seed"]))
    return {record["pair_id"]: int(count) for record, count in zip(batch.records, copies.tolist(), strict=True)}


def length_limit(batch: BatchFolder, pool: Pool, prepared: Prepared, settings: DesignSettings) -> float:
    """The limit on the mean length difference, or what the batch was drawn with: a draw may be over it by a few labels,
    and what was approved is not to be taken back for that."""
    copies = {record["pair_id"]: record["copies"] for record in batch.records}
    found = pairs_by_id(pool, set(copies))
    differences = length_differences(pool, prepared.geometry)[pair_numbers(prepared.geometry, list(found.values()))]
    drawn = np.average(differences, weights=[copies[key] for key in found])
    return max(float(settings.max_length_difference or 0.0), float(drawn) + 1e-9)


def with_room(
    settings: DesignSettings, prepared: Prepared, held: Mapping[LocalPair, float], share: float
) -> DesignSettings:
    """Budget and quotas in cost units raised to what the pairs that stay cost: a draw meets them in expectation only.

    share: part of the budget that goes to repeats. Labels are counted exactly, so nothing changes without costs.
    """
    if settings.cost is None or not held:
        return settings
    limits = pool_limits(prepared.pool, prepared.geometry, settings)
    numbers = np.array(pair_numbers(prepared.geometry, list(held)))
    spent = np.asarray(limits.costs)[numbers] * np.array(list(held.values()), dtype=float)
    least = float(spent.sum())
    if settings.quotas:
        strata = np.array(
            [str(prepared.pool.prompts[x].stratum) for x in prepared.geometry.prompt_of(numbers).tolist()]
        )
        quotas = []
        for name, low, high in settings.quotas:
            taken = float(spent[strata == name].sum())
            quotas.append((name, low, high if taken <= high else taken * (1 + 1e-9)))
            least += max(low - taken, 0.0)
        settings = replace(settings, quotas=tuple(quotas))
    room = least * (1 + 1e-9) / (1 - share)
    return settings if room <= settings.budget else replace(settings, budget=math.ceil(room * 1e6) / 1e6)
