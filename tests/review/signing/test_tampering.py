"""Every column and every row of the store, changed behind its back: found by `verify`, or named as not covered."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from curation.batch.folder import SIGNATURE, read_batch
from curation.errors import CurationError, SignatureError, StoreError
from curation.exchange.receive import import_labels
from curation.exchange.send import export_batch, export_signed
from curation.review.signing_key import private_key
from curation.review.signoff import sign_batch, verify_batch
from curation.review.store.anchor import heads_file
from curation.review.store.chain import START, event_hash
from curation.review.store.log_check import NOT_COVERED
from curation.review.store.store import Store, open_store
from curation.review.store.tables import Base
from tests.desk.signing import batch_id, edit, pairs

MANUAL = Path(__file__).parents[3] / "docs" / "manual.md"
TABLES = sorted(Base.metadata.tables)


@pytest.fixture
def done(desk: Any, tmp_path: Path) -> tuple[Path, Store]:
    """People named, a decision taken back, signed, sent out twice, labels back, a comment, a view and a scenario."""
    folder, store = desk
    key, batch = pairs(folder)[0], batch_id(folder)
    for name, role in {
        "root": "admin",
        "ana": "reviewer",
        "bea": "reviewer",
        "cat": "approver",
        "vic": "viewer",
    }.items():
        store.set_role(name, role, who="root")
    store.decide(batch, key, "reject", who="bea", reason="unclear")
    store.undo_action(batch, who="bea")
    export_batch(folder, to="csv", out=tmp_path / "preview.csv", who="bea", store=store)
    sign_batch(folder, who="cat", store=store)
    export_signed(folder, to="jsonl", out=tmp_path / "out.jsonl", who="cat", store=store)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    (tmp_path / "answers.jsonl").write_text(
        "".join(json.dumps({**row, "preference": "left", "annotator": "eve", "seconds": 3}) + "\n" for row in rows)
    )
    store.comment(batch, key, "fine", who="bea")
    store.save_view("mine", {"show": "all"}, who="bea")
    store.save_scenario(read_batch(folder).manifest["pool"]["fingerprint"], "plan", settings={}, figures={}, who="bea")
    import_labels(folder, tmp_path / "answers.jsonl", who="bea", store=store)
    assert verify_batch(folder, store=store).problems == ()
    return folder, store


class Tampered:
    """A table of the database, changed and put back."""

    def __init__(self, place: str, table: str) -> None:
        self.connection = sqlite3.connect(place, isolation_level=None)
        self.connection.execute("PRAGMA ignore_check_constraints=ON")
        self.table = table
        cursor = self.connection.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid")
        self.columns = [str(part[0]) for part in cursor.description[1:]]
        self.rows = cursor.fetchall()
        self.chosen = self.rows

    def put_back(self) -> None:
        self.connection.execute(f"DELETE FROM {self.table}")
        marks = ", ".join("?" for _ in self.columns)
        names = ", ".join(f'"{name}"' for name in self.columns)
        plain = [row[1:] for row in self.rows]
        self.connection.executemany(f"INSERT INTO {self.table} ({names}) VALUES ({marks})", plain)

    def edits(self, values: Callable[[Any], list[Any]]) -> Iterator[tuple[str, int]]:
        """(column, rowid) of every edit that the database takes, while it stands."""
        for row in self.chosen:
            for column, value in zip(self.columns, row[1:], strict=True):
                for other in (other for other in values(value) if other != value):
                    try:
                        self.connection.execute(
                            f'UPDATE {self.table} SET "{column}" = ? WHERE rowid = ?', (other, row[0])
                        )
                    except sqlite3.IntegrityError:
                        continue  # NOT NULL and UNIQUE hold against this, too
                    yield column, row[0]
                    self.put_back()

    def deletions(self) -> Iterator[int]:
        for row in self.rows:
            self.connection.execute(f"DELETE FROM {self.table} WHERE rowid = ?", (row[0],))
            yield row[0]
            self.put_back()


def another(value: Any) -> list[Any]:
    """One other value of the same kind."""
    if value is None:
        return [1]
    if value in (0, 1):
        return [1 - value]  # true and false, where it is that
    if isinstance(value, int | float):
        return [value + 1000]
    text = str(value)
    if re.match(r"\d{4}-\d\d-\d\d", text):
        return [text.replace("20", "19", 1)]
    if text[:1] in "{[":
        return ['{"other": 1}']
    words = {"approve": "reject", "viewer": "approver", "admin": "reviewer", "a": "b", "b": "a"}
    return [words.get(text, text + "x")]


def covered(table: str, column: str | None = None) -> bool:
    return table not in NOT_COVERED and f"{table}.{column}" not in NOT_COVERED


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_column_of_every_row_is_compared_or_named_as_not_covered(done: Any, table: str, every: bool) -> None:
    folder, store = done
    tampered = Tampered(store.place, table)
    assert tampered.rows, "a table without rows proves nothing"
    tampered.chosen = tampered.rows if every else tampered.rows[-1:]
    missed = {
        column
        for column, _ in tampered.edits(another)
        if not verify_batch(folder, store=store).problems
    }  # fmt: skip
    assert {column for column in missed if covered(table, column)} == set()
    assert verify_batch(folder, store=store).problems == ()
    if any(name.split(".")[0] == table for name in NOT_COVERED):
        assert missed  # a name stands in the list because it is needed


@pytest.mark.parametrize("table", TABLES)
def test_every_row_that_is_deleted_is_missed_or_named_as_not_covered(done: Any, table: str) -> None:
    folder, store = done
    tampered = Tampered(store.place, table)
    missed = [row for row in tampered.deletions() if not verify_batch(folder, store=store).problems]
    assert not (missed and covered(table)), missed
    assert verify_batch(folder, store=store).problems == ()


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_no_value_of_a_wrong_type_stops_verification(done: Any, table: str) -> None:
    """SQLite takes any value in any column; verify names what it cannot read, and goes on."""
    folder, store = done
    tampered = Tampered(store.place, table)
    tampered.chosen = tampered.rows[-2:] if table == "events" else tampered.rows[:1]
    for column, _ in tampered.edits(lambda value: [None, "no such thing", -1, b"\x00\xff", "{", "[1]", 1e300]):
        verdict = verify_batch(folder, store=store)
        assert verdict.problems or not covered(table, column), column


def test_the_manual_repeats_what_is_not_covered() -> None:
    told = re.search(r"Of the database, `verify` does not look at ([^.]*(?:\.[a-z_`][^.]*)*)\.", MANUAL.read_text())
    assert told is not None
    assert set(re.findall(r"`([a-z_.]+)`", told.group(1))) == set(NOT_COVERED)


# What somebody does who can write the database and has no key ---------------------------------------------------------


def rehash(place: str) -> None:
    """Make the chain whole again, from the first event on."""
    with sqlite3.connect(place) as connection:
        previous = START
        for number, at, who, kind, batch, body in connection.execute(
            "SELECT id, at, who, kind, batch_id, body FROM events ORDER BY id"
        ).fetchall():
            digest = event_hash(at, who, kind, batch, body, previous)
            connection.execute("UPDATE events SET previous=?, hash=? WHERE id=?", (previous, digest, number))
            previous = digest


def _copy(source: str | Path, target: str | Path) -> None:
    with closing(sqlite3.connect(source)) as first, closing(sqlite3.connect(target)) as second:
        first.backup(second)


def _last_event(store: Store) -> int:
    return max(event.id for event in store.events())


def test_a_decision_or_an_export_after_the_signature_cannot_be_taken_out_of_the_log(done: Any, tmp_path: Path) -> None:
    folder, store = done
    store.decide(batch_id(folder), pairs(folder)[0], "reject", who="bea", reason="unclear")
    edit(
        store,
        ("DELETE FROM decisions WHERE id = (SELECT max(id) FROM decisions)", ()),
        ("DELETE FROM events WHERE id = ?", (_last_event(store),)),
    )
    assert any("seen on this machine" in problem for problem in verify_batch(folder, store=store).problems)


def test_an_export_after_the_signature_cannot_be_taken_out_of_the_log(done: Any, tmp_path: Path) -> None:
    folder, store = done
    export_signed(folder, to="csv", out=tmp_path / "late.csv", who="cat", store=store)
    edit(
        store,
        ("DELETE FROM exports WHERE id = (SELECT max(id) FROM exports)", ()),
        ("DELETE FROM events WHERE id = ?", (_last_event(store),)),
    )
    assert any("seen on this machine" in problem for problem in verify_batch(folder, store=store).problems)


def test_labels_flipped_with_their_event_made_anew_are_found(done: Any) -> None:
    from curation.review.store.labels import labels_digest
    from curation.review.store.row_hash import rows_hash
    from curation.review.store.tables import LabelRow

    folder, store = done
    edit(store, ("UPDATE labels SET outcome = CASE outcome WHEN 'a' THEN 'b' ELSE 'a' END", ()))
    rows = store._read(lambda session: list(session.query(LabelRow)))
    number = _last_event(store)
    body = next(event.body for event in store.events() if event.id == number)
    forged = {**body, "labels": labels_digest(rows), "label_rows": rows_hash(rows)}
    text = json.dumps(forged, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    edit(store, ("UPDATE events SET body = ? WHERE id = ?", (text, number)))
    rehash(store.place)
    assert verify_batch(folder, store=store).problems == (
        next(p for p in verify_batch(folder, store=store).problems if "seen on this machine" in p),
    )


def test_a_rejection_made_an_approval_before_the_signature_is_not_signed(desk: Any) -> None:
    folder, store = desk
    private_key()  # the machine has signed before, so it remembers
    store.decide(batch_id(folder), pairs(folder)[0], "reject", who="bea", reason="unclear")
    edit(
        store,
        ("UPDATE decisions SET decision = 'approve', reason = NULL WHERE decision = 'reject'", ()),
        ("UPDATE events SET body = replace(replace(body, '\"reject\",\"unclear\"', '\"approve\",null'), 'x', 'x')", ()),
        ("UPDATE events SET body = json_remove(body, '$.entries') WHERE kind = 'decide'", ()),
    )
    rehash(store.place)
    with pytest.raises(
        SignatureError, match=r"the store does not hold: audit log: event \d+ of .* seen on this machine"
    ):
        sign_batch(folder, who="cat", store=store)


def test_a_database_and_a_folder_put_back_to_an_earlier_signature_are_found(desk: Any, tmp_path: Path) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    _copy(store.place, tmp_path / "first.db")
    shutil.copytree(folder, tmp_path / "first")
    store.decide(batch_id(folder), pairs(folder)[0], "reject", who="bea", reason="unclear")
    sign_batch(folder, who="dan", store=store)
    place = store.place
    store.close()
    _copy(tmp_path / "first.db", place)
    shutil.copy(tmp_path / "first" / SIGNATURE, folder / SIGNATURE)
    again = open_store(f"sqlite:///{place}")
    assert any("seen on this machine" in problem for problem in verify_batch(folder, store=again).problems)
    again.decide(batch_id(folder), pairs(folder)[0], "flag", who="bea")  # what follows does not cover the loss
    again.decide(batch_id(folder), pairs(folder)[0], "approve", who="bea")
    again.decide(batch_id(folder), pairs(folder)[0], "approve", who="bea")
    again.decide(batch_id(folder), pairs(folder)[0], "approve", who="bea")
    assert any("seen on this machine" in problem for problem in verify_batch(folder, store=again).problems)
    path = heads_file()
    assert path is not None
    path.write_text("{}")  # the remedy, for who did it on purpose
    assert not any("seen on this machine" in problem for problem in verify_batch(folder, store=again).problems)
    again.close()


@pytest.mark.parametrize(
    "change", ["UPDATE batches SET created_by = 'zed'", "UPDATE people SET role = 'approver' WHERE name = 'ana'"]
)
def test_who_proposed_and_who_may_cannot_be_changed_for_the_moment_of_signing(desk: Any, change: str) -> None:
    folder, store = desk
    for name, role in {"root": "admin", "ana": "viewer" if "people" in change else "approver"}.items():
        store.set_role(name, role, who="root")
    edit(store, (change, ()))
    with pytest.raises(CurationError, match=r"people: ana is approver|was recorded by ana|not what event"):
        sign_batch(folder, who="ana", store=store)
    store.record_signature(batch_id(folder), who="ana", body={"files": {}}, second_person=False)  # as if it had not
    edit(
        store,
        ("UPDATE batches SET created_by = 'ana'", ()),
        ("UPDATE people SET role = 'viewer' WHERE name = 'ana'", ()),
    )
    problems = store.check_log(batch_id(folder))
    if "people" in change:
        assert any("ana (viewer by the log) may not sign" in problem for problem in problems)


def test_a_damaged_memory_is_named_and_an_unknown_one_is_a_note(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, store = desk
    made = sign_batch(folder, who="cat", store=store)
    path = heads_file()
    assert path is not None
    kept = path.read_text()
    for text in ("{", "[]", '{"x": 1}', '{"x": {"event": "y"}}', "\x00"):
        path.write_text(text)
        assert any(str(path) in problem for problem in verify_batch(folder, store=store).problems), text
        store.decide(batch_id(folder), pairs(folder)[0], "approve", who="bea")  # goes on
    path.write_text(kept)
    monkeypatch.setenv("CURATION_SIGNING_KEY", str(path.parent / "none.pem"))
    notes = verify_batch(folder, store=store, trusted=made["public_key"]).notes
    assert any("no signing key is kept here" in note for note in notes)


def test_a_new_workspace_at_the_place_of_an_old_one_is_a_note(desk: Any) -> None:
    folder, store = desk
    sign_batch(folder, who="cat", store=store)
    store.close()
    for path in Path(store.place).parent.glob("review.db*"):
        path.unlink()
    (folder / SIGNATURE).unlink()
    again = open_store(f"sqlite:///{store.place}")
    from curation.review.register import record_batch

    record_batch(again, read_batch(folder), who="ana")
    again.decide_many(batch_id(folder), pairs(folder), "approve", who="bea")
    sign_batch(folder, who="cat", store=again)
    verdict = verify_batch(folder, store=again)
    assert verdict.holds
    assert any("another audit log was kept at this place" in note for note in verdict.notes)
    again.close()


def test_a_clock_that_was_set_back_is_noted(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime, timedelta

    from curation.review.store import chain

    folder, store = desk

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) - timedelta(days=365)

    monkeypatch.setattr(chain, "datetime", Earlier)
    sign_batch(folder, who="cat", store=store)
    verdict = verify_batch(folder, store=store)
    assert verdict.holds
    assert any("a clock was set back" in note for note in verdict.notes)


def test_heads_are_kept_by_many_at_once_and_never_go_back(desk: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    folder, store = desk
    private_key()
    keys = pairs(folder)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: store.decide(batch_id(folder), keys[n % len(keys)], "approve", who=f"p{n}"), range(40)))
    path = heads_file()
    assert path is not None
    (head,) = json.loads(path.read_text()).values()
    assert (head["event"], head["hash"]) == (store.events()[-1].id, store.events()[-1].hash)
    assert not list(path.parent.glob(".*heads.json.*"))
    with pytest.raises(StoreError):
        store.decide("no batch", keys[0], "approve", who="x")
    assert json.loads(path.read_text()).values() is not None


def test_a_log_of_either_database_holds_after_everything_and_tells_a_changed_row(
    desk: Any,
    database: str,
    tmp_path: Path,
) -> None:
    """What was hashed when it was written hashes to the same when it is read back, from SQLite and PostgreSQL."""
    from sqlalchemy import text

    from curation.review.register import record_batch

    folder, _ = desk
    store = open_store(database)
    record_batch(store, read_batch(folder), who="ana")
    store.decide_many(batch_id(folder), pairs(folder), "approve", who="bea")
    store.decide(batch_id(folder), pairs(folder)[0], "flag", who="bea", note="Ünïcode \U0001f600")
    store.undo_action(batch_id(folder), who="bea")
    sign_batch(folder, who="cat", store=store)
    export_signed(folder, to="jsonl", out=tmp_path / "out.jsonl", who="cat", store=store)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(json.dumps({**row, "preference": "left", "annotator": "e", "seconds": 1.7}) + "\n" for row in rows)
    )
    import_labels(folder, answers, who="bea", store=store)
    answers.write_text(
        "".join(json.dumps({**row, "preference": "right", "annotator": "e", "seconds": 2}) + "\n" for row in rows)
    )
    import_labels(folder, answers, who="bea", store=store)
    verdict = verify_batch(folder, store=store)
    assert (verdict.problems, verdict.key_known) == ((), True)
    for statement in (
        "UPDATE decisions SET action = 'x' WHERE version = 2",
        "UPDATE exports SET left_out = '{}'",
        "UPDATE imports SET counts = '{}'",
        "UPDATE labels SET seconds = 9",
        "UPDATE batches SET budget = 9",
    ):
        with store._engine.begin() as connection:
            connection.execute(text(statement))
        table = statement.split()[1]
        assert any(problem.startswith(table) for problem in verify_batch(folder, store=store).problems), statement
    store.close()
