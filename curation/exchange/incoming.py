"""Labels as annotation tools give them back: every format to the same plain rows, nothing judged yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.batch.answers import Choice, NotOnScaleError, Said, UnclearError, left_sign, understand
from curation.batch.presentation import sheet_original
from curation.errors import ImportLabelsError
from curation.exchange.cells import (
    KEPT,
    UNNAMED,
    Cell,
    copy_number,
    is_text,
    plain_id,
    seconds_of,
)
from curation.exchange.containers import read_items
from curation.exchange.tools.base import AUTO, TOOLS, Arrangement, Tool, label_formats

NAMED = 5  # places that a message names
NO_TIME = "times that are no number of seconds, left out"


@dataclass(frozen=True)
class RawLabel:
    """One answer of one annotator to one presented pair. place: where it stands in the file, for messages.

    batch_id, copy: None where the file does not say. seconds: time spent. cancelled: the tool's own word for it.
    graded: whether strength was asked for. strength: 0 tie, 1 slightly, 2 much; None where not asked or not given.
    unclear: why the answer says nothing definite, None where it does. blank: what was not answered, None where there is
    an answer. annotation_id, at, created: the tool's id and times (seconds since 1970), None where it gives none. user:
    the tool's number of the annotator, where it is told beside another name. further: what else was said, by the name
    of its control or column.
    """

    place: str
    pair_id: str
    batch_id: str | None
    left_id: str
    right_id: str
    choice: Choice
    annotator: str
    seconds: float | None
    copy: int | None
    cancelled: bool = False
    graded: bool = False
    strength: int | None = None
    both_bad: bool = False
    unclear: str | None = None
    blank: str | None = None
    annotation_id: str | None = None
    at: float | None = None
    created: float | None = None
    user: str | None = None
    further: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Incoming:
    """The answers in a file, its format, and how much of it is no answer, by what it is."""

    labels: list[RawLabel]
    format: str
    told: dict[str, int]


def read_labels(path: str | Path, kind: str = AUTO) -> tuple[list[RawLabel], str]:
    """The answers in a file and its format. Raises ImportLabelsError naming the place that cannot be read."""
    found = read_answers(path, kind)
    return found.labels, found.format


def read_answers(path: str | Path, kind: str = AUTO) -> Incoming:
    """The answers in a file. Raises ImportLabelsError naming the place that cannot be read."""
    source = Path(path)
    if kind not in label_formats():
        raise ImportLabelsError(f"--from {kind!r} is unknown; use {', '.join(label_formats())}.")
    tool = None if kind == AUTO else TOOLS[kind]
    items, arrangement = read_items(source, tool.takes if tool and tool.only else None)
    tool = tool or _tool_of(items[0][1] if items else {}, arrangement)
    told: Counter[str] = Counter()
    cells = [cell for place, item in items for cell in tool.cells(item, place, told)]
    return Incoming(_raw_labels(cells, source, told), tool.name, {what: count for what, count in told.items() if count})


def _tool_of(item: dict[str, Any], arrangement: Arrangement) -> Tool:
    """The tool that knows an item for its own, else the one that takes the rows of an arrangement."""
    known = (tool for tool in TOOLS if tool.recognises(item))
    return next(known, None) or next(tool for tool in TOOLS if tool.takes == arrangement)


def _raw_labels(cells: list[Cell], source: Path, told: Counter[str]) -> list[RawLabel]:
    """Understand every answer, knowing the whole file. Raises ImportLabelsError counting what is none."""
    try:
        sign = left_sign((cell.preference, cell.strength) for cell in cells if not cell.cancelled)
    except NotOnScaleError as error:
        raise ImportLabelsError(f"{source}: {error}; nothing was imported.") from None
    said: list[Said] = []
    unclear: list[str | None] = []
    no_answers: list[str] = []
    for cell in cells:
        _need_ids(cell)
        made, why = Said("skip"), cell.unclear
        if not cell.cancelled and not cell.blank and why is None:
            try:
                made = understand(cell.preference, cell.strength, graded=cell.marked, sign=sign)
            except UnclearError as error:
                why = str(error)
            except NotOnScaleError as error:
                no_answers.append(f"{cell.place}: {error}")
        said.append(made)
        unclear.append(why)
    if no_answers:
        raise ImportLabelsError(
            f"{len(no_answers):,} of {len(cells):,} answers are not understood, so nothing was imported; correct them. "
            + "; ".join(no_answers[:NAMED])
        )
    if cells and all(cell.blank for cell in cells):
        raise ImportLabelsError(
            f"{source} holds no answer: {cells[0].expected} in all {len(cells):,} places (first: {cells[0].place}); "
            "fill it in, with skip where somebody passed over a pair, or export the answered ones."
        )
    # A file that does not say what was asked, yet holds a strength, asked for strengths throughout.
    asked = not any(cell.marked for cell in cells) and any(each.strength is not None for each in said)
    # One person has one name, also where a part of the file gives a number and another the address.
    names = {plain_id(cell.user): plain_id(cell.annotator) for cell in cells if plain_id(cell.user)}
    return [
        _raw(cell, made, why, told, names, graded=asked or cell.marked)
        for cell, made, why in zip(cells, said, unclear, strict=True)
    ]


def _need_ids(cell: Cell) -> None:
    missing = [name for name in ("pair_id", "left_id", "right_id") if not plain_id(cell.fields.get(name))]
    odd = [name for name in KEPT if isinstance(cell.fields.get(name), dict | list)]
    if odd:
        raise ImportLabelsError(f"{cell.place}: {', '.join(odd)} must be text or a number; export it again.")
    for part in (*(cell.fields.get(name) for name in KEPT), cell.annotator, cell.annotation_id, *cell.further):
        if isinstance(part, str) and not is_text(part):
            raise ImportLabelsError(
                f"{cell.place}: an id or a name holds characters that are no text; export it again."
            )
    if missing:
        raise ImportLabelsError(
            f"{cell.place} lacks {', '.join(missing)}; the export must keep every field that went out, so that answers "
            "can be told apart."
        )


def _raw(
    cell: Cell, said: Said, unclear: str | None, told: Counter[str], names: dict[str, str], *, graded: bool
) -> RawLabel:
    fields, copy, seconds = cell.fields, None, None
    try:
        copy = copy_number(fields.get("copy"))
    except ValueError as error:
        unclear = unclear or str(error)
    try:
        seconds = seconds_of(cell.seconds)
    except (TypeError, ValueError, OverflowError):
        told[NO_TIME] += 1
    annotator = plain_id(cell.annotator)
    return RawLabel(
        place=cell.place,
        pair_id=sheet_original(plain_id(fields["pair_id"])),
        batch_id=sheet_original(plain_id(fields.get("batch_id"))) or None,
        left_id=plain_id(fields["left_id"]),
        right_id=plain_id(fields["right_id"]),
        choice=said.choice,
        annotator=names.get(annotator, annotator) or UNNAMED,
        seconds=seconds,
        copy=copy,
        cancelled=cell.cancelled,
        graded=graded,
        strength=0 if graded and said.choice == "tie" else said.strength,
        both_bad=said.both_bad,
        unclear=unclear,
        blank=cell.expected if cell.blank else None,
        annotation_id=plain_id(cell.annotation_id) or None,
        at=cell.at,
        created=cell.created,
        user=plain_id(cell.user) or (annotator if annotator in names else None),
        further=tuple(cell.further.items()),
    )
