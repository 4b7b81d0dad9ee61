"""The review store: what is written stays, nothing is overwritten silently, and failures are words."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect, select

from curation.errors import StoreError
from curation.review.store import connection
from curation.review.store.batches import NewBatch
from curation.review.store.decisions import new_decision, read_decisions_csv
from curation.review.store.store import Store, open_store
from curation.review.store.tables import Base, PoolRow
from tests.desk.stores import BATCH, POOL, fill


def pools(store: Store) -> list[tuple[str, str | None]]:
    """Name and file of the recorded pools, the first one recorded first."""
    query = select(PoolRow).order_by(PoolRow.fingerprint)
    return store._read(lambda session: [(row.name, row.path) for row in session.scalars(query)])


def address(folder: Path) -> str:
    return f"sqlite:///{folder / 'review.db'}"


@pytest.fixture
def sqlite_store(tmp_path: Path):
    opened = fill(open_store(address(tmp_path)))
    yield opened
    opened.close()


# Opening ------------------------------------------------------------------------------------------------------------


def test_default_place_is_the_workspace_and_database_url_replaces_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    open_store().close()
    assert (tmp_path / "home" / "pairwright.db").is_file()
    monkeypatch.setenv("DATABASE_URL", address(tmp_path))
    open_store().close()
    assert (tmp_path / "review.db").is_file()


def test_everything_survives_reopening(tmp_path):
    store = fill(open_store(address(tmp_path)))
    store.decide(BATCH, "p1", "reject", who="ana", reason=" broken ", note="cut off")
    store.save_scenario(
        POOL, "heavy ridge", settings={"ridge": 30}, figures={"realised": 1.75, "uniform": float("inf")}
    )
    store.record_export(
        BATCH, format="csv", file="/out/x.csv", sha256="0" * 64, rows=2, left_out={"flagged": 1}, signed=False, who="bo"
    )
    before = (pools(store), store.batches(), store.decisions(BATCH), store.scenarios(POOL), store.exports(BATCH))
    store.close()
    again = open_store(address(tmp_path))
    assert before == (
        pools(again), again.batches(), again.decisions(BATCH), again.scenarios(POOL), again.exports(BATCH)
    )  # fmt: skip
    decision = again.decisions(BATCH)["p1"]
    assert (decision.decision, decision.reason, decision.note, decision.version) == ("reject", "broken", "cut off", 1)
    assert decision.at.tzinfo is not None
    assert abs(datetime.now(UTC) - decision.at) < timedelta(minutes=5)
    assert again.batches(POOL)[0].settings == {"ridge": 30.0, "max_labels_per_pair": "inf", "previous": ["x"]}
    assert again.scenarios(POOL)[0].figures == {"realised": 1.75, "uniform": "inf"}
    assert again.exports()[0].left_out == {"flagged": 1}
    again.close()


def test_sqlite_runs_with_write_ahead_log_foreign_keys_and_patience(sqlite_store):
    with sqlite_store._engine.connect() as db:
        pragma = {name: db.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "foreign_keys")}
        assert pragma == {"journal_mode": "wal", "foreign_keys": 1}
        assert db.exec_driver_sql("PRAGMA busy_timeout").scalar() >= 10_000


def test_migrations_from_empty_give_exactly_the_models(store):
    with store._engine.connect() as db:
        context = MigrationContext.configure(db, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == connection.head_revision()
        checks = {check["name"] for check in inspect(db).get_check_constraints("decisions")}
    models = {c.name for c in Base.metadata.tables["decisions"].constraints if isinstance(c, CheckConstraint)}
    assert checks == models == {"ck_decisions_known_word", "ck_decisions_reject_has_reason"}


def test_the_comparison_with_the_models_notices_a_difference(sqlite_store):
    with sqlite3.connect(sqlite_store.place) as db:
        db.execute("ALTER TABLE pools ADD COLUMN extra TEXT")
    with sqlite_store._engine.connect() as db:
        assert len(compare_metadata(MigrationContext.configure(db), Base.metadata)) == 1


def test_migrations_go_down_to_nothing_and_up_again(tmp_path):
    store = open_store(address(tmp_path))
    with store._writer.begin() as db:
        config = connection._config()
        config.attributes["connection"] = db
        command.downgrade(config, "base")
    with store._engine.connect() as db:
        assert set(inspect(db).get_table_names()) == {"alembic_version"}
    store.close()
    fill(open_store(address(tmp_path))).close()


def test_a_file_that_is_no_database_is_named_with_a_remedy_and_left_alone(tmp_path):
    (tmp_path / "review.db").write_bytes(b"these are notes, not a database\n" * 100)
    with pytest.raises(StoreError, match=r"review\.db.*not a usable SQLite database.*DATABASE_URL"):
        open_store(address(tmp_path))
    assert (tmp_path / "review.db").read_bytes().startswith(b"these are notes")


def test_a_database_of_another_program_is_refused_unchanged(tmp_path):
    with sqlite3.connect(tmp_path / "review.db") as db:
        db.execute("CREATE TABLE pools (water INTEGER)")
    with pytest.raises(StoreError, match="not Pairwright's"):
        open_store(address(tmp_path))
    with sqlite3.connect(tmp_path / "review.db") as db:
        assert [row[0] for row in db.execute("SELECT name FROM sqlite_master")] == ["pools"]


def test_a_database_of_a_newer_version_is_refused(tmp_path):
    open_store(address(tmp_path)).close()
    with sqlite3.connect(tmp_path / "review.db") as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer version"):
        open_store(address(tmp_path))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "memory"),
        ("nonsense", "not a URL"),
        ("nosuchdatabase://host/name", "no driver"),
        ("sqlite:////proc/nowhere/review.db", r"/proc/nowhere.*CURATION_HOME"),
    ],
)
def test_unusable_addresses_are_named_with_a_remedy(url, words):
    with pytest.raises(StoreError, match=words):
        open_store(url)


def test_a_password_in_the_address_is_never_shown():
    with pytest.raises(StoreError) as caught:
        open_store("nosuchdatabase://ana:secret-word@host/name")
    assert "secret-word" not in str(caught.value)


def _open_as_nobody(url: str, out: multiprocessing.Queue) -> None:
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    try:
        open_store(url)
        out.put("opened")
    except StoreError as error:
        out.put(str(error))


def test_a_read_only_folder_is_named_with_a_remedy(tmp_path):
    open_store(address(tmp_path)).close()  # loads everything while this process may still read it
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    folder = Path("/usr")  # root's, and readable by everybody
    child = fork.Process(target=_open_as_nobody, args=(f"sqlite:///{folder}/review.db", answers))
    child.start()
    said = answers.get(timeout=300)
    child.join(300)
    assert "/usr/review.db" in said
    assert "writable" in said
    assert "CURATION_HOME" in said


def test_a_database_that_breaks_while_open_raises_words_not_a_traceback(sqlite_store, tmp_path):
    sqlite_store.close()
    for file in tmp_path.iterdir():
        file.write_bytes(b"x" * 9000)
    with pytest.raises(StoreError, match="cannot be used"):
        sqlite_store.decisions(BATCH)
    with pytest.raises(StoreError, match="cannot be used"):
        sqlite_store.decide(BATCH, "p1", "approve", who="ana")


# Several processes and threads --------------------------------------------------------------------------------------


def _work(url: str, who: str, pairs: int, gate) -> None:
    gate.wait(300)
    store = open_store(url)  # the first open of a new file, at the same moment as the other's
    fill(store)
    for number in range(pairs):
        store.decide(BATCH, f"pair{number}", "approve", who=who)


def test_two_processes_opening_at_once_lose_no_decision(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(2)
    children = [spawn.Process(target=_work, args=(address(tmp_path), who, 50, gate)) for who in ("ana", "bo")]
    for child in children:
        child.start()
    for child in children:
        child.join(600)
    assert [child.exitcode for child in children] == [0, 0]
    store = open_store(address(tmp_path))
    history = store.history(BATCH)
    assert len(history) == 100
    assert {(entry.who, entry.pair_id) for entry in history} == {
        (who, f"pair{number}") for who in ("ana", "bo") for number in range(50)
    }
    assert {decision.version for decision in store.decisions(BATCH).values()} == {2}
    store.close()


def test_threads_may_share_one_store(store):
    errors: list[BaseException] = []

    def act(who: str) -> None:
        try:
            for number in range(20):
                store.decide(BATCH, f"pair{number}", "flag", who=who)
                store.decisions(BATCH)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=act, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.history(BATCH)) == 80


def test_threads_opening_the_same_new_database_all_succeed(tmp_path):
    opened: list[Store] = []
    threads = [threading.Thread(target=lambda: opened.append(open_store(address(tmp_path)))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 5
    for one in opened:
        one.close()


# Decisions ----------------------------------------------------------------------------------------------------------


def test_the_newest_decision_holds_and_the_history_keeps_all(store):
    store.decide(BATCH, "p1", "approve", who="ana")
    store.decide(BATCH, "p1", "flag", who="bo", note="look again")
    store.decide(BATCH, "p2", "approve", who="ana")
    assert {key: d.decision for key, d in store.decisions(BATCH).items()} == {"p1": "flag", "p2": "approve"}
    assert [(d.version, d.decision, d.who) for d in store.history(BATCH, "p1")] == [
        (1, "approve", "ana"),
        (2, "flag", "bo"),
    ]
    assert len(store.history(BATCH)) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"decision": "reject"}, "without a reason"),
        ({"decision": "reject", "reason": "  "}, "without a reason"),
        ({"decision": "maybe"}, "'maybe'.*unknown"),
        ({"decision": "approve", "who": " "}, "nobody is named"),
        ({"decision": "approve", "pair_id": ""}, "pair_id"),
        ({"decision": "approve", "batch_id": "other"}, "batch other is not in the review store"),
        ({"decision": "approve", "note": "\ud800"}, "cannot be used"),
    ],
)
def test_a_decision_that_breaks_a_rule_is_refused_and_not_written(store, arguments, words):
    given = {"batch_id": BATCH, "pair_id": "p1", "who": "ana", **arguments}
    with pytest.raises(StoreError, match=words):
        store.decide(given.pop("batch_id"), given.pop("pair_id"), given.pop("decision"), **given)
    assert store.history(BATCH) == []


def test_a_newer_decision_is_not_overwritten_and_the_error_says_whose_it_is(store):
    seen = store.decide(BATCH, "p1", "approve", who="ana")
    theirs = store.decide(BATCH, "p1", "flag", who="bo", expected_version=seen.version)
    with pytest.raises(StoreError, match=rf"flag.*by bo at {theirs.at:%Y-%m-%d %H:%M:%S} UTC"):
        store.decide(BATCH, "p1", "reject", who="ana", reason="bad", expected_version=seen.version)
    with pytest.raises(StoreError, match="by bo"):
        store.decide(BATCH, "p1", "approve", who="cy", expected_version=0)
    assert store.decisions(BATCH)["p1"].decision == "flag"
    assert store.decide(BATCH, "p2", "approve", who="ana", expected_version=0).version == 1


def test_many_decisions_are_all_or_none(store):
    store.decide(BATCH, "p2", "flag", who="bo")
    with pytest.raises(StoreError, match=r"pair p2 .* by bo"):
        store.decide_many(BATCH, ["p1", "p2"], "approve", who="ana", expected_versions={"p1": 0, "p2": 0})
    assert set(store.decisions(BATCH)) == {"p2"}
    done = store.decide_many(BATCH, ["p1", "p2", "p1"], "approve", who="ana", expected_versions={"p2": 1})
    assert [(d.pair_id, d.version) for d in done] == [("p1", 1), ("p2", 2)]
    assert store.decide_many(BATCH, [], "approve", who="ana") == []


# Undo ---------------------------------------------------------------------------------------------------------------


def test_undo_walks_back_through_this_persons_decisions_only(store):
    store.decide(BATCH, "p1", "approve", who="ana", note="fine")
    store.decide(BATCH, "p9", "flag", who="bo")
    store.decide(BATCH, "p1", "reject", who="ana", reason="no")
    store.decide(BATCH, "p2", "flag", who="ana")
    steps = [store.undo_action(BATCH, who="ana") for _ in range(4)]
    assert [[(s.pair_id, s.decision, s.note) for s in step] for step in steps] == [
        [("p2", "clear", None)],
        [("p1", "approve", "fine")],
        [("p1", "clear", None)],
        [],
    ]
    assert {k: d.decision for k, d in store.decisions(BATCH).items()} == {"p1": "clear", "p2": "clear", "p9": "flag"}
    assert len(store.history(BATCH)) == 7  # nothing was removed


def test_a_decision_after_an_undo_is_the_next_to_be_taken_back(store):
    store.decide(BATCH, "p1", "approve", who="ana")
    store.undo_action(BATCH, who="ana")
    store.decide(BATCH, "p1", "flag", who="ana")
    assert [made.decision for made in store.undo_action(BATCH, who="ana")] == ["clear"]
    assert store.undo_action(BATCH, who="ana") == []


def test_undo_does_not_overwrite_a_later_decision_of_somebody_else(store):
    store.decide(BATCH, "p1", "approve", who="ana")
    store.decide(BATCH, "p1", "reject", who="bo", reason="cut off")
    with pytest.raises(StoreError, match=r"reject.*by bo"):
        store.undo_action(BATCH, who="ana")
    assert store.decisions(BATCH)["p1"].decision == "reject"
    assert [made.decision for made in store.undo_action(BATCH, who="bo")] == ["approve"]
    assert [made.decision for made in store.undo_action(BATCH, who="ana")] == ["clear"]


def test_undo_of_an_act_takes_back_all_it_decided_and_leaves_what_others_changed(store):
    store.decide(BATCH, "p1", "flag", who="ana")
    store.decide_many(BATCH, ["p1", "p2", "p3"], "approve", who="ana")
    store.decide(BATCH, "p3", "reject", who="bo", reason="cut off")
    assert {d.pair_id: d.decision for d in store.undo_action(BATCH, who="ana")} == {"p1": "flag", "p2": "clear"}
    assert store.decisions(BATCH)["p3"].who == "bo"
    with pytest.raises(StoreError, match="by bo"):
        store.undo_action(BATCH, who="ana")
    assert store.undo_action(BATCH, who="nobody else") == []


# Decisions from a file ----------------------------------------------------------------------------------------------


def decisions_file(tmp_path: Path, text: str, **how) -> Path:
    path = tmp_path / "decisions.csv"
    path.write_bytes(text.encode(**how))
    return path


def test_a_csv_is_read_in_order_with_its_reasons_and_notes(tmp_path, store):
    text = 'pair_id,decision,reason,note\np1,approve,,\n\np2,Reject,"cut, off","two\nlines"\np3,flag,,x\np1,approve,,\n'
    rows = read_decisions_csv(decisions_file(tmp_path, text, encoding="utf-8-sig"), {"p1", "p2", "p3"})
    assert rows == [
        new_decision("p1", "approve"),
        new_decision("p2", "reject", "cut, off", "two\nlines"),
        new_decision("p3", "flag", note="x"),
    ]
    written = store.record_decisions(BATCH, rows, who="ana")
    assert len({d.action for d in written}) == 1
    assert store.decisions(BATCH)["p2"].note == "two\nlines"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("p1,approve,,\nzz,approve,,\n", "line 3: pair_id 'zz' is not in this batch"),
        ("p1,yes,,\n", "line 2: decision 'yes' is unknown"),
        ("p1,clear,,\n", "line 2: decision 'clear' is unknown"),
        ("p1,reject,,\n", "line 2: pair p1 is rejected without a reason"),
        ('p1,approve,,"two\nlines"\np1,flag,,\n', "line 4: pair p1 is decided otherwise on line 2"),
        ("p1,approve,too,many,cells\n", "line 2: more cells"),
        ("zz,approve,,\np1,yes,,\n", "line 2: .*line 3: "),
        ("", "no decisions"),
        ('p1,approve,,"never closed\n', "not a UTF-8 CSV"),
    ],
)
def test_one_bad_line_is_named_and_nothing_is_written(tmp_path, store, rows, words):
    path = decisions_file(tmp_path, "pair_id,decision,reason,note\n" + rows)
    with pytest.raises(StoreError, match=words):
        store.record_decisions(BATCH, read_decisions_csv(path, {"p1", "p2"}), who="ana")
    assert store.history(BATCH) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"pair;decision\np1;approve\n", "needs pair_id and decision"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"", "needs pair_id and decision"),
    ],
)
def test_a_file_of_another_shape_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "decisions.csv"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"decisions\.csv.*{words}"):
        read_decisions_csv(path, {"p1"})
    with pytest.raises(StoreError, match="cannot be read"):
        read_decisions_csv(tmp_path / "absent.csv", {"p1"})


# Pools, batches, scenarios, exports ---------------------------------------------------------------------------------


def test_recording_again_updates_the_pool_and_only_moves_the_batch(store):
    first = store.batches(POOL)[0]
    store.record_pool(POOL, "renamed", None)
    moved = NewBatch(
        BATCH, folder="/moved", pool_fingerprint=POOL, features_fingerprint="", budget=1, settings={}, objective=None,
        lower_bound=None, realised=None,
    )  # fmt: skip
    again = store.record_batch(moved, who="bo")
    assert pools(store) == [("renamed", "/data/pool.jsonl")]
    store.record_pool(POOL, "renamed", Path("/moved/pool.jsonl"))
    store.record_pool("second", "second")
    assert pools(store) == [("renamed", "/moved/pool.jsonl"), ("second", None)]
    assert again.folder == "/moved"
    assert (again.budget, again.created_by, again.created_at) == (first.budget, "ana", first.created_at)
    assert len(store.batches()) == 1
    assert store.batches("another pool") == []


def test_a_batch_needs_a_recorded_pool_and_keeps_to_it(store):
    rest = {
        "folder": "/x",
        "features_fingerprint": "",
        "budget": 1,
        "settings": {},
        **dict.fromkeys(("objective", "lower_bound", "realised")),
    }
    with pytest.raises(StoreError, match="pool unknown is not in the review store"):
        store.record_batch(NewBatch("new", pool_fingerprint="unknown", **rest), who="ana")
    store.record_pool("second", "second")
    with pytest.raises(StoreError, match="is recorded for pool"):
        store.record_batch(NewBatch(BATCH, pool_fingerprint="second", **rest), who="ana")


def test_scenario_names_are_unique_within_a_pool_and_replaced_only_when_asked(store):
    store.record_pool("second", "second")
    store.save_scenario(POOL, "a", settings={"ridge": 3}, figures={})
    store.save_scenario("second", "a", settings={}, figures={})
    with pytest.raises(StoreError, match="'a' exists"):
        store.save_scenario(POOL, " a ", settings={"ridge": 30}, figures={})
    assert store.scenarios(POOL)[0].settings == {"ridge": 3}
    store.save_scenario(POOL, "a", settings={"ridge": 30}, figures={}, replace=True)
    assert [s.settings for s in store.scenarios(POOL)] == [{"ridge": 30}]
    assert store.delete_scenario(POOL, "a") is True
    assert store.delete_scenario(POOL, "a") is False
    assert len(store.scenarios("second")) == 1
    with pytest.raises(StoreError, match="needs a name"):
        store.save_scenario(POOL, "  ", settings={}, figures={})
    with pytest.raises(StoreError, match="cannot be stored"):
        store.save_scenario(POOL, "b", settings={"x": object()}, figures={})


def test_exports_belong_to_a_recorded_batch(store):
    with pytest.raises(StoreError, match="batch other is not"):
        store.record_export("other", format="csv", file="x", sha256="", rows=1, left_out={}, signed=True, who="ana")
    assert store.exports() == []
