"""The batch after one whose labels are still out: nothing is bought twice, and what is on its way counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from curation.batch.folder import read_batch
from curation.errors import BatchError
from curation.review.again import design_again, design_meanwhile, labelled_batches, lesson
from curation.review.register import record_batch, save_for_review
from curation.run.prepare import prepare
from curation.run.solve import solve
from tests.desk.signing import batch_id
from tests.run.test_learning_batches import SETTINGS, SPACE, label, store, world  # noqa: F401


def test_the_batch_after_an_unlabelled_one_buys_none_of_its_approved_pairs(world: Any, store: Any) -> None:  # noqa: F811
    settings = replace(SETTINGS, budget=40)
    prepared = prepare(world["pool"], world["features"], space=SPACE, device="cpu")
    first = save_for_review(solve(prepared, settings), pinned=[], excluded=[], store=store, who="ana")
    asked = {"store": store, "who": "ana"}
    with pytest.raises(BatchError, match="is approved, so there is nothing to go on from"):
        design_meanwhile(first, world["pool"], prepared.table, settings, **asked)
    keys = [record["pair_id"] for record in first.records]
    store.decide_many(first.batch_id, keys[1:], "approve", who="bea")
    second = design_meanwhile(first, world["pool"], prepared.table, settings, **asked)
    assert not {r["pair_id"] for r in second.records} & set(keys[1:])
    labels = sum(record["copies"] for record in first.records[1:])
    assert second.manifest["previous"] == {"batches": [first.batch_id], "labels": labels}
    again = read_batch(second.path)
    record_batch(store, again, who="ana")  # its id is that of its settings
    assert batch_id(second.path) == second.batch_id
    plain = solve(prepared, settings)
    assert second.manifest["objective"] < plain.design.certificate.objective  # what is on its way counts as taught


def test_labels_of_an_earlier_batch_count_beside_those_on_their_way(world: Any, store: Any) -> None:  # noqa: F811
    settings = replace(SETTINGS, budget=40)
    prepared = prepare(world["pool"], world["features"], space=SPACE, device="cpu")
    first = save_for_review(solve(prepared, settings), pinned=[], excluded=[], store=store, who="ana")
    asked = {"store": store, "who": "ana"}
    label(world, store, first.path)
    with pytest.raises(BatchError, match="back already"):
        design_meanwhile(first, world["pool"], prepared.table, settings, **asked)
    told = lesson(labelled_batches(store, world["pool"], prepared.table.fingerprint), world["pool"], world["features"],
                  settings, store=store)  # fmt: skip
    second = design_again(told, settings, **asked)
    store.decide_many(second.batch_id, [r["pair_id"] for r in second.records], "approve", who="bea")
    third = design_meanwhile(second, world["pool"], prepared.table, settings, **asked)
    assert third.manifest["previous"]["batches"] == [first.batch_id, second.batch_id]
    bought = {r["pair_id"] for one in (first, second) for r in one.records}
    assert not {r["pair_id"] for r in third.records} & bought
