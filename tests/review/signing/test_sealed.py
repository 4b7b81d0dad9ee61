"""What is signed is what was reviewed, and what goes out is what was signed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.batch.folder import SIGNATURE, read_batch
from curation.errors import BatchError, CurationError, ExportError, SignatureError, StoreError
from curation.exchange import send
from curation.exchange.send import export_batch, export_signed, export_trl
from curation.review import signoff
from curation.review.register import check_recorded, decide_from_file, record_batch
from curation.review.signoff import sign_batch, verify_batch
from curation.review.store.batches import NewBatch
from curation.review.store.store import open_store
from tests.desk.sealing import manifest_with
from tests.desk.signing import batch_id, edit, pairs

# A1: exports ------------------------------------------------------------------------------------------------------


def test_exporting_again_to_the_same_file_is_a_note_whatever_the_order(desk: Any, tmp_path: Path) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    for order in ("random", "both", "random", "fixed"):
        export_signed(folder, to="csv", out=tmp_path / "t.csv", order=order, force=True, who="cat", store=store)
        verdict = verify_batch(folder, store=store)
        assert verdict.problems == ()
    assert [note for note in verdict.notes if "a later export was written over it" in note]


@pytest.mark.parametrize(
    "changes", ["overwritten by the signed one", "changed", "removed", "a folder", "another preview"]
)
def test_an_unsigned_preview_never_bears_on_a_signature(desk: Any, tmp_path: Path, changes: str) -> None:
    folder, store = desk
    out = tmp_path / "t.csv"
    store.decide(batch_id(folder), pairs(folder)[0], "clear", who="bea")
    export_batch(folder, to="csv", out=out, who="bea", store=store)
    store.decide(batch_id(folder), pairs(folder)[0], "approve", who="bea")
    if changes == "another preview":
        export_batch(folder, to="csv", out=out, force=True, who="bea", store=store)
    sign_batch(folder, who="cat", store=store)
    if changes == "overwritten by the signed one":
        export_signed(folder, to="csv", out=out, force=True, who="cat", store=store)
    elif changes == "changed":
        out.write_text(out.read_text() + "x")
    elif changes in ("removed", "a folder"):
        out.unlink()
        if changes == "a folder":
            out.mkdir()
    verdict = verify_batch(folder, store=store)
    assert verdict.holds, verdict.problems
    assert [note for note in verdict.notes if "t.csv" in note]


def test_a_file_that_another_batch_was_exported_to_is_a_note(desk: Any, tmp_path: Path) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    export_signed(folder, to="csv", out=tmp_path / "t.csv", who="cat", store=store)
    store.record_pool("other", "other")
    other = NewBatch(
        "other", folder=tmp_path, pool_fingerprint="other", features_fingerprint="f", budget=1.0, settings={},
        objective=None, lower_bound=None, realised=None,
    )  # fmt: skip
    store.record_batch(other, who="ana")
    (tmp_path / "t.csv").write_text("of another batch")
    store.record_export(
        "other", format="csv", file=tmp_path / "t.csv", sha256="0" * 64, rows=1, left_out={}, signed=False, who="ana"
    )
    assert verify_batch(folder, store=store).holds


def test_a_changed_export_is_told_but_neither_voids_the_batch_nor_bars_the_next_signature(
    desk: Any,
    tmp_path: Path,
) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    export_signed(folder, to="csv", out=tmp_path / "t.csv", who="cat", store=store)
    (tmp_path / "t.csv").write_text("changed")
    verdict = verify_batch(folder, store=store)
    assert (verdict.holds, verdict.batch_holds, len(verdict.sent)) == (False, True, 1)
    export_signed(folder, to="csv", out=tmp_path / "u.csv", who="cat", store=store)
    store.decide(batch_id(folder), pairs(folder)[0], "reject", who="bea", reason="unclear")
    sign_batch(folder, who="cat", store=store)
    assert verify_batch(folder, store=store).batch_holds


# A3: records are bound when they are recorded ---------------------------------------------------------------------


def rewritten(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    path = folder / "batch.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    change(rows)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _exchange(rows: list[dict[str, Any]]) -> None:
    for name in ("response_a", "response_b", "prompt"):
        rows[0][name], rows[1][name] = rows[1][name], rows[0][name]


FORGERIES: dict[str, Callable[[Path], None]] = {
    "text": lambda f: rewritten(f, lambda rows: rows[0].update(response_a="TEXT THAT NOBODY EVER REVIEWED")),
    "prompt": lambda f: rewritten(f, lambda rows: rows[2].update(prompt="another question")),
    "texts of two pairs": lambda f: rewritten(f, _exchange),
    "sides": lambda f: rewritten(
        f, lambda rows: rows[0].update(response_a=rows[0]["response_b"], response_b=rows[0]["response_a"])
    ),
    "copies": lambda f: rewritten(f, lambda rows: [row.update(copies=3) for row in rows] and None),
    "score": lambda f: rewritten(f, lambda rows: rows[0].update(score=1e9)),
    "order": lambda f: rewritten(f, lambda rows: rows.reverse()),
    "seed": lambda f: manifest_with(f, seed=7),
    "efficiency": lambda f: manifest_with(f, efficiency=1.0),
    "lower bound": lambda f: manifest_with(f, lower_bound=1e9),
    "stopped": lambda f: manifest_with(f, stopped="time", gap=0.5),
    "quotas": lambda f: manifest_with(f, quotas={}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_was_changed_since_it_was_recorded_is_neither_decided_on_nor_signed_nor_sent_out(
    desk: Any,
    tmp_path: Path,
    name: str,
) -> None:
    folder, store = desk
    events, home = len(store.events()), store.batches()[0].folder
    FORGERIES[name](folder)
    (tmp_path / "d.csv").write_text(f"pair_id,decision\n{pairs(folder)[0]},flag\n")
    calls: tuple[Callable[[], object], ...] = (
        lambda: decide_from_file(folder, tmp_path / "d.csv", who="bea", store=store),
        lambda: sign_batch(folder, who="cat", store=store),
        lambda: export_batch(folder, to="csv", out=tmp_path / "x.csv", who="bea", store=store),
        lambda: export_trl(folder, tmp_path / "x.jsonl", store=store),
        lambda: check_recorded(store, read_batch(folder)),
    )
    for call in calls:
        with pytest.raises((StoreError, BatchError)):
            call()
    assert len(store.events()) == events
    assert store.batches()[0].folder == home
    assert not list(tmp_path.glob("x.*"))
    assert not (folder / SIGNATURE).exists()


def test_the_folder_of_a_batch_moves_with_its_records_and_with_nothing_else(desk: Any, tmp_path: Path) -> None:
    folder, store = desk
    shutil.copytree(folder, tmp_path / "elsewhere")
    record_batch(store, read_batch(tmp_path / "elsewhere"), who="bea")
    assert store.batches()[0].folder == str((tmp_path / "elsewhere").resolve())
    shutil.copytree(folder, tmp_path / "forged")
    FORGERIES["text"](tmp_path / "forged")
    with pytest.raises(StoreError, match="the first on line 1"):
        record_batch(store, read_batch(tmp_path / "forged"), who="bea")
    assert store.batches()[0].folder == str((tmp_path / "elsewhere").resolve())


def test_ids_are_checked_against_what_stands_under_them(desk: Any, tmp_path: Path) -> None:
    folder, _ = desk
    fresh = open_store(f"sqlite:///{tmp_path / 'fresh.db'}")
    for change, words in (
        (lambda rows: rows[0].update(response_a_id="another"), "pair_id .* is not that of its prompt and responses"),
        (lambda rows: rows[1].update(rows[0]), "stands twice"),
        (lambda rows: rows[0].update(copies=2), "is not that of its settings and pairs"),
    ):
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "b")
        rewritten(tmp_path / "b", change)  # type: ignore[arg-type]
        with pytest.raises(BatchError, match=words):
            record_batch(fresh, read_batch(tmp_path / "b"), who="ana")
    shutil.rmtree(tmp_path / "b")
    shutil.copytree(folder, tmp_path / "b")
    manifest_with(tmp_path / "b", batch_id="0" * 16)
    with pytest.raises(BatchError, match="batch_id 0000000000000000 is not that of its settings and pairs"):
        record_batch(fresh, read_batch(tmp_path / "b"), who="ana")
    assert fresh.batches() == []
    fresh.close()


def test_a_batch_recorded_without_hashes_is_bound_by_the_next_who_records_it(desk: Any) -> None:
    """As a version without hashes left it: the event that comes next carries them, and verify says so."""
    folder, store = desk
    edit(store, ("UPDATE events SET body = '{\"pool\":\"x\"}' WHERE kind = 'batch'", ()))
    before = [event for event in store.events() if event.kind == "batch"]
    assert store.binding(batch_id(folder)) is None
    record_batch(store, read_batch(folder), who="bea")
    record_batch(store, read_batch(folder), who="bea")
    assert len([event for event in store.events() if event.kind == "batch"]) == len(before) + 1
    bound = store.binding(batch_id(folder))
    assert bound is not None
    assert bound.late
    assert any("its records are bound since" in note for note in store.log_report(batch_id(folder)).notes)
    FORGERIES["text"](folder)
    with pytest.raises(StoreError, match="as it was recorded"):
        record_batch(store, read_batch(folder), who="bea")


# A4, W2: the checklist that is signed ------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["clear", "flag", "reject", "approve"])
def test_a_decision_while_a_batch_is_being_signed_stops_the_signature(
    desk: Any,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
) -> None:
    folder, store = desk
    key = signoff._key_to_sign

    def meanwhile(*args: Any, **rest: Any) -> Any:
        store.decide(
            batch_id(folder), pairs(folder)[0], word, who="bea", reason="unclear" if word == "reject" else None
        )
        return key(*args, **rest)

    monkeypatch.setattr(signoff, "_key_to_sign", meanwhile)
    with pytest.raises(StoreError, match="changed while it was being signed"):
        sign_batch(folder, who="cat", store=store)
    assert not (folder / SIGNATURE).exists()
    assert "sign" not in [event.kind for event in store.events()]


@pytest.mark.parametrize("name", ["text", "efficiency", "copies"])
def test_a_folder_that_changes_while_it_is_being_signed_is_not_signed(
    desk: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    folder, store = desk
    key = signoff._key_to_sign

    def meanwhile(*args: Any, **rest: Any) -> Any:
        FORGERIES[name](folder)
        return key(*args, **rest)

    monkeypatch.setattr(signoff, "_key_to_sign", meanwhile)
    with pytest.raises(SignatureError, match="changed while it was being signed"):
        sign_batch(folder, who="cat", store=store)
    assert not (folder / SIGNATURE).exists()


# A6: what goes out is made of the bytes that were hashed ------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before the check", "between check and reading", "while it is written"])
def test_records_swapped_during_an_export_are_refused_or_without_effect(
    desk: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    place, name = {
        "before the check": (send, "read_signature"),
        "between check and reading": (send, "export_batch"),
        "while it is written": (send, "export_records"),
    }[moment]
    honest = getattr(place, name)

    def swapped(*args: Any, **rest: Any) -> Any:
        rewritten(folder, lambda rows: [row.update(response_a="EVIL TEXT") for row in rows] and None)
        return honest(*args, **rest)

    monkeypatch.setattr(place, name, swapped)
    try:
        export_signed(folder, to="csv", out=tmp_path / "t.csv", who="cat", store=store)
    except CurationError:
        assert moment != "while it is written"
        assert not (tmp_path / "t.csv").exists()
    else:
        assert "EVIL TEXT" not in (tmp_path / "t.csv").read_text()


def test_a_decision_between_the_check_and_the_export_is_refused(
    desk: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    honest = send.export_batch

    def late(*args: Any, **rest: Any) -> Any:
        store.decide(batch_id(folder), pairs(folder)[0], "reject", who="bea", reason="unclear")
        return honest(*args, **rest)

    monkeypatch.setattr(send, "export_batch", late)
    with pytest.raises(ExportError, match="the decisions"):
        export_signed(folder, to="csv", out=tmp_path / "t.csv", who="cat", store=store)
    assert not (tmp_path / "t.csv").exists()


# The folder is compared whole -----------------------------------------------------------------------------------------


def _link_elsewhere(folder: Path) -> None:
    shutil.copy(folder / "batch.jsonl", folder.parent / "copy.jsonl")
    (folder / "batch.jsonl").unlink()
    (folder / "batch.jsonl").symlink_to(folder.parent / "copy.jsonl")


def _subfolder(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "texts.txt").write_text("unsigned")


STRANGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "hidden file": (lambda f: (f / ".hidden").write_text("x"), r"^\.hidden: the file was not there"),
    "subfolder": (_subfolder, "^more: it is a folder"),
    "pipe": (lambda f: os.mkfifo(f / "pipe"), "^pipe: it is a pipe"),
    "link": (lambda f: (f / "etc").symlink_to("/etc"), "^etc: it is a link to /etc"),
    "broken link": (lambda f: (f / "gone").symlink_to("nowhere"), "^gone: it is a link to nowhere"),
    "records by a link": (_link_elsewhere, r"^batch\.jsonl: it is a link"),
    "left by a killed signing": (lambda f: (f / f".{SIGNATURE}.77").write_text("{}"), r"^\.signature\.json\.77: "),
}


@pytest.mark.parametrize("name", STRANGE)
def test_whatever_else_lies_in_a_signed_folder_is_named(desk: Any, name: str) -> None:
    import re

    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    put, words = STRANGE[name]
    put(folder)
    problems = verify_batch(folder, store=store).problems
    assert [problem for problem in problems if re.search(words, problem)], problems


@pytest.mark.parametrize("name", ["subfolder", "pipe", "link", "broken link", "records by a link"])
def test_a_folder_of_more_than_plain_files_is_not_signed(desk: Any, name: str) -> None:
    folder, store = desk
    STRANGE[name][0](folder)
    with pytest.raises(BatchError, match="holds more than plain files"):
        sign_batch(folder, who="cat", store=store)


def test_a_hidden_file_that_was_there_is_signed_with_the_rest(desk: Any) -> None:
    folder, store = desk
    (folder / ".note").write_text("x")
    (folder / f".{SIGNATURE}.4711").write_text("{")  # a signing that was killed
    assert ".note" in sign_batch(folder, who="cat", store=store)["files"]
    (folder / f".{SIGNATURE}.4711").unlink()
    assert verify_batch(folder, store=store).holds
    (folder / ".note").write_text("y")
    assert any(problem.startswith(".note: was changed") for problem in verify_batch(folder, store=store).problems)


# A10: blindness ----------------------------------------------------------------------------------------------------
