"""Sign-off: what must hold, who may, and that no changed byte, row or order goes unseen."""

from __future__ import annotations

import json
import random
import re
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.batch.folder import SIGNATURE, read_batch, read_criterion, read_selected
from curation.batch.writing import check_target
from curation.errors import BatchError, ExportError, SignatureError, StoreError
from curation.exchange.send import export_signed
from curation.review.signing_key import KEY, private_key, public_hex
from curation.review.signoff import SELF_SIGN, checklist, sign_batch, verify_batch
from curation.review.store.store import Store, open_store
from tests.desk.signing import batch_id, edit, pairs


def test_a_signed_batch_verifies_and_goes_out_with_the_signed_head(desk: Any, tmp_path: Path) -> None:
    folder, store = desk
    made = sign_batch(folder, who="cat", store=store)
    verdict = verify_batch(folder, store=store)
    assert verdict.holds, verdict.problems
    assert (verdict.signed_by, verdict.void) == ("cat", False)
    result = export_signed(folder, to="jsonl", out=tmp_path / "out.jsonl", who="cat", store=store)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert result["signed"]
    assert {(row["signed"], row["audit_head"]) for row in rows} == {(True, made["head"]["hash"])}
    for to in ("label-studio", "argilla", "csv", "parquet"):
        export_signed(folder, to=to, out=tmp_path / f"out.{to}", who="cat", store=store)  # type: ignore[arg-type]
        assert made["head"]["hash"].encode() in (tmp_path / f"out.{to}").read_bytes()
    assert verify_batch(folder, store=store).holds
    with pytest.raises(SignatureError, match="signed already, by cat"):
        sign_batch(folder, who="dan", store=store)


def test_what_is_not_ready_is_not_signed(desk: Any, tmp_path: Path) -> None:
    folder, store = desk
    with pytest.raises(SignatureError, match="is not signed"):
        verify_batch(folder, store=store)
    with pytest.raises(ExportError, match=r"is not signed.*--unsigned"):
        export_signed(folder, to="csv", out=tmp_path / "x.csv", store=store)
    store.decide(batch_id(folder), pairs(folder)[0], "flag", who="bea")
    store.decide(batch_id(folder), pairs(folder)[1], "clear", who="bea")
    with pytest.raises(SignatureError, match="every pair is decided: 1 undecided; no pair is flagged: 1 flagged"):
        sign_batch(folder, who="cat", store=store)
    assert not (folder / SIGNATURE).exists()


