"""What a command writes, told by content: only a file or folder of that very kind may be replaced with --force."""

from __future__ import annotations

import csv
import glob
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import OutputError
from curation.system.outputs import check_place, is_batch

Recognised = Callable[[Path], bool]
_DECODES = {"pair_id", "batch_id", "left_id", "right_id"}
_TABLE = _DECODES | {
    "copy", "prompt", "left", "right", "signed", "manifest_hash", "audit_head", "answers", "preference", "annotator",
}  # fmt: skip
_TRAINING = {
    "prompt", "chosen", "rejected", "votes_chosen", "votes_rejected", "votes_tie", "strength", "target", "weight",
}  # fmt: skip
_TRACED = _TRAINING | {"pair_id", "batch_id", "inclusion", "design_weight"}


@dataclass(frozen=True)
class FileKind:
    """A file that a command writes. name: in messages; recognised: whether a file's content is of the kind.

    beside: endings of the files that are written next to it, and what tells them.
    """

    name: str
    recognised: Recognised
    beside: tuple[tuple[str, Recognised], ...] = ()
    for_people: bool = False  # whether files of the same kind may lie beside it, one for each annotator

    def check(self, out: Path, *, inputs: Iterable[Path], force: bool) -> Path:
        """Where to write. Raises OutputError where something else would be lost."""
        sources = list(inputs)
        path = check_place(out, sources)
        if path.is_dir():
            raise OutputError(f"{out} is a folder; give the name of a file.")
        _check_file(path, out, self.recognised, self.name, force)
        sides = [(path.with_suffix(ending) if path.name else path, recognised) for ending, recognised in self.beside]
        if self.for_people and path.name:
            own = f"{glob.escape(path.with_suffix('').name)}.for-*{glob.escape(path.suffix)}"
            sides += [(side, self.recognised) for side in path.parent.glob(own)]
        for side, recognised in sides:
            if side != path and force:
                _check_file(check_place(side, sources), side, recognised, f"what is written beside {self.name}", force)
        return path


@dataclass(frozen=True)
class BatchKind:
    """The folder of a batch: replaced only when it is a whole unsigned one."""

    def check(self, out: Path, *, inputs: Iterable[Path], force: bool) -> Path:
        """As `batch.check_target`, and no input of the command."""
        from curation.batch.folder import check_target

        path = check_place(out, inputs)
        check_target(path, force=force)
        return path


@dataclass(frozen=True)
class ResultKind:
    """A folder that results are written into; running again writes over those, and over nothing else.

    files: JSON file -> keys that its object has; beside: further files, taken for the
    command's own where one of those JSON files is.
    """

    name: str
    files: dict[str, frozenset[str]]
    beside: tuple[str, ...] = ()

    def check(self, out: Path, *, inputs: Iterable[Path], force: bool) -> Path:
        """Where to write. Raises OutputError where a file of the same name is not the command's."""
        sources = list(inputs)
        path = check_place(out, sources)
        if path.exists() and not path.is_dir():
            raise OutputError(f"{out} exists and is not a folder; choose another --out.")
        if is_batch(path):
            raise OutputError(f"{out} is a batch folder; choose another place for {self.name}.")
        own = False
        for file, keys in self.files.items():
            place = check_place(path / file, sources)
            if place.exists():
                _check_file(place, place, lambda found, keys=keys: _object_with(found, keys), self.name, True)  # type: ignore[misc]
                own = True
        for file in self.beside:
            place = check_place(path / file, sources)
            if place.exists() and not own:
                raise OutputError(f"{place} exists and was not written by this command; choose another --out.")
        return path


@dataclass(frozen=True)
class NewFolderKind:
    """A folder that must not be there, or be empty."""

    def check(self, out: Path, *, inputs: Iterable[Path], force: bool) -> Path:
        """Where to write. Raises OutputError where anything stands."""
        path = check_place(out, inputs)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise OutputError(f"{out} exists and is never replaced; choose another --out, or remove it.")
        return path


Kind = FileKind | BatchKind | ResultKind | NewFolderKind


