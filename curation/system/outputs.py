"""Where files may be written: nothing is replaced unasked, and what a killed run has left is cleared away.

No output is an input, lies in a batch folder or is the review database; a link is followed to what it names. Files
appear whole under their name or not at all, and a name that was free when the work began is never written over.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from curation.errors import OutputError
from curation.settings import workspace

MANIFEST, RECORDS, SIGNATURE = "manifest.json", "batch.jsonl", "signature.json"
LOCK_SECONDS = 60.0
T = TypeVar("T")
_DATABASE = "pairwright.db"
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EXDEV, errno.EMLINK, errno.EINVAL)


def real_place(out: str | Path) -> Path:
    """Absolute path of an output with every link followed. Raises OutputError where links lead nowhere."""
    path = Path(os.path.realpath(Path(out).expanduser()))
    if path.is_symlink():
        raise OutputError(f"{out} is a link that leads to itself; choose another --out.")
    return path


def check_place(out: str | Path, inputs: Iterable[str | Path] = ()) -> Path:
    """`real_place`, refused where writing could harm: an input, anything in a batch folder, the review database.

    inputs: files and folders that the same command reads. Raises OutputError.
    """
    path = real_place(out)
    for given in inputs:
        source = Path(os.path.realpath(given))
        if path == source or _same(path, source):
            raise OutputError(f"{out} is also an input of this command and would be destroyed; choose another place.")
        if path.is_dir() and is_batch(path) and source.is_relative_to(path):
            raise OutputError(f"{out} holds {given}, an input of this command; choose another place.")
    if path in database_files():
        raise OutputError(f"{out} belongs to the review database, which holds every decision; choose another place.")
    for folder in path.parents:
        if is_batch(folder):
            raise OutputError(
                f"{out} lies in the batch folder {folder}, which only `solve` and `sign` may write to; choose a place "
                "outside it."
            )
    return path


def is_batch(folder: Path) -> bool:
    """Whether a folder looks like a batch, whole or damaged."""
    names = [(folder / name).is_file() for name in (MANIFEST, RECORDS, SIGNATURE)]
    return sum(names) >= 2


def database_files() -> set[Path]:
    """The files of the SQLite review database, as far as the environment names one."""
    places = [workspace() / _DATABASE]
    address = os.environ.get("DATABASE_URL") or ""
    if address.startswith("sqlite") and ":///" in address:
        places.append(Path(address.split(":///", 1)[1].split("?", 1)[0]))
    endings = ("", "-wal", "-shm", "-journal", ".lock")
    return {Path(os.path.realpath(f"{place}{ending}")) for place in places for ending in endings}


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


@contextmanager
def locked_place(path: Path) -> Iterator[None]:
    """Hold the folder that `path` lies in against every other writer and signer, in this process and in others.

    Raises OutputError when somebody else holds it for a minute. Nothing is written, so nothing can be left behind.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    handle = os.open(path.absolute().parent, os.O_RDONLY)
    try:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise OutputError(
                        f"another process has been writing or signing in {path.absolute().parent} for "
                        f"{LOCK_SECONDS:.0f} s; nothing was written: try again."
                    ) from None
                time.sleep(0.02)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                break  # a file system without locks
        yield
    finally:
        os.close(handle)


def holding_its_place(work: Callable[..., T]) -> Callable[..., T]:
    """A function whose first argument is a batch folder, run while nobody else writes to or signs that folder."""

    @wraps(work)
    def held(folder: str | Path, *given: Any, **named: Any) -> T:
        place = real_place(folder)
        if not place.parent.is_dir():
            return work(folder, *given, **named)  # which says so
        with locked_place(place):
            return work(folder, *given, **named)

    return held


@contextmanager
def being_made(folder: Path) -> Iterator[None]:
    """Mark a staging folder as a living process's, as long as the block runs; `abandoned` tells."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def abandoned(folder: Path) -> bool:
    """Whether no living process holds a staging folder."""
    try:
        import fcntl
    except ImportError:
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def alive(pid: int) -> bool:
    """Whether a process of that number runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def staged_file(out: str | Path, *, force: bool = True) -> Iterator[Path]:
    """A temporary path beside `out` that takes its name when the block succeeds and vanishes when it does not.

    Without `force` a name that is taken by then is left as it is: FileExistsError. A link is followed, so that the
    file it names is replaced. Raises OSError as the file system does.
    """
    target = real_place(out)
    part = staging_name(target)
    try:
        yield part
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        publish(part, target, force=force)
    finally:
        part.unlink(missing_ok=True)


def staging_name(target: Path) -> Path:
    """A free name beside `target`, which tells whose it is; those of processes that are gone are removed."""
    sweep_files(target)
    return target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


def sweep_files(target: Path) -> None:
    """Remove temporary files of `target` whose process is gone."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.(\d{{1,10}})(-[0-9a-f]{{8}})?\.(part|tmp)")
    for path in _siblings(target):
        found = ours.fullmatch(path.name)
        if found and not alive(int(found[1])) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def sweep_folders(target: Path, known: frozenset[str]) -> None:
    """Clear staging folders of `target` (`.NAME.xxxxxxxx`, `.NAME.old-PID`) that no living process holds.

    What was moved aside by a run that was killed before it had put anything in its place is put back. known: names of
    the only files such a folder may hold; one with anything else in it is left as it is. The caller holds the place.
    """
    made = re.compile(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}")
    old = re.compile(rf"\.{re.escape(target.name)}\.old-(\d{{1,10}})")
    for path in sorted(_siblings(target)):
        aside, staging = old.fullmatch(path.name), made.fullmatch(path.name)
        if not (aside or staging) or path.is_symlink() or not path.is_dir() or not _holds_only(path, known):
            continue
        if aside and (int(aside[1]) == os.getpid() or not alive(int(aside[1]))):
            if not os.path.lexists(target) and any(path.iterdir()):
                path.rename(target)
            else:
                shutil.rmtree(path)
        elif staging and abandoned(path):
            shutil.rmtree(path)


def _siblings(target: Path) -> list[Path]:
    try:
        return list(target.parent.iterdir())
    except OSError:
        return []


def _holds_only(folder: Path, known: frozenset[str]) -> bool:
    return all(part.name in known and part.is_file() and not part.is_symlink() for part in folder.iterdir())


def publish(part: Path, target: Path, *, force: bool) -> None:
    """Give a finished file its name. Without `force` it never replaces: FileExistsError where the name is taken."""
    if force:
        part.replace(target)
        return
    try:
        os.link(part, target)  # fails where the name is taken; a rename would not
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        part.replace(target)
    else:
        part.unlink()
