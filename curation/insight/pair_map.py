"""The data of the map: sampled pairs with coordinates and what they may be coloured by."""

from __future__ import annotations

import numpy as np
import pandas as pd

from curation.design.criteria.base import Criterion
from curation.design.geometry import Geometry
from curation.design.result import Design
from curation.insight.concentration import pair_table
from curation.insight.embedding import embed
from curation.insight.explain import fisher_directions
from curation.insight.projection import Embedder, project_pairs, sample_pairs
from curation.pool.pair_lists import pairs_by_id
from curation.pool.schema import Pool, pair_id, prompt_text


def map_frame(
    pool: Pool,
    geometry: Geometry,
    criterion: Criterion,
    design: Design,
    batch_pairs: np.ndarray,
    *,
    candidates: int = 1500,
    with_pair: str | None = None,
    seed: int = 0,
    embedder: Embedder = embed,
) -> tuple[pd.DataFrame, str]:
    """One row per drawn pair: x, y, ids, stratum, generators, weight share, distance, main direction, selected, and the
    beginning of the prompt as text.

    All of the batch and `candidates` more are drawn. with_pair: a pair_id that must be among them, where the pool has
    it. Returns the frame and how the coordinates came about.
    """
    weights = design.weights.cpu().numpy()
    pairs = sample_pairs(geometry, weights, batch_pairs, candidates=candidates, seed=seed)
    wanted = {} if with_pair is None else pairs_by_id(pool, {with_pair})
    named = [geometry.number(*place) for place in wanted.values()]
    pairs = np.union1d(pairs, np.array([number for number in named if number is not None], dtype=np.int64))
    z = geometry.differences(pairs).cpu().numpy()
    projection = project_pairs(z, embedder=embedder)
    frame = pair_table(pool, geometry, pairs)
    _, U = fisher_directions(criterion)
    strength = np.square(z @ U)
    first, second = geometry.endpoints(pairs)
    ids = pool.ids()
    frame["x"], frame["y"] = projection.coordinates[:, 0], projection.coordinates[:, 1]
    frame["response_a_id"] = [ids[i][1] for i in first.tolist()]
    frame["response_b_id"] = [ids[j][1] for j in second.tolist()]
    frame["pair_id"] = [
        pair_id(p, a, b)
        for p, a, b in zip(frame["prompt_id"], frame["response_a_id"], frame["response_b_id"], strict=True)
    ]
    texts = {prompt.prompt_id: " ".join(prompt_text(prompt.prompt)[:400].split())[:120] for prompt in pool.prompts}
    frame["text"] = [texts[key] for key in frame["prompt_id"]]
    frame["weight"] = weights[pairs]
    frame["distance"] = np.linalg.norm(z, axis=1)
    frame["direction"] = [f"direction {k + 1}" for k in strength.argmax(1).tolist()]
    frame["selected"] = np.isin(pairs, batch_pairs)
    frame["in_batch"] = np.where(frame["selected"], "in the batch", "candidate")
    return frame, projection.method
