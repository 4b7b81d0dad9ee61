"""Health findings at sign-off: what is wrong with the approved pairs must be read and taken, and stands in what is signed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.batch.folder import read_batch
from curation.batch.records import save_batch
from curation.errors import SignatureError
from curation.representation.features_file import write_features
from curation.review.findings import batch_warnings
from curation.review.register import record_batch
from curation.review.signing_key import KEY
from curation.review.signoff import checklist, sign_batch, verify_batch
from curation.review.store.store import open_store
from curation.run.prepare import load_pool, prepare
from curation.run.solve import solve
from curation.settings import DesignSettings, SpaceSettings


@pytest.fixture
def spoiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A batch of 20 approved pairs; in six of them a response is empty."""
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(KEY, str(tmp_path / "keys" / "key.pem"))
    rng = np.random.default_rng(0)
    words = "river stone cloud amber field winter letter garden window paper copper signal".split()
    rows = []
    for x in range(20):
        texts = [" ".join(rng.choice(words, 30)) + "." for _ in range(2)]
        if x < 6:
            texts[0] = ""
        rows.append({"prompt_id": f"p{x:02d}", "prompt": " ".join(rng.choice(words, 8)) + "?",
                     "responses": [{"response_id": f"r{k}", "text": text} for k, text in enumerate(texts)]})  # fmt: skip
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pool = load_pool(tmp_path / "pool.jsonl").pool
    features = write_features(tmp_path / "f.parquet", pool.ids(), rng.standard_normal((40, 6)))
    prepared = prepare(pool, features, space=SpaceSettings(dim=4), device="cpu")
    save_batch(solve(prepared, DesignSettings(budget=20), with_baselines=False), tmp_path / "batch")
    batch = read_batch(tmp_path / "batch")
    store = open_store(f"sqlite:///{tmp_path / 'review.db'}")
    record_batch(store, batch, who="ana")
    store.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="bea")
    yield batch, store
    store.close()


def test_the_planted_fault_is_found_among_approved_pairs_only(spoiled: Any) -> None:
    batch, _ = spoiled
    every = [record["pair_id"] for record in batch.records]
    found = batch_warnings(batch, every)
    assert [f.key for f in found] == ["empty", "foregone"]
    assert {example[0] for example in found[0].examples} == {f"p{x:02d}" for x in range(6)}
    clean = [r["pair_id"] for r in batch.records if r["prompt_id"] >= "p06"]
    assert batch_warnings(batch, clean) == []
    assert batch_warnings(batch, []) == []


def test_a_finding_must_be_taken_before_the_batch_is_signed_and_stands_in_the_signature(spoiled: Any) -> None:
    batch, store = spoiled
    with pytest.raises(SignatureError, match="--acknowledge empty"):
        sign_batch(batch.path, who="cat", store=store)
    with pytest.raises(SignatureError, match="--acknowledge empty"):
        sign_batch(batch.path, who="cat", acknowledged=["refusals"], store=store)
    assert any(not c.holds and c.required for c in checklist(batch, store))
    made = sign_batch(batch.path, who="cat", acknowledged=["empty", "foregone"], store=store)
    assert any("empty" in check["figure"] and check["holds"] for check in made["checklist"])
    assert verify_batch(batch.path, store=store).holds


def test_rejecting_the_pairs_is_the_other_way(spoiled: Any) -> None:
    batch, store = spoiled
    bad = [r["pair_id"] for r in batch.records if r["prompt_id"] < "p06"]
    store.decide_many(batch.batch_id, bad, "reject", who="bea", reason="both unusable")
    assert sign_batch(batch.path, who="cat", store=store)["batch_id"] == batch.batch_id
