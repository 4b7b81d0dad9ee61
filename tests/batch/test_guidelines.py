"""Guidelines belong to a batch: written into it, named in its manifest, signed, shown in review, shipped in exports."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from curation.batch.folder import GUIDELINES, MANIFEST, read_batch
from curation.batch.guidelines import guidelines_of, read_guidelines
from curation.batch.records import save_batch
from curation.cli.app import main
from curation.errors import BatchError, StoreError
from curation.exchange.assignment import parse_annotators
from curation.exchange.send import export_batch
from curation.exchange.tools.base import TOOLS
from curation.review.register import record_batch
from curation.review.signing_key import KEY
from curation.review.signoff import sign_batch, verify_batch
from curation.review.store.store import Store, open_store

TEXT = "# What is better?\r\n\nThe answer that is *true* \u2713, not the longer one.\n"


@pytest.fixture
def batch(made: dict[str, Any], tmp_path: Path) -> Any:
    save_batch(made["solved"], tmp_path / "batch", guidelines=TEXT)
    return read_batch(tmp_path / "batch")


@pytest.fixture
def store(batch: Any, tmp_path: Path) -> Any:
    opened = open_store(f"sqlite:///{tmp_path / 'review.db'}")
    record_batch(opened, batch, who="ana")
    opened.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="bea")
    yield opened
    opened.close()


def test_the_manifest_names_the_guidelines_and_the_id_is_what_it_was(made: dict[str, Any], batch: Any) -> None:
    plain = read_batch(made["batch"])
    assert guidelines_of(batch) == TEXT
    assert batch.manifest["guidelines"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert batch.batch_id == plain.batch_id
    assert "guidelines" not in plain.manifest
    assert guidelines_of(plain) is None


@pytest.mark.parametrize("to", TOOLS.names())
def test_every_export_ships_them(batch: Any, store: Store, tmp_path: Path, to: str) -> None:
    told = export_batch(batch.path, to=to, out=tmp_path / "o.x", store=store)  # type: ignore[arg-type]
    assert str(tmp_path / "o.guidelines.md") in told["also_written"]
    with (tmp_path / "o.guidelines.md").open(encoding="utf-8", newline="") as handle:
        shipped = handle.read()
    assert shipped == f"<!-- Guidelines of batch {batch.batch_id} -->\n\n{TEXT}"
    export_batch(batch.path, to=to, out=tmp_path / "o.x", force=True, store=store)  # type: ignore[arg-type]


def test_argillas_settings_hold_them_for_every_dataset(batch: Any, store: Store, tmp_path: Path) -> None:
    people = parse_annotators("ana,ben")
    export_batch(batch.path, to="argilla", out=tmp_path / "r.json", annotators=people, store=store)
    for name in ("r.settings.json", "r.by-2.settings.json"):
        assert json.loads((tmp_path / name).read_text())["guidelines"] == TEXT


def test_guidelines_that_changed_are_not_sent_not_shown_and_void_the_signature(
    batch: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, str(tmp_path / "keys" / "key.pem"))
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    signature = sign_batch(batch.path, who="cat", acknowledged=["all"], store=store)
    assert signature["files"][GUIDELINES] == batch.manifest["guidelines"]
    assert verify_batch(batch.path, store=store).holds
    (batch.path / GUIDELINES).write_text("Take the longer one.")
    assert any(GUIDELINES in problem for problem in verify_batch(batch.path, store=store).problems)
    with pytest.raises(BatchError, match="is not what the manifest names"):
        export_batch(batch.path, to="csv", out=tmp_path / "o.csv", store=store)
    assert not (tmp_path / "o.csv").exists()


def test_other_guidelines_are_not_what_was_recorded(made: dict[str, Any], batch: Any, store: Store) -> None:
    key = batch.manifest["batch_seed"]
    shutil.rmtree(batch.path)
    save_batch(made["solved"], batch.path, guidelines="Take the longer one.")
    manifest = json.loads((batch.path / MANIFEST).read_text())
    (batch.path / MANIFEST).write_text(json.dumps({**manifest, "batch_seed": key}))
    with pytest.raises(StoreError, match=r"as it was recorded.*something else of the design"):
        record_batch(store, read_batch(batch.path), who="ana")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b" \n", "is empty"), (b"\xff\xfeq", "is not UTF-8 text"), (b"a\0b", "NUL"), (b"x" * (2 << 20), "over the")],
)
def test_guidelines_that_cannot_be_used_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "g.md").write_bytes(content)
    with pytest.raises(BatchError, match=words):
        read_guidelines(tmp_path / "g.md")


def test_a_byte_order_mark_is_no_part_of_them(tmp_path: Path) -> None:
    (tmp_path / "g.md").write_bytes("\ufeff\ufeffBe fair.".encode())
    assert read_guidelines(tmp_path / "g.md") == "Be fair."


def test_solve_takes_them_and_force_replaces_the_folder(
    made: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:  # fmt: skip
    (tmp_path / "g.md").write_bytes(TEXT.encode())
    features = made["pool_file"].parent / "f.parquet"
    asked = ["solve", str(made["pool_file"]), "--features", str(features), "--budget", "6", "--dim", "6"]
    asked += ["--out", str(tmp_path / "b"), "--guidelines", str(tmp_path / "g.md")]
    assert main(asked) == 0
    assert guidelines_of(read_batch(tmp_path / "b")) == TEXT
    assert main([*asked, "--force"]) == 0
    assert main([*asked[:-1], str(tmp_path / "no.md"), "--force"]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert guidelines_of(read_batch(tmp_path / "b")) == TEXT


def test_a_killed_runs_leftover_with_guidelines_is_put_back(batch: Any, made: dict[str, Any]) -> None:
    batch.path.rename(batch.path.with_name(".batch.old-4194305"))  # no such process
    with pytest.raises(BatchError, match="already exists"):
        save_batch(made["solved"], batch.path)
    assert guidelines_of(read_batch(batch.path)) == TEXT
