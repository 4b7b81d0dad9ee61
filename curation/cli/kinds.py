"""What a command writes, told by content: only a file or folder of that very kind may be replaced with --force."""

from __future__ import annotations

import csv
import glob
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from curation.errors import OutputError
from curation.exchange.tools.base import TOOLS, Content, Recognised, Tool, begins, object_with
from curation.system.outputs import check_place, is_batch

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
    beside: Callable[[], tuple[tuple[str, Recognised], ...]] = tuple
    for_people: bool = False  # whether files of the same kind may lie beside it, one for each annotator

    def check(self, out: Path, *, inputs: Iterable[Path], force: bool) -> Path:
        """Where to write. Raises OutputError where something else would be lost."""
        sources = list(inputs)
        path = check_place(out, sources)
        if path.is_dir():
            raise OutputError(f"{out} is a folder; give the name of a file.")
        _check_file(path, out, self.recognised, self.name, force)
        sides = [(path.with_suffix(ending) if path.name else path, recognised) for ending, recognised in self.beside()]
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
        from curation.batch.writing import check_target

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
                _check_file(place, place, object_with(*keys), self.name, True)
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
    if not _recognised(lambda: path.stat().st_size == 0 or recognised(path)):
        raise OutputError(
            f"{told} exists and is not {name}, so it is never replaced; choose another place, or move it away."
        )


def _recognised(asked: Callable[[], bool]) -> bool:
    """What somebody says who looks at a file; whoever cannot read it does not know it."""
    try:
        return asked()
    except (OSError, ValueError, RecursionError, csv.Error):
        return False


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
    found = Content(path)
    return found.arrangement != "list" and all(set(row) == {"line", "reason", "raw"} for row in found.items)


def is_pair_list(path: Path) -> bool:
    """A list of pairs, as `check --exclude-out` saves it."""
    with path.open(encoding="utf-8", newline="") as handle:
        return next(csv.reader(handle), []) == ["prompt_id", "response_a_id", "response_b_id"]


def is_export(path: Path) -> bool:
    """A file for annotators of any tool, not answered yet, or training rows."""
    found = Content(path)
    return any(_unanswered(tool, found) for tool in TOOLS) or _is_training(found)


def _unanswered(tool: Tool, found: Content) -> bool:
    return _recognised(lambda: tool.unanswered(found))


def _beside_exports() -> tuple[tuple[str, Recognised], ...]:
    return (
        *((ending, recognised or is_export) for tool in TOOLS for ending, recognised in tool.beside),
        (".assignments.csv", begins("batch_id,pair_id,copy,left_id,right_id,annotator")),
        (".guidelines.md", begins("<!-- Guidelines of batch")),
        (".ties.jsonl", is_export),
    )


def _is_training(found: Content) -> bool:
    return found.arrangement == "lines" and all(
        set(row) - {"tools", "settled"} in (_TRAINING, _TRACED) for row in found.items
    )


FEATURES = FileKind("a features file", is_features)
REJECTS = FileKind("a file of rejected rows", is_rejects)
PAIRS = FileKind("a list of pairs", is_pair_list)
EXPORT = FileKind("an unanswered export", is_export, _beside_exports, for_people=True)
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
POLICY = ResultKind("a policy experiment", {"result.json": frozenset({"points"})})
