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
from sqlalchemy import CheckConstraint, inspect

from curation.errors import StoreError
from curation.review.store import connection
from curation.review.store.store import Store, open_store
from curation.review.store.tables import Base
from tests.desk.stores import BATCH, POOL, fill, pools


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
