"""Pools for backtests: quality planted in known directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from curation.pool.schema import Pool, Prompt, Response, Truth
from curation.representation.features_file import FeatureTable
from curation.settings import SpaceSettings

SPACE = SpaceSettings(dim=8, normalize=False, length=False)


def planted(
    seed: int, *, prompts: int = 60, candidates: int = 8, dim: int = 8, signal: str = "linear"
) -> tuple[Pool, Truth, FeatureTable]:
    """A pool where most answers of a prompt nearly agree and a few stand out. signal: quality linear in the features,
    or random."""
    rng = np.random.default_rng(seed)
    count = prompts * candidates
    rows = rng.normal(size=(count, dim)) * np.where(rng.random((count, 1)) < 0.15, 1.0, 0.1)
    theta = rng.normal(size=dim)
    quality = 2 * rows @ theta / np.linalg.norm(theta) if signal == "linear" else rng.normal(size=count) * 1.5
    entries, truth = [], {}
    for x in range(prompts):
        responses = tuple(Response(f"r{k}", f"answer {x} {k}") for k in range(candidates))
        entries.append(Prompt(f"p{x:03d}", f"question {x}", responses))
        for k in range(candidates):
            truth[f"p{x:03d}", f"r{k}"] = float(quality[x * candidates + k])
    table = FeatureTable(rows.astype(np.float32), None, None, {}, 0, f"planted{seed}")
    return Pool(tuple(entries), name="planted"), Truth(quality=truth), table


def write_features(path: Path, pool: Pool, table: FeatureTable) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = pool.ids()
    matrix = pa.FixedSizeListArray.from_arrays(pa.array(table.matrix.ravel()), table.matrix.shape[1])
    pq.write_table(
        pa.table({"prompt_id": [a for a, _ in ids], "response_id": [b for _, b in ids], "features": matrix}), path
    )