def test_the_proposer_does_not_sign_unless_one_person_does_both(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, store = desk
    with pytest.raises(StoreError, match=r"ana proposed batch .* second person"):
        sign_batch(folder, who="ana", store=store)
    assert not (folder / SIGNATURE).exists()
    monkeypatch.setenv(SELF_SIGN, "1")
    assert sign_batch(folder, who="ana", store=store)["second_person"] is False
    assert verify_batch(folder, store=store).holds


def test_the_checklist_tells_quotas_efficiency_and_certificate(desk: Any) -> None:
    folder, store = desk
    checks = {check.name: check for check in checklist(read_batch(folder), store)}
    assert all(check.holds for check in checks.values()), checks
    assert "approved of 3 to 5" in checks["Quota a"].figure
    for record in read_batch(folder).records:
        if record["stratum"] == "a":
            store.decide(batch_id(folder), record["pair_id"], "reject", who="bea", reason="unclear")
    checks = {check.name: check for check in checklist(read_batch(folder), store)}
    assert not checks["Quota a"].holds
    taught = checks["What was approved teaches what was planned"]
    told = re.fullmatch(r"(\d+) of (\d+) labels, worth (\d+) of them drawn at random", taught.figure)
    assert told, taught.figure
    kept, planned, worth = (int(part) for part in told.groups())
    batch = read_batch(folder)
    fisher, prior = read_criterion(batch.path)
    selected, labels = read_selected(batch.path), batch.manifest["labels"]
    words = store.decided(batch.batch_id)[0]
    approved = selected.copies * np.isin(selected.pair_ids, [key for key, word in words.items() if word == "approve"])
    assert (kept, planned) == (approved.sum(), selected.copies.sum())
    assert 0 < worth < planned
    assert taught.holds == (worth >= 0.8 * planned)

    def f(counts: np.ndarray) -> float:
        information = selected.vectors.T @ (selected.vectors * (counts / labels)[:, None])
        return float(np.trace(fisher @ np.linalg.inv(prior + information)))

    units, rng = np.repeat(np.arange(len(approved)), selected.copies), np.random.default_rng(1)
    drawn = [rng.permutation(units) for _ in range(400)]
    means = [
        np.mean([f(np.bincount(one[:n], minlength=len(approved))) for one in drawn]) for n in (worth - 2, worth + 2)
    ]
    assert means[0] >= f(approved) >= means[1], "as many as drawn at random teach, within two labels"


def test_nothing_approved_is_near_nothing(desk: Any) -> None:
    """Under a heavy prior the criterion of no labels at all is near the bound: it must not read as a good batch."""
    folder, store = desk
    for record in read_batch(folder).records:
        store.decide(batch_id(folder), record["pair_id"], "flag", who="bea")
    checks = {check.name: check for check in checklist(read_batch(folder), store)}
    assert not checks["Something is approved"].holds
    assert "What was approved teaches what was planned" not in checks


def test_a_later_decision_voids_the_signature_visibly_and_it_can_be_signed_again(desk: Any, tmp_path: Path) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    store.decide(batch_id(folder), pairs(folder)[0], "reject", who="bea", reason="unclear")
    verdict = verify_batch(folder, store=store)
    assert not verdict.holds
    assert verdict.void
    assert any("changed after signing" in problem for problem in verdict.problems)
    with pytest.raises(ExportError, match="is not what was signed"):
        export_signed(folder, to="csv", out=tmp_path / "x.csv", store=store)
    sign_batch(folder, who="cat", store=store)
    assert verify_batch(folder, store=store).holds
    with pytest.raises(BatchError, match="signed batch, which is never replaced"):
        check_target(folder, force=True)


def _found(folder: Path, store: Store) -> tuple[tuple[str, ...], bool]:
    """What verification finds, whether it can still read the signature or not."""
    try:
        verdict = verify_batch(folder, store=store)
    except SignatureError as error:
        return (str(error),), False
    return verdict.problems, verdict.void


def test_a_hundred_single_byte_changes_are_all_found_in_their_file(desk: Any) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    rng = random.Random(0)
    files = sorted(path for path in folder.iterdir())
    assert len(files) == 8
    for n in range(100):
        path = files[n % len(files)]
        content = path.read_bytes()
        place = rng.randrange(len(content))
        changed = bytes([content[place] ^ (1 << rng.randrange(8))])
        path.write_bytes(content[:place] + changed + content[place + 1 :])
        problems, void = _found(folder, store)
        assert any(path.name in problem for problem in problems), (path.name, place, problems)
        assert not void
        path.write_bytes(content)
    assert verify_batch(folder, store=store).holds


@pytest.mark.parametrize("change", ["drop", "repeat", "swap", "edit", "add"])
def test_a_changed_row_of_the_records_is_found_with_its_line(desk: Any, change: str) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    path = folder / "batch.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    if change == "drop":
        changed, words = lines[:2] + lines[3:], "signed line 3 is gone"
    elif change == "repeat":
        changed, words = [*lines[:3], lines[2], *lines[3:]], "lines were repeated"
    elif change == "swap":
        changed, words = [lines[1], lines[0], *lines[2:]], "the order of lines 1 to 2"
    elif change == "edit":
        changed, words = (
            [*lines[:4], lines[4].replace('"copies": 1', '"copies": 2'), *lines[5:]],
            "signed line 5 is gone or changed, line 5",
        )
    else:
        changed, words = [*lines, lines[0].replace("p", "P", 1)], f"line {len(lines) + 1} is not what was signed"
    path.write_text("".join(changed))
    verdict = verify_batch(folder, store=store)
    assert any("batch.jsonl: was changed" in problem and words in problem for problem in verdict.problems), (
        verdict.problems
    )


def test_files_put_in_or_taken_out_are_found(desk: Any) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    (folder / "extra.txt").write_text("hello")
    (folder / "design.parquet").unlink()
    problems = verify_batch(folder, store=store).problems
    assert any(problem.startswith("extra.txt: the file was not there") for problem in problems)
    assert any(problem.startswith("design.parquet: the file is gone") for problem in problems)


def _tamperings(store: Store, folder: Path) -> dict[str, tuple[tuple[str, tuple[Any, ...]], ...]]:
    """Changes of rows behind the store's back, each with the word that must be found."""
    pair, last = pairs(folder)[0], len(store.events())
    return {
        "decisions: changed": (("UPDATE decisions SET decision = 'flag' WHERE pair_id = ?", (pair,)),),
        "decisions: another name": (("UPDATE decisions SET who = 'zed' WHERE pair_id = ?", (pair,)),),
        "decisions: dropped": (("DELETE FROM decisions WHERE pair_id = ?", (pair,)),),
        "decisions: put in": (
            (
                "INSERT INTO decisions (batch_id, pair_id, decision, who, at, version, action) SELECT batch_id, pair_id, "
                "'approve', who, at, 99, action FROM decisions LIMIT 1",
                (),
            ),
        ),
        "audit log: changed": (("UPDATE events SET who = 'zed' WHERE id = 2", ()),),
        "audit log: body": (("UPDATE events SET body = replace(body, 'approve', 'reject') WHERE id = 2", ()),),
        "audit log: dropped": (("DELETE FROM events WHERE id = 2", ()),),
        "audit log: cut off": (("DELETE FROM events WHERE id = ?", (last,)),),
        "audit log: order": (
            ("UPDATE events SET id = 900 WHERE id = 1", ()),
            ("UPDATE events SET id = 1 WHERE id = 2", ()),
            ("UPDATE events SET id = 2 WHERE id = 900", ()),
        ),
        "exports: dropped": (("DELETE FROM exports", ()),),
        "exports: changed": (("UPDATE exports SET rows = rows + 1", ()),),
    }


@pytest.mark.parametrize(
    "name",
    [
        "decisions: changed", "decisions: another name", "decisions: dropped", "decisions: put in", "audit log: changed",
        "audit log: body", "audit log: dropped", "audit log: cut off", "audit log: order", "exports: dropped",
        "exports: changed",
    ],
)  # fmt: skip
def test_rows_changed_behind_the_stores_back_are_found(desk: Any, tmp_path: Path, name: str) -> None:
    folder, store = desk
    from curation.exchange.send import export_batch

    export_batch(folder, to="csv", out=tmp_path / "x.csv", store=store)
    sign_batch(folder, who="cat", store=store)
    assert verify_batch(folder, store=store).holds
    edit(store, *_tamperings(store, folder)[name])
    verdict = verify_batch(folder, store=store)
    assert not verdict.holds
    assert any(problem.startswith(name.split(":")[0]) for problem in verdict.problems), verdict.problems


def test_a_chain_made_anew_from_changed_decisions_loses_the_signed_head(desk: Any) -> None:
    """Who can write the database can make a chain that is whole; the signed head in the batch tells it from the first."""
    from curation.review.store.chain import START, event_hash

    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    with sqlite3.connect(store.place) as connection:
        connection.execute("UPDATE decisions SET note = 'forged'")
        rows = connection.execute("SELECT id, at, who, kind, batch_id, body FROM events ORDER BY id").fetchall()
        previous = START
        for number, at, who, kind, batch, body in rows:
            forged = body
            if kind == "decide":
                told = json.loads(body)
                told["rows"] = [[*row[:3], "forged", row[4]] for row in told["rows"]]
                forged = json.dumps(told, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            digest = event_hash(at, who, kind, batch, forged, previous)
            connection.execute(
                "UPDATE events SET body=?, previous=?, hash=? WHERE id=?", (forged, previous, digest, number)
            )
            previous = digest
    problems = verify_batch(folder, store=store).problems
    assert any("which was signed, is gone or was made anew" in problem for problem in problems)


def test_a_signature_by_another_key_is_found(desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    own = private_key()
    assert own is not None
    mine = public_hex(own)
    monkeypatch.setenv(KEY, str(tmp_path / "keys" / "other.pem"))
    assert verify_batch(folder, store=store, trusted=mine).holds
    private_key()
    assert any("signed with another key" in problem for problem in verify_batch(folder, store=store).problems)
    monkeypatch.setenv(KEY, str(tmp_path / "keys" / "none.pem"))
    verdict = verify_batch(folder, store=store)
    assert verdict.holds
    assert any("no key is known here" in note for note in verdict.notes)


def test_the_key_stays_out_of_the_workspace_and_is_its_owners_alone(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    assert (tmp_path / "keys" / "key.pem").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv(KEY, str(tmp_path / "home" / "key.pem"))
    with pytest.raises(SignatureError, match="inside the workspace"):
        verify_batch(folder, store=store)
    (tmp_path / "bad.pem").write_text("no key")
    monkeypatch.setenv(KEY, str(tmp_path / "bad.pem"))
    with pytest.raises(SignatureError, match="cannot be used"):
        private_key()


def test_an_export_changed_after_it_went_out_is_found_and_a_missing_one_noted(desk: Any, tmp_path: Path) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    export_signed(folder, to="csv", out=tmp_path / "out.csv", who="cat", store=store)
    export_signed(folder, to="jsonl", out=tmp_path / "out.jsonl", who="cat", store=store)
    (tmp_path / "out.csv").write_text((tmp_path / "out.csv").read_text() + " ")
    (tmp_path / "out.jsonl").unlink()
    verdict = verify_batch(folder, store=store)
    assert [p for p in verdict.problems if "out.csv" in p and "was changed" in p]
    assert [note for note in verdict.notes if "out.jsonl" in note]


def test_roles_are_enforced_by_every_call_of_the_store(desk: Any) -> None:
    folder, store = desk
    batch, pair = batch_id(folder), pairs(folder)[0]
    with pytest.raises(StoreError, match="without an administrator"):
        store.set_role("vic", "viewer", who="vic")
    store.set_role("root", "admin", who="root")
    for name, role in {"vic": "viewer", "rey": "reviewer", "app": "approver"}.items():
        store.set_role(name, role, who="root")
    assert store.people() == {"app": "approver", "rey": "reviewer", "root": "admin", "vic": "viewer"}
    for who in ("vic", "stranger"):
        for call in (
            lambda who=who: store.decide(batch, pair, "flag", who=who),
            lambda who=who: store.decide_many(batch, [pair], "flag", who=who),
            lambda who=who: store.undo_action(batch, who=who),
            lambda who=who: store.record_labels(batch, [], file="x", sha256="", format="csv", counts={}, who=who),
            lambda who=who: store.record_export(
                batch, format="csv", file="x", sha256="", rows=0, left_out={}, signed=False, who=who
            ),
            lambda who=who: sign_batch(folder, who=who, store=store),
            lambda who=who: store.set_role(who, "admin", who=who),
        ):
            with pytest.raises(StoreError, match="may not do this"):
                call()
    assert store.decisions(batch)[pair].decision == "approve"
    store.decide(batch, pair, "flag", who="rey")
    store.undo_action(batch, who="rey")
    with pytest.raises(StoreError, match="rey has the role reviewer and may not do this: it takes the role approver"):
        sign_batch(folder, who="rey", store=store)
    sign_batch(folder, who="app", store=store)
    with pytest.raises(StoreError, match="takes the role admin"):
        store.set_role("rey", "admin", who="app")


def test_an_old_store_gets_a_log_that_holds(desk: Any, tmp_path: Path) -> None:
    """Decisions and exports of a version without a log become its first events when the store is opened."""
    folder, store = desk
    from curation.exchange.send import export_batch

    export_batch(folder, to="csv", out=tmp_path / "x.csv", store=store)
    store.close()
    with sqlite3.connect(store.place) as connection:
        connection.execute("DROP TABLE events")
        connection.execute("DROP TABLE people")
        connection.execute("DROP TABLE views")
        connection.execute("ALTER TABLE labels DROP COLUMN both_bad")
        connection.execute("ALTER TABLE labels DROP COLUMN strength")
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
    again = open_store(f"sqlite:///{store.place}")
    assert again.check_log(batch_id(folder)) == []
    assert len(again.events(batch_id(folder))) == len(pairs(folder)) + 1
    sign_batch(folder, who="cat", store=again)
    assert verify_batch(folder, store=again).holds
    again.close()
