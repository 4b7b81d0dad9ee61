"""Open the review database: where it is, its SQLite settings, what its drivers may be given, its migrations."""

from __future__ import annotations

import logging
import os
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
from curation.review.store.failures import BUSY_SECONDS, DATABASE_ERRORS, hopeless, in_words, replace_lost_connections
from curation.review.store.records import check_text
from curation.settings import workspace
from curation.system.file_lock import locked

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
ATTEMPTS = 8
# A server may have been restarted since a connection was last used, and may be set to show a transaction the state
# before it waited for its turn.
_SERVER = {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}
_migrating = threading.Lock()  # Alembic's context is one per process


def database_url(url: str | None = None) -> URL:
    """`url`, else DATABASE_URL, else SQLite at `<workspace>/pairwright.db`. Raises StoreError for an unusable one."""
    text = url or os.environ.get("DATABASE_URL") or ""
    if not text:
        return URL.create("sqlite", database=str(workspace().absolute() / "pairwright.db"))
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise StoreError(
            "the database address is not a URL; set DATABASE_URL to something like sqlite:////folder/pairwright.db "
            "or postgresql://user:password@host/name."
        ) from None
    if parsed.drivername == "postgresql":  # the driver that comes with the requirements
        parsed = parsed.set(drivername="postgresql+pg8000")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError(
            f"{parsed.drivername}://{parsed.database or ''} keeps decisions in memory and would lose them; name a "
            "file: sqlite:////folder/x.db."
        )
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
        engine = create_engine(url, **({"connect_args": {"check_same_thread": False}} if sqlite else _SERVER))
    except (NoSuchModuleError, ImportError) as error:
        raise StoreError(f"no driver for {describe(url)} ({error}); install it, or unset DATABASE_URL.") from error
    _text_events(engine)
    if sqlite:
        _sqlite_events(engine)
    else:
        replace_lost_connections(engine)
    try:
        with _one_process(url, sqlite):
            if sqlite:
                _write_ahead_log(engine)
            _migrate(engine)
    except (*DATABASE_ERRORS, CommandError, OSError) as error:
        engine.dispose()
        raise in_words(error, describe(url)) from error
    if sqlite:
        _stay_with(engine, Path(str(url.database)))
    return engine


def _stay_with(engine: Engine, file: Path) -> None:
    """Refuse every connection, transaction and commit once the file at the database's path is another one, or none.

    SQLite goes on with a file that was deleted, so that decisions would be acknowledged and lost.
    """
    opened = _identity(file)

    def check(*_: Any) -> None:
        if _identity(file) != opened:
            raise StoreError(
                f"the review database {file} was removed or replaced while it was in use; nothing was recorded: put "
                "the file back where it was, or start Pairwright again to go on with what is there now."
            )

    for moment in ("do_connect", "begin", "commit"):
        event.listen(engine, moment, check, insert=True)


def _identity(file: Path) -> tuple[int, int] | None:
    """Device and number of a file; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def head_revision() -> str:
    """The newest migration of this version."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _make_folder(file: Path) -> None:
    try:
        file.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise in_words(error, str(file)) from error


def _text_events(engine: Engine) -> None:
    """Text that is none ends here, in words: a driver that fails on it leaves its connection out of step."""
    sqlite = engine.dialect.name == "sqlite"  # keeps NUL, and may have kept some already

    def check(part: Any) -> None:
        if isinstance(part, str):
            check_text(part, nul=sqlite)
        elif isinstance(part, dict):
            check(list(part.values()))
        elif isinstance(part, list | tuple):
            for one in part:
                check(one)

    @event.listens_for(engine, "before_cursor_execute")
    def on_execute(
        connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        check(parameters)


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
        with locked(Path(f"{url.database}.lock")):  # without locks `_migrate` tries again where two processes meet
            yield


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
        except SQLAlchemyError as error:
            if attempt == ATTEMPTS - 1 or engine.dialect.name == "sqlite" or hopeless(error):
                raise
            time.sleep(0.1 * 2**attempt)  # another process is migrating the same server database
