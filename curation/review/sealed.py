"""What lies on disk against what was signed and sent: the whole batch folder, and the files that went out."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.batch.folder import RECORDS, REPORT, SIGNATURE, line_hash
from curation.errors import BatchError
from curation.review.store.records import StoredExport

# A signature or report on its way, of this process or another.
_STAGED = re.compile(rf"\.({re.escape(SIGNATURE)}|{re.escape(REPORT)})\.\d+")


@dataclass(frozen=True)
class Contents:
    """Everything in a batch folder but its signature.

    files: sha256 of every plain file, hidden ones included, by name. odd: what else lies there, and what it is.
    """

    files: dict[str, str]
    odd: dict[str, str]


def contents(folder: Path) -> Contents:
    """A batch folder, read whole. Links are not followed, pipes not opened. Raises BatchError."""
    files: dict[str, str] = {}
    odd: dict[str, str] = {}
    try:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            name = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                odd[name] = f"a link to {os.readlink(entry.path)}"
            elif stat.S_ISDIR(mode):
                odd[name] = "a folder"
            elif not stat.S_ISREG(mode):
                odd[name] = "a pipe, socket or device"
            elif name != SIGNATURE:
                files[name] = file_hash(entry.path)
    except OSError as error:
        raise BatchError(f"{folder} cannot be read ({error}); mend that and try again.") from None
    return Contents(files, odd)


def file_hash(path: str | Path) -> str:
    """sha256 of a plain file, hex. Raises OSError; never waits for a pipe."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def to_sign(found: Contents) -> dict[str, str]:
    """The files that a signature covers. Raises BatchError where the folder holds anything but plain files."""
    if found.odd:
        named = ", ".join(f"{name} ({what})" for name, what in found.odd.items())
        raise BatchError(f"the batch folder holds more than plain files: {named}; take that away, then sign.")
    return {name: digest for name, digest in found.files.items() if not _STAGED.fullmatch(name)}


def changed_files(folder: Path, found: Contents, signature: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(problems, notes) of a folder against its signature.

    Versions up to 0.2.0 did not look at hidden files, folders and pipes: what they cannot tell about is a note.
    """
    problems: list[str] = []
    unseen: list[str] = []
    then: dict[str, str] = signature["files"]
    strange = problems if signature.get("whole") else unseen
    for name in sorted({*found.files, *then} - set(found.odd)):
        if name not in found.files:
            problems.append(f"{name}: the file is gone")
        elif name not in then:
            words = f"{name}: the file was not there when the batch was signed"
            (strange if name.startswith(".") else problems).append(words)
        elif found.files[name] != then[name]:
            where = _changed_lines(folder, [str(x) for x in signature["records"]]) if name == RECORDS else ""
            problems.append(f"{name}: was changed{where}")
    for name, what in found.odd.items():
        words = f"{name}: it is {what}, no file of the batch"
        (problems if name in then or name == SIGNATURE else strange).append(words)
    return problems, unseen


def _changed_lines(folder: Path, signed: Sequence[str]) -> str:
    with (folder / RECORDS).open("rb") as handle:
        return changed_lines([line_hash(line) for line in handle], signed)


def changed_lines(now: Sequence[str], then: Sequence[str]) -> str:
    """Which lines of the records differ, in words that follow a comma; empty where none do."""
    if sorted(now) == sorted(then):
        lines = [n for n, (a, b) in enumerate(zip(now, then, strict=True), start=1) if a != b]
        return f", the order of lines {lines[0]} to {lines[-1]}" if lines else ""
    present, before = set(now), set(then)
    gone = [n for n, line in enumerate(then, start=1) if line not in present]
    new = [n for n, line in enumerate(now, start=1) if line not in before]
    parts = [f"signed line {gone[0]} is gone or changed"] if gone else []
    parts += [f"line {new[0]} is not what was signed"] if new else []
    return ", " + ", ".join(parts) if parts else ", lines were repeated"


def sent_files(exports: Iterable[StoredExport], batch_id: str) -> tuple[list[str], list[str]]:
    """(problems, notes) of the files that went out for a batch.

    exports: of every batch, oldest first. Only the last export written to a place can be compared with what lies there,
    and only a signed one bears on the batch: an unsigned preview, or a file moved away, is no tampering.
    """
    every = [sent for sent in exports if isinstance(sent.file, str)]  # what a column cannot hold, the log check names
    last = {sent.file: sent.id for sent in every}
    problems: list[str] = []
    notes: dict[str, None] = {}
    for sent in every:
        if sent.batch_id != batch_id:
            continue
        path = Path(sent.file)
        if last[sent.file] != sent.id:
            notes[f"export {path.name}: a later export was written over it"] = None
            continue
        try:
            mode = os.stat(path).st_mode
            changed = stat.S_ISREG(mode) and file_hash(path) != sent.sha256
        except (OSError, ValueError):
            notes[f"export {path.name}: no longer where it was written"] = None
            continue
        if not stat.S_ISREG(mode):
            notes[f"export {path.name}: something that is no file lies where it was written"] = None
        elif changed and sent.signed:
            problems.append(f"export {path}: was changed after it was written")
        elif changed:
            notes[f"export {path.name}: the unsigned file was changed after it was written"] = None
    return problems, list(notes)
