"""The list of batches: how far each is, who signed it, and that a folder that is gone is left out."""

from __future__ import annotations

import shutil
from typing import Any

from curation.batch.folder import read_batch
from curation.review.overview import batch_states
from curation.review.signoff import sign_batch
from tests.desk.signing import batch_id, desk, pairs, reviewed, solved  # noqa: F401


def test_a_batch_says_how_far_it_is_and_who_signed_it(desk: Any) -> None:  # noqa: F811
    folder, store = desk
    pool, keys = read_batch(folder).manifest["pool"]["fingerprint"], pairs(folder)
    (state,) = batch_states(store, pool)
    assert (state.pairs, state.decided, state.approved, state.signed_by) == (len(keys), len(keys), len(keys), None)
    assert state.words() == f"reviewed {len(keys)}/{len(keys)}"
    store.decide(batch_id(folder), keys[0], "clear", who="bea")
    store.decide(batch_id(folder), keys[1], "reject", who="bea", reason="off topic")
    (state,) = batch_states(store, pool)
    assert (state.decided, state.approved) == (len(keys) - 1, len(keys) - 2)
    assert "by ana" in state.title()
    store.decide(batch_id(folder), keys[0], "approve", who="bea")
    sign_batch(folder, who="cat", store=store)
    (state,) = batch_states(store, pool)
    assert state.words() == f"signed by cat, {len(keys) - 1}/{len(keys)} approved"
    (folder / "signature.json").write_text("no signature")
    assert batch_states(store, pool)[0].signed_by is None
    shutil.rmtree(folder)
    assert batch_states(store, pool) == []
