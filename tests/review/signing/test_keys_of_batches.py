"""Two batches of one design have keys of their own; what goes out decodes no side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from curation.batch.folder import read_batch
from curation.batch.records import batch_seed, check_ids, folder_identity
from curation.errors import ExportError
from curation.exchange.send import export_batch
from curation.review.register import binding_of
from curation.review.store.store import Store
from tests.desk.sealing import manifest_with


def test_two_batches_of_the_same_settings_have_one_id_and_the_same_records_and_keys_of_their_own(
    solved: Path,
    tmp_path: Path,
) -> None:
    from curation.batch.records import save_batch
    from curation.run.prepare import load_pool, prepare
    from curation.run.solve import solve
    from curation.settings import DesignSettings, SpaceSettings

    pool = load_pool(solved.parent / "pool.jsonl").pool
    prepared = prepare(pool, solved.parent / "f.parquet", space=SpaceSettings(dim=5), device="cpu")
    made = solve(prepared, DesignSettings(budget=8, quotas=(("a", 3, 5),)))
    first, second = read_batch(solved), read_batch(save_batch(made, tmp_path / "again"))
    assert first.batch_id == second.batch_id == folder_identity(first.manifest, first.records)
    assert first.digests["batch.jsonl"] == second.digests["batch.jsonl"]
    assert binding_of(first).difference(binding_of(second)) is None
    seeds = [batch.manifest["batch_seed"] for batch in (first, second)]
    assert all(len(bytes.fromhex(seed)) == 32 for seed in seeds)
    assert seeds[0] != seeds[1]
    assert batch_seed(first.batch_id, 0) not in seeds
    save_batch(made, tmp_path / "again", force=True)
    assert read_batch(tmp_path / "again").manifest["batch_seed"] == seeds[1]  # exports that are out go on decoding
    check_ids(second)


@pytest.fixture
def sent(desk: Any, tmp_path: Path) -> tuple[Any, list[dict[str, Any]], Store, Path]:
    folder, store = desk
    export_batch(folder, to="jsonl", out=tmp_path / "t.jsonl", who="bea", store=store)
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    return read_batch(folder), rows, store, folder


def test_nothing_that_goes_out_decodes_the_sides(sent: Any) -> None:
    """Everything that an annotator holds, or can guess, tried as the key: fields of the rows, and what they hash to."""
    import hashlib
    from itertools import permutations

    from curation.batch.presentation import decode_side

    batch, rows, _, _ = sent
    known = {str(value) for row in rows for name, value in row.items() if name not in ("prompt", "left", "right")}
    known |= {str(number) for number in range(20)} | {"", batch.manifest["pool"]["fingerprint"]}
    guesses = set(known) | {batch_seed(batch.batch_id, number) for number in range(1000)}
    for a, b in permutations(sorted(known), 2):
        guesses |= {
            f"{a}:{b}",
            hashlib.sha256(f"{a}:{b}".encode()).hexdigest(),
            hashlib.sha256((a + b).encode()).hexdigest(),
        }
    guesses |= {hashlib.sha256(guess.encode()).hexdigest() for guess in list(known)}
    records = {record["pair_id"]: record for record in batch.records}
    for row in rows[:2]:
        with pytest.raises(ExportError, match="is not one of pair"):
            decode_side(row["left_id"], records[row["pair_id"]], sorted(guesses))
    assert decode_side(rows[0]["left_id"], records[rows[0]["pair_id"]], batch.manifest["batch_seed"]) in ("a", "b")


def test_order_and_ids_depend_on_the_key_alone(sent: Any, tmp_path: Path) -> None:
    from curation.batch.presentation import ExportHeader, present

    batch = sent[0]

    bare = [{**record, "left": None} for record in batch.records]
    sides, ids = [], []
    for seed in ("1" * 64, "2" * 64, "3" * 64):
        made, _ = present(bare, header=ExportHeader(batch.batch_id, seed, "", "", signed=False), order="random")
        sides.append([row.left == record["response_a"] for row, record in zip(made, bare, strict=True)])
        ids.append({row.left_id for row in made} | {row.right_id for row in made})
    assert sides[0] != sides[1] or sides[1] != sides[2]
    assert not ids[0] & ids[1]
    shown = {record["pair_id"]: record["left"] for record in batch.records}
    assert set(shown.values()) <= {"a", "b"}  # the Review page's order is kept as it was


def test_exports_of_a_twin_folder_use_the_key_that_was_recorded_and_come_back(sent: Any, tmp_path: Path) -> None:
    """The same settings solved twice are one batch with two keys in two manifests: the store's is the one in use."""
    batch, rows, store, folder = sent
    shutil.copytree(folder, tmp_path / "twin")
    manifest_with(tmp_path / "twin", batch_seed="ab" * 32)
    export_batch(tmp_path / "twin", to="jsonl", out=tmp_path / "u.jsonl", who="bea", store=store)
    again = [json.loads(line) for line in (tmp_path / "u.jsonl").read_text().splitlines()]
    assert [(row["left_id"], row["left"]) for row in again] == [(row["left_id"], row["left"]) for row in rows]
    from curation.exchange.receive import import_labels

    (tmp_path / "answers.jsonl").write_text(
        "".join(json.dumps({**row, "preference": "left", "annotator": "eve"}) + "\n" for row in rows)
    )
    told = import_labels(tmp_path / "twin", tmp_path / "answers.jsonl", who="bea", store=store)
    texts = {record["pair_id"]: record for record in batch.records}
    assert told["labels"] == len(rows)
    left = {row["pair_id"]: row["left"] for row in rows}
    assert all(
        texts[label.pair_id][f"response_{label.outcome}"] == left[label.pair_id]
        for label in store.labels(batch.batch_id)
    )