def _check_file(path: Path, told: Path, recognised: Recognised, name: str, force: bool) -> None:
    if not path.exists():
        return
    if not path.is_file():
        raise OutputError(f"{told} is not a file; choose another place.")
    if not force:
        raise OutputError(
            f"{told} already exists and was left as it is; choose another place, or replace it with --force."
        )
    try:
        known = path.stat().st_size == 0 or recognised(path)
    except (OSError, ValueError, RecursionError):
        known = False
    if not known:
        raise OutputError(
            f"{told} exists and is not {name}, so it is never replaced; choose another place, or move it away."
        )


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as handle:
        found = [json.loads(line) for line in handle if line.strip()]
    if not all(isinstance(row, dict) for row in found):
        raise ValueError
    return found


def is_features(path: Path) -> bool:
    """A features file (Parquet)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return {"prompt_id", "response_id", "features"} <= set(pq.read_schema(path).names)
    except pa.ArrowException:
        return False


def is_rejects(path: Path) -> bool:
    """Rows that could not be used, as `check --rejects` saves them."""
    return all(set(row) == {"line", "reason", "raw"} for row in _lines(path))


def is_pair_list(path: Path) -> bool:
    """A list of pairs, as `check --exclude-out` saves it."""
    with path.open(encoding="utf-8", newline="") as handle:
        return next(csv.reader(handle), []) == ["prompt_id", "response_a_id", "response_b_id"]


def is_export(path: Path) -> bool:
    """A file for annotators of any format, not answered yet, or training rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with path.open("rb") as handle:
        start = handle.read(4)
    if start == b"PAR1":
        try:
            return _unanswered(pq.read_table(path).to_pylist())
        except pa.ArrowException:
            return False
    if start[:1] == b"[":
        items = json.loads(path.read_text(encoding="utf-8"))
        return all(
            isinstance(item, dict) and set(item) in ({"data", "meta"}, {"id", "fields", "metadata"}) for item in items
        )
    if start[:1] == b"{":
        rows = _lines(path)
        return all(set(row) - {"tools", "settled"} in (_TRAINING, _TRACED) for row in rows) or _unanswered(rows)
    with path.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle)
        return bool(reader.fieldnames) and _names(reader.fieldnames or ()) and _unanswered(list(reader))


def _names(names: Iterable[str]) -> bool:
    return _DECODES <= set(names) <= _TABLE


def _unanswered(rows: list[dict[str, Any]]) -> bool:
    return all(_names(row) and not (row.get("preference") or "").strip() for row in rows)


def _object_with(path: Path, keys: frozenset[str]) -> bool:
    found = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(found, dict) and keys <= set(found)


def _begins(*starts: str) -> Recognised:
    return lambda path: path.read_text(encoding="utf-8").lstrip().startswith(starts)


def _settings(path: Path) -> bool:
    return _object_with(path, frozenset({"fields", "questions"}))


FEATURES = FileKind("a features file", is_features)
REJECTS = FileKind("a file of rejected rows", is_rejects)
PAIRS = FileKind("a list of pairs", is_pair_list)
EXPORT = FileKind(
    "an unanswered export",
    is_export,
    (
        (".config.xml", _begins("<View")),
        (".pairwise.config.xml", _begins("<View")),
        (".settings.json", _settings),
        *((f".{to}.answers.txt", _begins("preference:")) for to in ("csv", "parquet", "jsonl")),
        (".assignments.csv", _begins("batch_id,pair_id,copy,left_id,right_id,annotator")),
        (".tabs.json", _begins("[")),
        (".guidelines.md", _begins("<!-- Guidelines of batch")),
        (".ties.jsonl", is_export),
        *((f".by-{number}.json", is_export) for number in range(2, 10)),
        *((f".by-{number}.settings.json", _settings) for number in range(2, 10)),
    ),
    for_people=True,
)
BATCH = BatchKind()
MODEL = NewFolderKind()
BENCH = ResultKind("a benchmark", {"bench.json": frozenset({"frank_wolfe", "extraction"})}, ("bench.md", "gap.html"))
BACKTEST = ResultKind(
    "a backtest",
    {
        "backtest.json": frozenset({"format_version", "report"}),
        "backtest_graded.json": frozenset({"format_version", "answering"}),
        "suite.json": frozenset({"grounds", "standings"}),
    },
    ("suite.md",),
)
SYNTHETIC = ResultKind("a synthetic experiment", {"result.json": frozenset({"gaps", "settings"})}, ("table.csv",))
POLICY = ResultKind("a policy experiment", {"result.json": frozenset({"points", "sentences"})})
