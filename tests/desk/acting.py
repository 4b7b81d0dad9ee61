"""A review with rows to act on: a solved batch, its store and its reviewers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.batch.folder import read_batch
from curation.batch.records import save_batch
from curation.representation.features_file import write_features
from curation.review.register import record_batch
from curation.review.store.store import open_store
from curation.run.prepare import load_pool, prepare
from curation.run.solve import solve
from curation.settings import DesignSettings, SpaceSettings

SPACE = SpaceSettings(dim=5)


LABELS = 24


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("acts")
    rng = np.random.default_rng(0)
    rows = [
        {"prompt_id": f"p{x:02d}", "prompt": f"q {x}", "stratum": "ab"[x % 2],
         "responses": [{"response_id": f"r{k}", "text": f"answer {x} {k}", "generator": f"g{k}"} for k in range(4)]}
        for x in range(40)
    ]  # fmt: skip
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pool = load_pool(folder / "pool.jsonl").pool
    features = write_features(folder / "f.parquet", pool.ids(), rng.standard_normal((160, 8)))
    prepared = prepare(pool, features, space=SPACE, device="cpu")
    made = solve(prepared, DesignSettings(budget=LABELS, ridge=1.0), with_baselines=False)
    save_batch(made, folder / "batch")
    return {
        "pool": pool,
        "pool_file": folder / "pool.jsonl",
        "features": features,
        "folder": folder / "batch",
        "made": made,
    }


@pytest.fixture
def desk(solved: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    store = open_store()
    batch = read_batch(solved["folder"])
    record_batch(store, batch, who="ana")
    yield batch, store
    store.close()


def ids(batch: Any) -> list[str]:
    return [record["pair_id"] for record in batch.records]
