"""The batch folder as it is written: whole or absent, never half. Staged beside its place, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.batch.folder import (
    CRITERION,
    DESIGN,
    FILES,
    GUIDELINES,
    MANIFEST,
    MESSAGE_KEYS,
    RECORD_KEYS,
    RECORDS,
    REPORT,
    SELECTED,
    SIGNATURE,
    SPACE,
    Record,
    batch_stamp,
    read_batch,
)
from curation.errors import BatchError, OutputError
from curation.system.outputs import being_made, check_place, locked_place, sweep_folders


@dataclass(frozen=True)
class Contents:
    """What a batch folder holds.

    design, selected: columns of the two Parquet files; `selected` holds `vector` as (m, d), and `factor` where labels
    are not worth alike. space: writes the map to the path it is given. criterion: arrays `fisher` and `prior`, (d, d).
    """

    manifest: dict[str, Any]
    records: Sequence[Record]
    design: dict[str, Any]
    space: Callable[[Path], None]
    selected: dict[str, Any]
    criterion: dict[str, Any]
    guidelines: str | None = None


@dataclass
class Staged:
    """A whole batch folder at `staging` that may take its place at `path`. seen: `batch_stamp` of what stood there."""

    staging: Path
    path: Path
    force: bool
    seen: str
    published: bool = False

    def publish(self) -> None:
        """Give the folder its place, safe on disk; again, it does nothing. The caller holds the place.

        Raises BatchError where something stands there that was not there, or was not signed, when the work began.
        """
        if self.published:
            return
        with _told(self.path):
            _swap(self.staging, self.path, force=self.force, seen=self.seen)
            self.published = True
            _safe(self.path.parent)


def write_batch(out: str | Path, contents: Contents, *, force: bool = False, replaces: str | None = None) -> Path:
    """Write all files to a temporary folder beside `out`, then rename it. Returns the folder.

    replaces: the `batch_stamp` of what stood there when the work began; what has appeared since is not replaced.
    Raises BatchError.
    """
    with staged_batch(out, contents, force=force, replaces=replaces) as staged:
        with _told(staged.path), locked_place(staged.path):
            staged.publish()
        return staged.path


@contextmanager
def staged_batch(
    out: str | Path, contents: Contents, *, force: bool = False, replaces: str | None = None
) -> Iterator[Staged]:
    """All files of a batch in a temporary folder beside `out`, gone after the block unless it was published there.

    force, replaces: as `write_batch`. Raises BatchError.
    """
    path = check_target(out, force=force)
    seen = batch_stamp(path) if replaces is None else replaces
    with ExitStack() as held:
        with _told(path):
            with locked_place(path):
                staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
                held.callback(shutil.rmtree, staging, ignore_errors=True)
                held.enter_context(being_made(staging))
            _write_files(staging, contents)
        yield Staged(staging, path, force, seen)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong while a folder is written, as a BatchError."""
    try:
        yield
    except OutputError as error:
        raise BatchError(str(error)) from None
    except OSError as error:
        raise BatchError(
            f"the batch could not be written to {path}: {error.strerror or error}; nothing was."
        ) from error


def check_target(out: str | Path, *, force: bool = False) -> Path:
    """The folder to write, links followed, checked before any work is done. With force a whole unsigned batch may
    stand there, told by its content, and nothing beside it. What a killed run has left beside it is put back or cleared
    away. Raises BatchError where it may not be written."""
    try:
        path = check_place(out)
        if os.access(path.parent, os.W_OK):
            with locked_place(path):
                sweep_folders(path, FILES | {GUIDELINES, REPORT})
    except OutputError as error:
        raise BatchError(str(error)) from None
    _check(path, force=force)
    return path


def _check(path: Path, *, force: bool) -> None:
    if path.exists():
        if not path.is_dir():
            raise BatchError(f"{path} exists and is not a folder; choose another --out.")
        if os.path.lexists(path / SIGNATURE):
            raise BatchError(f"{path} holds a signed batch, which is never replaced; choose another --out.")
        if not force:
            raise BatchError(f"{path} already exists; choose another --out, or replace it with --force.")
        other = _what_else(path)
        if other:
            raise BatchError(f"{path} exists and {other}, so --force will not replace it; choose another --out.")
    parent = path.parent
    if not parent.exists():
        raise BatchError(f"the folder {parent} does not exist; create it first or choose another --out.")
    if not os.access(parent, os.W_OK):
        raise BatchError(f"the folder {parent} cannot be written to; choose another --out.")


def _what_else(path: Path) -> str | None:
    """Why a folder is not a whole batch and nothing else, in words; None where it is one, or empty."""
    inside = sorted(path.iterdir())
    if not inside:
        return None
    if path.is_mount():
        return "is a mounted file system"
    for part in inside:
        if part.name not in FILES | {GUIDELINES, REPORT} or part.is_symlink() or not part.is_file():
            return f"holds {part.name}, which is no part of a batch"
    try:
        if read_batch(path).manifest.get("batch_id"):
            return None
    except (BatchError, OSError, TypeError, AttributeError, KeyError, RecursionError):
        pass
    return "is not a batch folder that can be read"


def _write_files(staging: Path, contents: Contents) -> None:
    """Everything that a batch holds, safe on disk."""
    if contents.guidelines is not None:
        (staging / GUIDELINES).write_bytes(contents.guidelines.encode())
    with (staging / RECORDS).open("w", encoding="utf-8") as handle:
        for record in contents.records:
            missing = [key for key in RECORD_KEYS if key not in record]
            if missing:
                raise BatchError(f"an audit record lacks {missing}; nothing was written.")
            kept = [*RECORD_KEYS, *(key for key in MESSAGE_KEYS if key in record)]
            handle.write(json.dumps({k: record[k] for k in kept}, ensure_ascii=False) + "\n")
    pq.write_table(pa.table(contents.design), staging / DESIGN)
    vectors = np.asarray(contents.selected["vector"], dtype=np.float64)
    columns = {k: v for k, v in contents.selected.items() if k != "vector"}
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    pq.write_table(pa.table(columns), staging / SELECTED)
    contents.space(staging / SPACE)
    with (staging / CRITERION).open("wb") as target:
        np.savez(target, **contents.criterion)
    (staging / MANIFEST).write_text(
        json.dumps(contents.manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    for file in staging.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    staging.chmod(0o755)
    _safe(staging)


def _safe(folder: Path) -> None:
    """Bring a folder's list of names to the disk, where its file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _swap(staging: Path, path: Path, *, force: bool, seen: str) -> None:
    """Put the finished folder in place; what was there before is removed only afterwards. The place is locked.

    Raises BatchError where something stands there that was not there, or was not signed, when the work began.
    """
    if not os.path.lexists(path):
        staging.rename(path)
        return
    _check(path, force=force)
    if batch_stamp(path) != seen:
        raise BatchError(
            f"another batch was written to {path} meanwhile, and stays; choose another --out, or replace it with "
            "--force."
        )
    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    path.rename(old)
    try:
        staging.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)  # what is left is cleared away at the next write
