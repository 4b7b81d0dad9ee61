"""Open the review database: where it is, its SQLite settings, its migrations, and its failures in words."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from curation.errors import StoreError
from curation.settings import workspace

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
BUSY_SECONDS = 30
ATTEMPTS = 8
DATABASE_ERRORS = (SQLAlchemyError, sqlite3.Error, UnicodeError)  # the driver's own come from opening a connection
_migrating = threading.Lock()  # Alembic's context is one per process


def database_url(url: str | None = None) -> URL:
    """`url`, else DATABASE_URL, else SQLite at `<workspace>/pairwright.db`. Raises StoreError for an unusable one."""
    text = url or os.environ.get("DATABASE_URL") or ""
    if not text:
        return URL.create("sqlite", database=str(workspace().absolute() / "pairwright.db"))
    try:
        parsed = make_url(text)
    except ArgumentError:
        raise StoreError(
            "the database address is not a URL; set DATABASE_URL to something like sqlite:////folder/pairwright.db "
            "or postgresql://user:password@host/name."
        ) from None
    if parsed.drivername == "postgresql":  # the driver that comes with the requirements
        parsed = parsed.set(drivername="postgresql+pg8000")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError(f"{text} keeps decisions in memory and would lose them; name a file: sqlite:////folder/x.db.")
    return parsed


def describe(url: URL) -> str:
    """The place of a database for people: the file, or the address without its password."""
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def open_engine(url: URL) -> Engine:
    """A thread-safe engine on a migrated database; created where there is none. Raises StoreError."""
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite:
        _make_folder(Path(str(url.database)))
    try:
        engine = create_engine(url, **({"connect_args": {"check_same_thread": False}} if sqlite else {}))
    except (NoSuchModuleError, ImportError) as error:
        raise StoreError(f"no driver for {describe(url)} ({error}); install it, or unset DATABASE_URL.") from error
    if sqlite:
        _sqlite_events(engine)
    try:
        with _one_process(url, sqlite):
            if sqlite:
                _write_ahead_log(engine)
            _migrate(engine)
    except (*DATABASE_ERRORS, CommandError, OSError) as error:
        engine.dispose()
        raise in_words(error, describe(url)) from error
    return engine


def in_words(error: Exception, place: str) -> StoreError:
    """A database failure as value, rule, remedy."""
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    low = cause.lower()
    if "not a database" in low or "malformed" in low or "encrypted" in low:
        remedy = "it is not a usable SQLite database; move it away (keep a copy), or name another one in DATABASE_URL."
    elif "locked" in low or "busy" in low:
        remedy = f"another process has been writing to it for {BUSY_SECONDS} s; try again."
    elif "can't locate revision" in low:
        remedy = "it was written by a newer version of Pairwright; update, or name another database in DATABASE_URL."
    elif "already exists" in low:
        remedy = "it holds tables that are not Pairwright's; name another database in DATABASE_URL."
    elif "full" in low:
        remedy = "the disk is full; free some space and try again."
    else:
        remedy = (
            "the file and its folder must exist and be writable; correct that, or choose another place with "
            "CURATION_HOME or DATABASE_URL."
        )
    return StoreError(f"the review database {place} cannot be used ({cause}): {remedy}")


def head_revision() -> str:
    """The newest migration of this version."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _make_folder(file: Path) -> None:
    try:
        file.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise in_words(error, str(file)) from error


def _sqlite_events(engine: Engine) -> None:
    """Transactions begin where SQLAlchemy says (the driver would start them late); writers take the lock at once."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        for pragma in (f"busy_timeout={BUSY_SECONDS * 1000}", "foreign_keys=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _write_ahead_log(engine: Engine) -> None:
    """Readers do not wait for writers. The mode stays with the file; some file systems do not offer it."""
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        mode = cursor.execute("PRAGMA journal_mode=WAL").fetchone()
        cursor.close()
    finally:
        raw.close()
    if not mode or str(mode[0]).lower() != "wal":
        log.warning("%s cannot use a write-ahead log (mode %s); readers may wait for writers", engine.url, mode)


@contextmanager
def _one_process(url: URL, sqlite: bool) -> Iterator[None]:
    """Hold a lock file beside the SQLite database, and this process's own lock, while the schema may change."""
    with _migrating:
        if not sqlite:
            yield
            return
        try:
            import fcntl
        except ImportError:  # no such locks on this system; `_migrate` tries again where two processes meet
            yield
            return
        with Path(f"{url.database}.lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _migrate(engine: Engine) -> None:
    """Bring the schema to the newest revision; the whole step is one transaction where the database allows it."""
    head = head_revision()
    for attempt in range(ATTEMPTS):
        try:
            with engine.connect() as connection:
                if MigrationContext.configure(connection).get_current_revision() == head:
                    return
            with engine.execution_options(writes=True).begin() as connection:
                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                return
        except SQLAlchemyError:
            if attempt == ATTEMPTS - 1 or engine.dialect.name == "sqlite":
                raise
            time.sleep(0.1 * 2**attempt)  # another process is migrating the same server database
