"""What an annotation tool is. A module beside this one that offers such a `PLUG` is found, offered and asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from curation.errors import ExportError
from curation.registry import Registry

if TYPE_CHECKING:
    from curation.batch.presentation import ExportHeader, Presented
    from curation.exchange.assignment import Annotator
    from curation.exchange.cells import Cell

Writer = Callable[[Path], object]
Recognised = Callable[[Path], bool]
Arrangement = Literal["table", "binary", "list", "lines"]  # CSV, Parquet and the like, a JSON list, JSON Lines


@dataclass(frozen=True)
class Outgoing:
    """Rows that are to be given to people. suffix: the ending of the file, which lists beside it share."""

    rows: Sequence[Presented]
    header: ExportHeader
    order: str
    annotators: Sequence[Annotator]
    guidelines: str | None
    suffix: str


@dataclass(frozen=True)
class Files:
    """What is to be written. beside: suffix -> its writer. shares: name -> rows, where rows are given to people."""

    write: Writer
    beside: dict[str, Writer] = field(default_factory=dict)
    shares: dict[str, int] = field(default_factory=dict)


class Content:
    """A file that lies where an export would go, read once for all tools that are asked whether it is theirs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def arrangement(self) -> Arrangement:
        """By its first bytes."""
        with self.path.open("rb") as handle:
            start = handle.read(4)
        if start == b"PAR1":
            return "binary"
        return "list" if start[:1] == b"[" else "lines" if start[:1] == b"{" else "table"

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        """The objects of a JSON list or of JSON Lines. Raises ValueError where there are others."""
        if self.arrangement == "list":
            found = json.loads(self.path.read_text(encoding="utf-8"))
        else:
            with self.path.open("rb") as handle:
                found = [json.loads(line) for line in handle if line.strip()]
        if not all(isinstance(item, dict) for item in found):
            raise ValueError
        return list(found)


class Tool(Protocol):
    """One format for annotators. name: what `--to` and `--from` call it. rank: where it is listed, and asked.

    title, suffix: on the Sign-off page, and the ending of the file made there. refuses_nul: who refuses texts that hold
    the character NUL; None where they arrive whole. by_name: whether `--from` may name it, or the file alone tells.
    takes: the arrangement whose items are this tool's where no tool recognises them. only: whether a file that is said
    to be this tool's is read in that arrangement, a table or lines, whatever it looks like. beside: endings of what
    lies beside an export, and what tells such a file (None: that it is an unanswered export itself).
    """

    name: str
    rank: int
    title: str
    suffix: str
    refuses_nul: str | None = None
    by_name: bool = True
    takes: Arrangement | None = None
    only: bool = False
    beside: tuple[tuple[str, Recognised | None], ...] = ()

    # Out

    def side_files(self, header: ExportHeader, guidelines: str | None) -> dict[str, str]:
        """Suffix -> text of what goes beside the file, such as the tool's own settings."""
        return {}

    def notes(self, rows: Sequence[Presented]) -> tuple[str, ...]:
        """What the tool may make of the texts."""
        return ()

    def write(self, path: Path, rows: Sequence[Presented], header: ExportHeader) -> None:
        """Write all rows into the file."""
        ...

    def to_people(self, out: Outgoing) -> Files:
        """Every row given to one of the people named, who got what, and each one's `lists`. Raises ExportError."""
        from curation.exchange.assignment import assign, write_assignments

        names = assign(out.rows, out.annotators, out.header)
        rows = [replace(row, annotator=name) for row, name in zip(out.rows, names, strict=True)]
        shares = {person.name: names.count(person.name) for person in out.annotators}
        header = replace(out.header, assigned=True)
        beside: dict[str, Writer] = {".assignments.csv": lambda path: write_assignments(path, rows, header)}
        beside |= self.lists(rows, header, shares, out.suffix)
        return Files(lambda path: self.write(path, rows, header), beside, shares)

    def lists(
        self, rows: Sequence[Presented], header: ExportHeader, shares: dict[str, int], suffix: str
    ) -> dict[str, Writer]:
        """Suffix -> writer of what each of the people is given: a file of her own rows."""

        def of(name: str) -> Writer:
            return lambda path: self.write(path, [row for row in rows if row.annotator == name], header)

        return {f".for-{name}{suffix}": of(name) for name, count in shares.items() if count}

    def unanswered(self, found: Content) -> bool:
        """Whether a file is an export of this tool with no answer in it. May raise ValueError where it is not."""
        ...

    # In

    def recognises(self, item: dict[str, Any]) -> bool:
        """Whether the first object or row of a file can only be this tool's."""
        return False

    def cells(self, item: dict[str, Any], place: str, told: Counter[str]) -> Iterator[Cell]:
        """The answers in an object or row; what is no answer is counted in `told`. Raises ImportLabelsError."""
        ...

    def is_record(self, item: dict[str, Any]) -> bool:
        """Whether an object is one of the tool's records, also where records stand in one object by their ids."""
        return False

    def is_columns(self, item: dict[str, Any]) -> bool:
        """Whether an object may be all of the tool's records, each of its fields a column of values."""
        return False


TOOLS: Registry[Tool] = Registry("curation.exchange.tools", "format", ExportError)
AUTO = "auto"  # the file tells what it comes from


def label_formats() -> tuple[str, ...]:
    """What a file of answers may be said to come from."""
    return (AUTO, *(tool.name for tool in TOOLS if tool.by_name))


def text_writer(text: str) -> Writer:
    """Writes a text as UTF-8."""
    return lambda path: path.write_text(text, encoding="utf-8")


def write_json_list(path: Path, items: Iterable[dict[str, Any]]) -> None:
    """A JSON list, one item a line."""
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for number, item in enumerate(items):
            handle.write(",\n" if number else "[\n")
            handle.write(json.dumps(item, ensure_ascii=False))
        handle.write("\n]\n")


def begins(*starts: str) -> Recognised:
    """Tells a file by how its text begins."""
    return lambda path: path.read_text(encoding="utf-8").lstrip().startswith(starts)


def object_with(*keys: str) -> Recognised:
    """Tells a JSON file by the keys of its object."""

    def recognised(path: Path) -> bool:
        found = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(found, dict) and set(keys) <= set(found)

    return recognised
