"""A PostgreSQL server as it fails: lost connections are no errors, and real ones are told in words that fit a server."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from curation.errors import StoreError
from curation.review.store import chain
from curation.review.store.connection import database_url
from curation.review.store.failures import in_words, passing
from curation.review.store.store import open_store
from tests.conftest import new_database
from tests.desk.stores import BATCH, POOL, fill


@pytest.fixture
def place(postgres_server: str) -> str:
    return new_database(postgres_server)


def end_connections(place: str) -> None:
    """What a restart of the server does to every open connection of a database."""
    engine = create_engine(place.replace("postgresql://", "postgresql+pg8000://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    engine.dispose()


def test_after_a_restart_of_the_server_the_next_act_and_the_next_look_go_through(place: str, caplog: Any) -> None:
    store = fill(open_store(place))
    caplog.set_level(logging.WARNING)
    end_connections(place)
    assert store.decide(BATCH, "p1", "approve", who="ana").version == 1
    end_connections(place)
    assert store.decisions(BATCH).keys() == {"p1"}
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    store.close()


def test_a_connection_that_is_lost_in_the_middle_of_an_act_is_told_and_nothing_is_written(place: str) -> None:
    store = fill(open_store(place))

    def work(session: Any, who: str) -> None:
        chain.append(session, "comment", who=who, batch_id=BATCH, body={"pair": "p1", "text": "half"})
        end_connections(place)

    with pytest.raises(StoreError, match="server") as told:
        store._act("ana", "reviewer", work)
    assert "writable" not in str(told.value)
    assert store.comments(BATCH) == {}
    store.close()


def test_a_deadlock_and_a_serialisation_failure_are_done_again(place: str) -> None:
    store, tries = fill(open_store(place)), []

    def work(session: Any, who: str) -> int:
        tries.append(who)
        if len(tries) < 3:
            session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$"))
        return len(tries)

    assert store._act("ana", "reviewer", work) == 3
    store.close()


def test_an_act_waits_for_its_turn_and_sees_what_was_written_meanwhile(place: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(chain, "BUSY_SECONDS", 1)
    name = place.rsplit("/", 1)[1]
    engine = create_engine(place.replace("postgresql://", "postgresql+pg8000://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"))
        store = fill(open_store(place))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": chain._LOCK})
        with pytest.raises(StoreError, match="another process has been writing"):
            store.decide(BATCH, "p1", "approve", who="ana")
        waiting = threading.Thread(target=store.decide, args=(BATCH, "p1", "approve"), kwargs={"who": "ana"})
        monkeypatch.setattr(chain, "BUSY_SECONDS", 300)
        waiting.start()
        time.sleep(0.3)
        connection.execute(
            text(
                "INSERT INTO decisions (batch_id, pair_id, decision, who, at, version, action) "
                f"VALUES ('{BATCH}', 'p1', 'flag', 'bo', now(), 1, 'x')"
            )
        )
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": chain._LOCK})
        waiting.join(300)
    assert [(entry.who, entry.version) for entry in store.history(BATCH, "p1")] == [("bo", 1), ("ana", 2)]
    store.close()
    engine.dispose()


def test_what_stays_in_the_way_is_told_in_words_without_the_drivers_own(place: str) -> None:
    store = fill(open_store(place))

    def work(session: Any, who: str) -> None:
        session.execute(text(f"INSERT INTO pools (fingerprint, name, opened_at) VALUES ('{POOL}', 'x', now())"))

    with pytest.raises(StoreError, match="somebody else at the same time") as told:
        store._act("ana", "reviewer", work)
    assert "{" not in str(told.value)
    assert "try again" in str(told.value)
    store.close()


def test_a_server_that_is_not_there_or_lets_nobody_in_is_told_as_such(place: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cases = {
        f"postgresql://tester:s3cret@127.0.0.1:{port}/x": "server must be running",
        place.rsplit("/", 1)[0] + "/nosuch": "no database of that name",
        place.replace("tester@", "nobody@"): "does not let this user in",
    }
    for address, words in cases.items():
        with pytest.raises(StoreError, match=words) as told:
            open_store(address)
        assert "writable" not in str(told.value)
        assert "s3cret" not in str(told.value)
        assert "{" not in str(told.value)


def test_nul_is_refused_in_words_by_a_server(place: str) -> None:
    store = fill(open_store(place))
    with pytest.raises(StoreError, match=r"U\+0000"):
        store.decide(BATCH, "p1", "flag", who="ana", note="a\0b")
    assert store.decide(BATCH, "p1", "flag", who="ana", note="ab").version == 1
    store.close()


@pytest.mark.parametrize("address", ["postgresql://h:port/x", "sqlite://:memory:/?password=hunter2"])
def test_an_address_that_is_none_is_refused_in_words_without_its_password(address: str) -> None:
    with pytest.raises(StoreError) as told:
        database_url(address)
    assert "hunter2" not in str(told.value)


def test_a_file_is_still_told_as_a_file() -> None:
    told = str(in_words(OSError("unable to open database file"), "/x/y.db"))
    assert "the file and its folder must exist and be writable" in told
    assert not passing(OSError("deadlock"))
