"""A batch that version 0.2.0 solved, reviewed, signed and sent out still verifies, goes out and takes its labels back.

tests/data/signed-0.2.0 was written by commit e2e0ea8: five pairs, people with roles, an undo, an unsigned preview, a
signed export, labels brought back; with the database, the public key, the export and the answers.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.batch.folder import read_batch
from curation.batch.presentation import decode_side
from curation.batch.records import check_ids
from curation.errors import ExportError, StoreError
from curation.exchange.receive import import_labels
from curation.exchange.send import export_batch, export_signed
from curation.review.register import record_batch
from curation.review.signing_key import KEY
from curation.review.signoff import verify_batch
from curation.review.store.store import Store, open_store

KEPT = Path(__file__).parents[2] / "data" / "signed-0.2.0"
PUBLIC = (KEPT / "public_key.txt").read_text()


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Store]]:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(KEY, str(tmp_path / "keys" / "key.pem"))
    shutil.copytree(KEPT, tmp_path / "kept")
    store = open_store(f"sqlite:///{tmp_path / 'kept' / 'pairwright.db'}")
    yield tmp_path / "kept" / "batch", store
    store.close()


def test_it_verifies_and_its_ids_are_its_own(before: Any) -> None:
    folder, store = before
    check_ids(read_batch(folder))
    verdict = verify_batch(folder, store=store, trusted=PUBLIC)
    assert verdict.problems == ()
    assert (verdict.holds, verdict.key_known, verdict.signed_by) == (True, True, "cat")
    assert any("recorded by an earlier version" in note for note in verdict.notes)


def test_it_goes_out_as_it_did_and_is_bound_from_then_on(before: Any, tmp_path: Path) -> None:
    folder, store = before
    export_signed(folder, to="jsonl", out=tmp_path / "again.jsonl", who="cat", trusted=PUBLIC, store=store)
    rows, then = (
        [json.loads(x) for x in p.read_text().splitlines()] for p in (tmp_path / "again.jsonl", KEPT / "out.jsonl")
    )
    assert rows == then
    verdict = verify_batch(folder, store=store, trusted=PUBLIC)
    assert verdict.problems == ()
    assert any("its records are bound since" in note for note in verdict.notes)
    (folder / "batch.jsonl").write_text((folder / "batch.jsonl").read_text().replace("answer", "Answer", 1))
    with pytest.raises(StoreError, match="the first on line 1"):
        record_batch(store, read_batch(folder), who="cat")


def test_records_that_were_not_signed_then_are_never_bound_now(before: Any, tmp_path: Path) -> None:
    folder, store = before
    (folder / "batch.jsonl").write_text((folder / "batch.jsonl").read_text().replace("answer", "Answer", 1))
    with pytest.raises(StoreError, match="as it was signed"):
        record_batch(store, read_batch(folder), who="cat")
    with pytest.raises(StoreError, match="as it was signed"):
        export_batch(folder, to="csv", out=tmp_path / "x.csv", who="cat", store=store)
    with pytest.raises(ExportError, match="is not what was signed"):
        export_signed(folder, to="csv", out=tmp_path / "x.csv", who="cat", trusted=PUBLIC, store=store)


def test_its_labels_are_decoded_as_they_were(before: Any) -> None:
    folder, store = before
    held = {label.pair_id: label.outcome for label in store.labels(read_batch(folder).batch_id)}
    with sqlite3.connect(store.place) as connection:
        connection.execute("DELETE FROM labels")
    told = import_labels(folder, KEPT / "answers.jsonl", who="ana", store=store)
    assert told["labels"] == len(held) == 5
    assert {label.pair_id: label.outcome for label in store.labels(told["batch_id"])} == held
    record = {r["pair_id"]: r for r in read_batch(folder).records}
    for line in (KEPT / "answers.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert decode_side(row["left_id"], record[row["pair_id"]], read_batch(folder).manifest["batch_seed"]) in "ab"
