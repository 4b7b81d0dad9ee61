"""From the audit records of a batch to files for annotators: whole or absent, and marked when unsigned."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from curation.batch.answers import ANSWERS
from curation.batch.presentation import ExportHeader, Order, Presented, Record, present, sheet_safe
from curation.errors import ExportError, OutputError
from curation.exchange import argilla, label_studio, tabular
from curation.exchange.assignment import Annotator, assign, write_assignments
from curation.exchange.fitness import check_fit
from curation.system.outputs import check_place, publish, staging_name

Format = Literal["label-studio", "argilla", "csv", "parquet", "jsonl"]
FORMATS: tuple[str, ...] = get_args(Format)
Writer = Callable[[Path], object]
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
    to: Format | str,
    out: str | Path,
    order: Order | str,
    header: ExportHeader,
    copies_respected: bool = True,
    force: bool = False,
    annotators: Sequence[Annotator] = (),
    guidelines: str | None = None,
) -> ExportResult:
    """Write the records, already filtered, in the format `to`; a Label Studio or Argilla setup is written beside.

    Nothing in the files tells which model wrote a response, or what the design thinks of the pair. A file that exists
    is refused unless `force`. annotators: give every row to one of them, with lists beside (`_files_of_people`);
    Argilla, which hands records out itself, gets one record per pair and asks that many people. guidelines:
    Markdown that goes out beside the file, and into Argilla's settings. Raises ExportError,
    also for texts that the receiving tool refuses, and leaves nothing half written.
    """
    if to not in FORMATS:
        raise ExportError(f"format {to!r} is unknown; use {', '.join(FORMATS)}.")
    given, out = Path(out), place_of(out)
    extras = {suffix: text_writer(text) for suffix, text in _side_files(to, header, guidelines).items()}
    check_targets([out, *(out.with_suffix(suffix) for suffix in extras if out.name)], force)
    rows, left_out = present(records, header=header, order=order, copies_respected=copies_respected)
    header = replace(header, batch_id=sheet_safe(header.batch_id))
    notes = check_fit(rows, to)
    shares: dict[str, int] = {}
    writer: Writer = lambda path: _write(path, to, rows, header)  # noqa: E731
    if annotators and to == "argilla":
        writer, more = _argilla_by_people(rows, header, order, annotators, guidelines)
        extras |= more
    elif annotators:
        names = assign(rows, annotators, header)
        rows = [replace(row, annotator=name) for row, name in zip(rows, names, strict=True)]
        shares = {person.name: names.count(person.name) for person in annotators}
        header = replace(header, assigned=True)
        extras |= _files_of_people(rows, header, to, shares, out.suffix)
    beside = {out.with_suffix(suffix): write for suffix, write in extras.items()}
    check_targets([out, *beside], force)
    digest = write_whole({**beside, out: writer}, force=force)
    pairs = len({row.pair_id for row in rows})
    return ExportResult(given, tuple(beside), len(rows), pairs, digest, left_out, notes, shares)


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


def text_writer(text: str) -> Writer:
    """Writes a text as UTF-8."""
    return lambda path: path.write_text(text, encoding="utf-8")


def _files_of_people(
    rows: Sequence[Presented], header: ExportHeader, to: str, shares: Mapping[str, int], suffix: str
) -> dict[str, Writer]:
    """Suffix -> writer: who got what, and for tables one file each (`.for-NAME`), for Label Studio the tabs to make."""
    files: dict[str, Writer] = {".assignments.csv": lambda path: write_assignments(path, rows, header)}
    if to == "label-studio":
        return {**files, ".tabs.json": text_writer(json.dumps(label_studio.tabs(list(shares)), indent=1) + "\n")}

    def of(name: str) -> Writer:
        return lambda path: _write(path, to, [row for row in rows if row.annotator == name], header)

    return {**files, **{f".for-{name}{suffix}": of(name) for name, count in shares.items() if count}}


def _argilla_by_people(
    rows: Sequence[Presented],
    header: ExportHeader,
    order: str,
    annotators: Sequence[Annotator],
    guidelines: str | None,
) -> tuple[Writer, dict[str, Writer]]:
    """Pairs by how many people label them, a dataset each: the fewest in the file itself, the others beside it.

    `min_submitted` is of a dataset, and Argilla asks nobody twice about a record. Raises ExportError.
    """
    if order == "both":
        raise ExportError(
            "Argilla asks nobody twice about a record, but order 'both' makes two records of every pair; use --order "
            "random with --annotators."
        )
    if any(person.quota is not None for person in annotators):
        raise ExportError(
            "Argilla hands records out itself and keeps no quotas; leave the numbers out of --annotators."
        )
    people = Counter(row.pair_id for row in rows)
    groups = sorted(set(people.values()))
    if groups[-1] > len(annotators):
        raise ExportError(
            f"some pairs are to be labelled {groups[-1]} times and {len(annotators)} annotators are named; name "
            f"{groups[-1]} or more."
        )

    def of(number: int) -> Writer:
        once = [row for row in rows if row.copy == 1 and people[row.pair_id] == number]
        return lambda path: _write(path, "argilla", once, header)

    def settings(number: int) -> Writer:
        return text_writer(_settings(header, guidelines, number))

    files = {".settings.json": settings(groups[0])}
    for number in groups[1:]:
        files |= {f".by-{number}.json": of(number), f".by-{number}.settings.json": settings(number)}
    return of(groups[0]), files


def place_of(out: str | Path) -> Path:
    """Where to write, links followed: never into a batch folder or onto the review database."""
    if not Path(out).name:
        return Path(out)
    try:
        return check_place(out)
    except OutputError as error:
        raise ExportError(str(error)) from None


def _side_files(to: str, header: ExportHeader, guidelines: str | None) -> dict[str, str]:
    """Suffix -> content of what goes beside the file. Raises ExportError for answers that are not asked for."""
    answers = header.answers
    if answers not in ANSWERS:
        raise ExportError(f"answers {answers!r} are unknown; use {', '.join(ANSWERS)}.")
    told = {} if guidelines is None else {".guidelines.md": f"{GUIDELINES_HEAD} {header.batch_id} -->\n\n{guidelines}"}
    if to == "label-studio":
        return {
            **told,
            ".config.xml": label_studio.labelling_config("choices", answers),
            ".pairwise.config.xml": label_studio.labelling_config("pairwise", answers),
        }
    if to == "argilla":
        return {**told, ".settings.json": _settings(header, guidelines)}
    return {**told, f".{to}.answers.txt": tabular.column_guide()} if answers == "graded" else told


def _settings(header: ExportHeader, guidelines: str | None, min_submitted: int = 1) -> str:
    """Argilla's settings as a file."""
    found = argilla.settings(header.answers, min_submitted=min_submitted, guidelines=guidelines)
    return json.dumps(found, indent=1) + "\n"


def _write(path: Path, to: str, rows: Sequence[Presented], header: ExportHeader) -> None:
    if to == "label-studio":
        _write_json_list(path, (label_studio.task(row, header) for row in rows))
    elif to == "argilla":
        _write_json_list(path, (argilla.record(row, header) for row in rows))
    else:
        table = (tabular.table_row(row, header) for row in rows)
        if to == "csv":
            tabular.write_csv(path, table, header)
        elif to == "parquet":
            tabular.write_parquet(path, table, header)
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
