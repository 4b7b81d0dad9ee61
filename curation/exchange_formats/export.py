"""From the audit records of a batch to files for annotators: whole or absent, and marked when unsigned."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from curation.errors import ExportError
from curation.exchange_formats import argilla, label_studio, tabular
from curation.exchange_formats.common import ExportHeader, Order, Presented, Record, present

Format = Literal["label-studio", "argilla", "csv", "parquet", "jsonl"]
FORMATS: tuple[str, ...] = get_args(Format)
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL}
_LEFT_OUT_WORDS = {"reject": "rejected", "flag": "flagged"}


@dataclass(frozen=True)
class ExportResult:
    """What was written. rows: comparisons; pairs: different ones; sha256: of `path`; left_out: reason -> pairs."""

    path: Path
    extra_paths: tuple[Path, ...]
    rows: int
    pairs: int
    sha256: str
    left_out: dict[str, int]


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
    to: Format | str,
    out: str | Path,
    order: Order | str,
    header: ExportHeader,
    copies_respected: bool = True,
    force: bool = False,
) -> ExportResult:
    """Write the records, already filtered, in the format `to`; a Label Studio or Argilla setup is written beside.

    Nothing in the files tells which model wrote a response, or what the design thinks of the pair. A file that exists
    is refused unless `force`. Raises ExportError, and leaves nothing half written.
    """
    if to not in FORMATS:
        raise ExportError(f"format {to!r} is unknown; use {', '.join(FORMATS)}.")
    out = Path(out)
    extras = {out.with_suffix(suffix): text for suffix, text in _side_files(to).items()} if out.name else {}
    _check_targets([out, *extras], force)
    rows, left_out = present(records, header=header, order=order, copies_respected=copies_respected)
    staged: list[tuple[Path, Path]] = []
    try:
        for target, text in extras.items():
            staged.append((_stage(target), target))
            staged[-1][0].write_text(text, encoding="utf-8")
        staged.append((_stage(out), out))
        _write(staged[-1][0], to, rows, header)
        digest = _finish([part for part, _ in staged])
        _publish(staged, force)
    except OSError as error:
        raise ExportError(
            f"{out} could not be written ({error.strerror or error}); nothing was exported: choose another place."
        ) from error
    finally:
        for part, _ in staged:
            part.unlink(missing_ok=True)
    return ExportResult(out, tuple(extras), len(rows), len({row.pair_id for row in rows}), digest, left_out)


def _side_files(to: str) -> dict[str, str]:
    """Suffix -> content of what goes beside the file."""
    if to == "label-studio":
        return {
            ".config.xml": label_studio.labelling_config("choices"),
            ".pairwise.config.xml": label_studio.labelling_config("pairwise"),
        }
    if to == "argilla":
        return {".settings.json": json.dumps(argilla.settings(), indent=1) + "\n"}
    return {}


def _write(path: Path, to: str, rows: Sequence[Presented], header: ExportHeader) -> None:
    if to == "label-studio":
        _write_json_list(path, (label_studio.task(row, header) for row in rows))
    elif to == "argilla":
        _write_json_list(path, (argilla.record(row, header) for row in rows))
    else:
        table = (tabular.table_row(row, header) for row in rows)
        if to == "csv":
            tabular.write_csv(path, table)
        elif to == "parquet":
            tabular.write_parquet(path, table)
        else:
            with path.open("w", encoding="utf-8", newline="\n") as handle:
                handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in table)


def _write_json_list(path: Path, items: Iterable[dict[str, Any]]) -> None:
    """A JSON list, one item a line."""
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for number, item in enumerate(items):
            handle.write(",\n" if number else "[\n")
            handle.write(json.dumps(item, ensure_ascii=False))
        handle.write("\n]\n")


def _check_targets(targets: Sequence[Path], force: bool) -> None:
    """Before any work: places that cannot be written, and files that exist."""
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
    handle, name = tempfile.mkstemp(prefix=".export-", suffix=".part", dir=target.absolute().parent)
    os.close(handle)
    return Path(name)


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
            _claim(part, target)
            done.append(target)
    except FileExistsError as error:
        for target in done:
            target.unlink()
        raise _exists(Path(error.filename2 or error.filename)) from None
    except OSError:
        for target in done:
            target.unlink()
        raise


def _claim(part: Path, target: Path) -> None:
    """Rename without ever replacing: a link fails where the name is taken, a rename would not."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        part.replace(target)
