"""A solved batch from which others go on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from curation.representation.features_file import write_features
from curation.run.prepare import load_pool, prepare
from curation.settings import DesignSettings, SpaceSettings

SPACE = SpaceSettings(dim=4)


BASE = DesignSettings(budget=20, ridge=0.5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("going_on")
    rng = np.random.default_rng(1)
    rows = [
        {"prompt_id": f"p{x:02d}", "prompt": f"q {x}", "stratum": "ab"[x % 2], "meta": {"price": 1.0 + x % 3},
         "responses": [{"response_id": f"r{k}", "text": f"answer {x} {k}", "generator": f"g{k}"} for k in range(4)]}
        for x in range(16)
    ]  # fmt: skip
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pool = load_pool(folder / "pool.jsonl").pool
    features = write_features(folder / "f.parquet", pool.ids(), rng.standard_normal((64, 6)) * [3, 2, 1, 1, 1, 1])
    return {"pool": pool, "features": features, "prepared": prepare(pool, features, space=SPACE, device="cpu")}
