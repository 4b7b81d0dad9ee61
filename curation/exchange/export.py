"""From the audit records of a batch to files for annotators: whole or absent, and marked when unsigned."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from curation.batch.answers import ANSWERS
from curation.batch.presentation import ExportHeader, Order, Record, present, sheet_safe
from curation.errors import ExportError, OutputError
from curation.exchange.assignment import Annotator
from curation.exchange.fitness import check_fit
from curation.exchange.tools.base import TOOLS, Files, Outgoing, Tool, Writer, text_writer
from curation.system.outputs import check_place, publish, staging_name

GUIDELINES_HEAD = "<!-- Guidelines of batch"  # tells the file that goes out from other people's
_LEFT_OUT_WORDS = {"reject": "rejected", "flag": "flagged"}


@dataclass(frozen=True)
class ExportResult:
    """What was written. rows: comparisons; pairs: different ones; sha256: of `path`; left_out: reason -> pairs.

    notes: what a receiving tool may make of the texts. annotators: name -> rows, where rows are given to people.
    """

    path: Path
    extra_paths: tuple[Path, ...]
    rows: int
    pairs: int
    sha256: str
    left_out: dict[str, int]
    notes: tuple[str, ...] = ()
    annotators: dict[str, int] = field(default_factory=dict)


def approved_only(records: Sequence[Record], decisions: Mapping[str, str]) -> tuple[list[Record], dict[str, int]]:
    """The records whose pair is approved, and how many are left out.

    decisions: pair_id -> approve, reject, flag or clear; a pair that is missing or cleared is undecided. Returns the
    kept records in their order, and the counts of `rejected`, `flagged` and `undecided`.
    """
    kept = []
    left_out = {"rejected": 0, "flagged": 0, "undecided": 0}
    for record in records:
        word = decisions.get(record["pair_id"], "clear")
        if word == "approve":
            kept.append(record)
        else:
            left_out[_LEFT_OUT_WORDS.get(word, "undecided")] += 1
    return kept, left_out


def export_records(
    records: Sequence[Record],
    *,
    to: str,
    out: str | Path,
    order: Order | str,
    header: ExportHeader,
    copies_respected: bool = True,
    force: bool = False,
    annotators: Sequence[Annotator] = (),
    guidelines: str | None = None,
) -> ExportResult:
    """Write the records, already filtered, in the format `to`; what the tool needs to be set up is written beside.

    Nothing in the files tells which model wrote a response, or what the design thinks of the pair. A file that exists
    is refused unless `force`. annotators: who is given the rows, in the tool's own way (`Tool.to_people`). guidelines:
    Markdown that goes out beside the file. Raises ExportError, also for texts that the receiving tool refuses, and
    leaves nothing half written.
    """
    tool = TOOLS[to]
    given, out = Path(out), place_of(out)
    extras = {suffix: text_writer(text) for suffix, text in _side_files(tool, header, guidelines).items()}
    check_targets([out, *(out.with_suffix(suffix) for suffix in extras if out.name)], force)
    rows, left_out = present(records, header=header, order=order, copies_respected=copies_respected)
    header = replace(header, batch_id=sheet_safe(header.batch_id))
    notes = check_fit(rows, tool)
    files = Files(lambda path: tool.write(path, rows, header))
    if annotators:
        files = tool.to_people(Outgoing(rows, header, order, annotators, guidelines, out.suffix))
    extras |= files.beside
    beside = {out.with_suffix(suffix): write for suffix, write in extras.items()}
    check_targets([out, *beside], force)
    digest = write_whole({**beside, out: files.write}, force=force)
    pairs = len({row.pair_id for row in rows})
    return ExportResult(given, tuple(beside), len(rows), pairs, digest, left_out, notes, files.shares)


def write_whole(files: Mapping[Path, Writer], *, force: bool) -> str:
    """Write files all or none, the last one last. Returns its sha256. Raises ExportError."""
    out = list(files)[-1]
    staged: list[tuple[Path, Path]] = []
    try:
        for target, write in files.items():
            staged.append((_stage(target), target))
            write(staged[-1][0])
        digest = _finish([part for part, _ in staged])
        _publish(staged, force)
    except OSError as error:
        raise ExportError(
            f"{out} could not be written ({error.strerror or error}); nothing was exported: choose another place."
        ) from error
    finally:
        for part, _ in staged:
            part.unlink(missing_ok=True)
    return digest


def place_of(out: str | Path) -> Path:
    """Where to write, links followed: never into a batch folder or onto the review database."""
    if not Path(out).name:
        return Path(out)
    try:
        return check_place(out)
    except OutputError as error:
        raise ExportError(str(error)) from None


def _side_files(tool: Tool, header: ExportHeader, guidelines: str | None) -> dict[str, str]:
    """Suffix -> content of what goes beside the file. Raises ExportError for answers that are not asked for."""
    if header.answers not in ANSWERS:
        raise ExportError(f"answers {header.answers!r} are unknown; use {', '.join(ANSWERS)}.")
    told = {} if guidelines is None else {".guidelines.md": f"{GUIDELINES_HEAD} {header.batch_id} -->\n\n{guidelines}"}
    return told | tool.side_files(header, guidelines)


def check_targets(targets: Sequence[Path], force: bool) -> None:
    """Before any work: places that cannot be written, and files that exist. Raises ExportError."""
    out = targets[0]
    if not out.name or out.is_dir():
        raise ExportError(f"{out} is a folder; give the name of a file.")
    if not out.absolute().parent.is_dir():
        raise ExportError(f"the folder {out.absolute().parent} does not exist; create it or choose another --out.")
    for target in targets:
        if os.path.lexists(target) and (target.is_dir() or not force):
            raise _exists(target)


def _exists(target: Path) -> ExportError:
    return ExportError(
        f"{target} already exists and was left as it is; choose another --out, or replace it with --force."
    )


def _stage(target: Path) -> Path:
    """A new temporary file in the folder of the target."""
    part = staging_name(target)
    part.touch(0o600, exist_ok=False)
    return part


def _finish(parts: Sequence[Path]) -> str:
    """Readable by all, safe on disk. Returns the sha256 of the last one, the export itself."""
    for part in parts:
        part.chmod(0o644)
        with part.open("rb+") as handle:
            os.fsync(handle.fileno())
    with parts[-1].open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _publish(staged: Sequence[tuple[Path, Path]], force: bool) -> None:
    """Give the finished files their names, the export last; without `force` a name that is taken stops it."""
    if force:
        for part, target in staged:
            part.replace(target)
        return
    done: list[Path] = []
    try:
        for part, target in staged:
            publish(part, target, force=False)
            done.append(target)
    except FileExistsError as error:
        for target in done:
            target.unlink()
        raise _exists(Path(error.filename2 or error.filename)) from None
    except OSError:
        for target in done:
            target.unlink()
        raise
