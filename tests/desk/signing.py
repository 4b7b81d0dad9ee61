"""A reviewed batch, ready to be signed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.batch.folder import read_batch
from curation.batch.records import save_batch
from curation.representation.features_file import write_features
from curation.review.register import record_batch
from curation.review.signing_key import KEY
from curation.review.signoff import SELF_SIGN
from curation.review.store.store import Store, open_store
from curation.run.prepare import load_pool, prepare
from curation.run.solve import solve
from curation.settings import DesignSettings, SpaceSettings


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed")
    rng = np.random.default_rng(0)
    with (folder / "pool.jsonl").open("w") as handle:
        for x in range(12):
            texts = [f"answer {x}.{k} " + "word " * int(rng.integers(1, 20)) for k in range(4)]
            row = {
                "prompt_id": f"p{x}",
                "prompt": f"q {x}",
                "stratum": "ab"[x % 2],
                "responses": [{"text": t} for t in texts],
            }
            handle.write(json.dumps(row) + "\n")
    pool = load_pool(folder / "pool.jsonl").pool
    features = write_features(folder / "f.parquet", pool.ids(), rng.standard_normal((48, 8)))
    prepared = prepare(pool, features, space=SpaceSettings(dim=5), device="cpu")
    save_batch(solve(prepared, DesignSettings(budget=8, quotas=(("a", 3, 5),))), folder / "batch")
    return folder / "batch"


@pytest.fixture(scope="module")
def reviewed(solved: Path) -> Path:
    """The database of a batch that ana proposed and bea approved, pair by pair; made once, for every test copies it."""
    place = solved.parent / "review.db"
    store = open_store(f"sqlite:///{place}")
    record_batch(store, read_batch(solved), who="ana")
    store.decide_many(batch_id(solved), pairs(solved), "approve", who="bea")
    store.close()
    return place


@pytest.fixture
def desk(solved: Path, reviewed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Store]]:
    """A copy of the batch, a store in which ana proposed it and bea approved every pair, and a key of this test's own."""
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(KEY, str(tmp_path / "keys" / "key.pem"))
    monkeypatch.delenv(SELF_SIGN, raising=False)
    folder = tmp_path / "batch"
    shutil.copytree(solved, folder)
    shutil.copy(reviewed, tmp_path / "review.db")
    store = open_store(f"sqlite:///{tmp_path / 'review.db'}")
    record_batch(store, read_batch(folder), who="ana")
    yield folder, store
    store.close()


def batch_id(folder: Path) -> str:
    return read_batch(folder).batch_id


def pairs(folder: Path) -> list[str]:
    return [record["pair_id"] for record in read_batch(folder).records]


def edit(store: Store, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Change the database behind the store's back."""
    with sqlite3.connect(store.place) as connection:
        for statement, values in statements:
            connection.execute(statement, values)
