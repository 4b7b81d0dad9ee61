"""How a review database fails: what may be done again, what is told in words, and connections that were lost."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from curation.errors import StoreError

log = logging.getLogger(__name__)

BUSY_SECONDS = 30
# The driver's own come from opening a connection, the system's from one that was cut.
DATABASE_ERRORS = (SQLAlchemyError, sqlite3.Error, UnicodeError, OSError)
_AGAIN = ("40001", "40P01", "23505")  # SQLSTATE: cannot be serialised, deadlock, duplicate key


def passing(error: Exception) -> bool:
    """Whether the database ended a transaction for the sake of another one, so that it may be done again."""
    code, cause = _server_says(error)
    return isinstance(error, DBAPIError) and (
        code in _AGAIN or (isinstance(error, IntegrityError) and "unique constraint failed" in cause.lower())
    )


def hopeless(error: Exception) -> bool:
    """Whether a server cannot be used as it is addressed, so that trying again is of no use: it is not there, does not
    let this user in, or has no database of that name."""
    return _server_says(error)[0][:2] in ("", "28", "3D")


def in_words(error: Exception, place: str) -> StoreError:
    """A database failure as value, rule, remedy. place: of `describe`."""
    code, cause = _server_says(error)
    low = cause.lower()
    if passing(error):
        return StoreError(
            f"the review database {place} was being written to by somebody else at the same time ({cause}); nothing "
            "was written: try again."
        )
    if "can't locate revision" in low:
        remedy = "it was written by a newer version of Pairwright; update, or name another database in DATABASE_URL."
    elif "already exists" in low:
        remedy = "it holds tables that are not Pairwright's; name another database in DATABASE_URL."
    elif "://" in place:
        remedy = _SERVER_REMEDIES.get(code[:2], _NO_SERVER)
    elif "not a database" in low or "malformed" in low or "encrypted" in low:
        remedy = "it is not a usable SQLite database; move it away (keep a copy), or name another one in DATABASE_URL."
    elif "locked" in low or "busy" in low:
        remedy = f"another process has been writing to it for {BUSY_SECONDS} s; try again."
    elif "full" in low:
        remedy = "the disk is full; free some space and try again."
    else:
        remedy = (
            "the file and its folder must exist and be writable; correct that, or choose another place with "
            "CURATION_HOME or DATABASE_URL."
        )
    return StoreError(f"the review database {place} cannot be used ({cause}): {remedy}")


_NO_SERVER = (
    "the server must be running and reach this machine; start it, or correct host, port and name in DATABASE_URL, then "
    "try again."
)
_SERVER_REMEDIES = {  # by class of SQLSTATE
    "28": "the server does not let this user in; correct user and password in DATABASE_URL.",
    "3D": "the server has no database of that name; create it (CREATE DATABASE), or correct DATABASE_URL.",
    "42": "this user lacks a right or a table there; let it own the database, or name another one in DATABASE_URL.",
    "25": "the server takes no writing now (a standby, or read-only); name the primary server in DATABASE_URL.",
    "53": "the server is out of disk, memory or connections; free some and try again.",
    "55": f"another process has been writing to it for {BUSY_SECONDS} s; try again.",
    "57": "the server ended the work (a restart, or a limit on time); try again.",
    "22": "the server does not take a value; change it and try again.",
    "23": "it contradicts what the database holds; reload and try again.",
}


def _server_says(error: Exception) -> tuple[str, str]:
    """SQLSTATE (empty for other databases) and first line of what the database says of an error."""
    origin = getattr(error, "orig", None) or error
    told = origin.args[0] if getattr(origin, "args", ()) else None
    if isinstance(told, dict):  # pg8000 hands on the fields of the server's message
        return str(told.get("C", "")), str(told.get("M", "no reason given")).splitlines()[0]
    return "", (str(origin).strip() or type(origin).__name__).splitlines()[0]


def replace_lost_connections(engine: Engine) -> None:
    """Let the pool replace every connection that does not answer before it is used, whatever its driver raises.

    pg8000 raises the system's errors and the server's last words where the pool expects one of its own, and fails to
    close what is closed already.
    """
    dialect: Any = engine.dialect
    ping, end, close = dialect.do_ping, dialect.do_terminate, dialect.do_close

    def answers(connection: Any) -> bool:
        try:
            return bool(ping(connection))
        except Exception as error:
            log.info("a connection to the review database was lost (%s); it is made anew", error)
            return False

    def ended(how: Any) -> Any:
        def quietly(connection: Any) -> None:
            try:
                how(connection)
            except Exception as error:
                log.info("a lost connection could not be closed (%s)", error)

        return quietly

    dialect.do_ping, dialect.do_terminate, dialect.do_close = answers, ended(end), ended(close)
