"""Label Studio: a JSON list of tasks with the labelling interface to go with it, and the answers in its exports.

No predictions are shipped: they anchor annotators. Texts are shown by `Text`, which does not interpret HTML. Read are
tasks with annotations (JSON), target storage (one annotation an object), and flat rows (JSON_MIN, CSV, TSV).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictStr

from curation.batch.answers import GRADED, Answers
from curation.batch.presentation import ExportHeader, Presented
from curation.errors import ImportLabelsError
from curation.exchange.cells import Cell, further_text, moment, only_answer
from curation.exchange.tools.base import Content, Tool, Writer, begins, text_writer, write_json_list
from curation.exchange.tools.shapes import OR_LIST, OR_OBJECT, Item, Plain, shaped
from curation.exchange.tools.tables import row_cell
from curation.pool.messages import prompt_text

Control = Literal["choices", "pairwise"]
_CONTROL, _STRENGTH = "preference", "strength"  # the names of our controls in the labelling interface

_CHOICES = """\
  <Header value="Which answer is better?"/>
  <Choices name="preference" toName="prompt" choice="single" required="true" showInline="true">
    <Choice value="left" hotkey="1"/>
    <Choice value="right" hotkey="2"/>
    <Choice value="tie" hotkey="3"/>
  </Choices>
"""
_PAIRWISE = """\
  <Header value="Select the better answer"/>
  <Pairwise name="preference" toName="answer1,answer2" leftClass="left" rightClass="right"/>
"""
_GRADED = """\
  <Header value="Which answer is better, and by how much?"/>
  <Choices name="preference" toName="prompt" choice="single" required="true" showInline="true">
{choices}  </Choices>
"""
_GRADED_PAIRWISE = """\
  <Header value="Select the better answer (none when they are equal, or both bad)"/>
  <Pairwise name="preference" toName="answer1,answer2" leftClass="left" rightClass="right"/>
  <Header value="How much better is it?"/>
  <Choices name="strength" toName="prompt" choice="single" required="true" showInline="true">
    <Choice value="Much better" alias="much" hotkey="1"/>
    <Choice value="Slightly better" alias="slightly" hotkey="2"/>
    <Choice value="Tie" alias="tie" hotkey="3"/>
    <Choice value="Both are bad" alias="both_bad" hotkey="4"/>
  </Choices>
"""
_VIEW = """\
<View>
  <Header value="Prompt"/>
  <Text name="prompt" value="$prompt" valueType="text"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; column-gap: 1.5em">
    <View>
      <Header value="Left"/>
      <Text name="answer1" value="$answer1" valueType="text"/>
    </View>
    <View>
      <Header value="Right"/>
      <Text name="answer2" value="$answer2" valueType="text"/>
    </View>
  </View>
{control}</View>
"""


class LabelStudio(Tool):
    """Tasks out, with two interfaces to choose from; tasks, stored annotations or flat rows back."""

    name, rank, title, suffix = "label-studio", 10, "Label Studio", "json"
    refuses_nul = "Label Studio"  # it keeps texts in PostgreSQL
    takes = "list"
    beside = ((".config.xml", begins("<View")), (".pairwise.config.xml", begins("<View")), (".tabs.json", begins("[")))

    def side_files(self, header: ExportHeader, guidelines: str | None) -> dict[str, str]:
        return {
            ".config.xml": labelling_config("choices", header.answers),
            ".pairwise.config.xml": labelling_config("pairwise", header.answers),
        }

    def write(self, path: Path, rows: Sequence[Presented], header: ExportHeader) -> None:
        write_json_list(path, (_task(row, header) for row in rows))

    def lists(
        self, rows: Sequence[Presented], header: ExportHeader, shares: dict[str, int], suffix: str
    ) -> dict[str, Writer]:
        """The tabs to make: every task says whose it is."""
        return {".tabs.json": text_writer(json.dumps(_tabs(list(shares)), indent=1) + "\n")}

    def unanswered(self, found: Content) -> bool:
        return found.arrangement == "list" and all(set(item) == {"data", "meta"} for item in found.items)

    def recognises(self, item: dict[str, Any]) -> bool:
        return "pair_id" not in item and _is_studio(item)

    def cells(self, item: dict[str, Any], place: str, told: Counter[str]) -> Iterator[Cell]:
        if _is_studio(item):
            yield from _cells(item, place, told)
        else:
            yield row_cell(item, place, flat=True)

    def is_record(self, item: dict[str, Any]) -> bool:
        return "annotations" in item


PLUG = LabelStudio()


def labelling_config(control: Control = "choices", answers: Answers = "binary") -> str:
    """The interface as XML: `choices` asks left, right or tie (keys 1, 2, 3); `pairwise` knows no tie.

    Graded, `choices` asks for one of six (keys 1 to 6). `Pairwise` holds a side and nothing else, so a second control
    beside it asks for the strength, and for ties, which then need no side.
    """
    if answers == "binary":
        return _VIEW.format(control=_CHOICES if control == "choices" else _PAIRWISE)
    choices = "".join(
        f'    <Choice value="{text.format(left="Left", right="Right")}" alias="{value}" hotkey="{key}"/>\n'
        for key, (value, text) in enumerate(GRADED.items(), start=1)
    )
    return _VIEW.format(control=_GRADED.format(choices=choices) if control == "choices" else _GRADED_PAIRWISE)


def _task(row: Presented, header: ExportHeader) -> dict[str, Any]:
    """One task. `data` has what the interface shows and what decodes the answer; `meta` where it comes from."""
    mark: dict[str, Any] = {"audit_head": header.audit_head} if header.signed else {"unsigned": True}
    data = {
        "prompt": prompt_text(row.prompt),
        "answer1": row.left,
        "answer2": row.right,
        "pair_id": row.pair_id,
        "batch_id": header.batch_id,
        "left_id": row.left_id,
        "right_id": row.right_id,
        "copy": row.copy,
        **({"assigned_to": row.annotator} if header.assigned else {}),
    }
    return {
        "data": {**data, **({} if header.signed else mark), **({"answers": header.answers} if header.graded else {})},
        "meta": {"manifest_hash": header.manifest_hash, **mark},
    }


def _tabs(names: Sequence[str]) -> list[dict[str, Any]]:
    """One tab of the Data Manager for each annotator, with the tasks that are hers.

    Each entry, with the number of the project as `project`, is what `POST /api/dm/views/` takes.
    """
    return [
        {
            "data": {
                "title": name,
                "filters": {
                    "conjunction": "and",
                    "items": [
                        {
                            "filter": "filter:tasks:data.assigned_to",
                            "operator": "equal",
                            "type": "String",
                            "value": name,
                        }
                    ],
                },
            }
        }
        for name in names
    ]


# Answers -------------------------------------------------------------------------------------------------------------


class StudioValue(Item):
    """What a part of a result says."""

    choices: list[Plain] | None = None
    selected: Plain = None
    rating: Plain = None
    number: Plain = None


class StudioPart(Item):
    """A part of a result: one control's answer."""

    from_name: Any = None
    type: Any = None
    value: Annotated[StudioValue, OR_OBJECT] = Field(default_factory=StudioValue)


class StudioUser(Item):
    """Who answered, where the export spells it out."""

    id: Plain = None
    email: Plain = None


class StudioAnnotation(Item):
    """One annotator's answer to a task."""

    completed_by: StudioUser | StrictStr | int | float | None = None
    result: Annotated[list[StudioPart], OR_LIST] = Field(default_factory=list)
    lead_time: Plain = None
    was_cancelled: Plain = None


class StudioTask(Item):
    """A task of Label Studio's JSON export."""

    data: Annotated[dict[str, Any], OR_OBJECT] = Field(default_factory=dict)
    annotations: Annotated[list[StudioAnnotation], OR_LIST] = Field(default_factory=list)


def _is_studio(item: dict[str, Any]) -> bool:
    """Whether an object is a task or a stored annotation, not one flat row."""
    return "annotations" in item or isinstance(item.get("data"), dict) or ("result" in item and "task" in item)


def _cells(item: dict[str, Any], place: str, told: Counter[str]) -> Iterator[Cell]:
    """The answers of people to a task. Drafts, predictions and tasks that nobody annotated are counted in `told`."""
    if "annotations" not in item and "result" in item:  # target storage: the annotation holds its task
        task = item.get("task")
        if not isinstance(task, dict):
            raise ImportLabelsError(
                f"{place} is an annotation without its task; export with the task's data, or the project as JSON."
            )
        item = {**task, "annotations": [{name: value for name, value in item.items() if name != "task"}]}
    shape = shaped(StudioTask, item, place)
    extra = shape.model_extra or {}
    for name in ("drafts", "predictions"):
        if isinstance(parts := extra.get(name), list):
            told[f"{name} left out"] += len(parts)
    if not shape.annotations:
        told["tasks without an annotation"] += 1
    for annotation in shape.annotations:
        yield _cell(annotation, shape.data, place)


def _cell(annotation: StudioAnnotation, data: dict[str, Any], place: str) -> Cell:
    who, user, extra = annotation.completed_by, None, annotation.model_extra or {}
    if isinstance(who, StudioUser):
        who, user = who.email or who.id, who.id
    preference, strength, further, unclear = _answer(annotation.result)
    created = moment(extra.get("created_at"))
    others = f" (there: {', '.join(sorted(further))[:80]})" if further else ""
    return Cell(
        place, data, preference, strength, who, annotation.lead_time, _true(annotation.was_cancelled),
        expected=f"the control {_CONTROL!r} has no answer{others}",
        unclear=unclear,
        user=user,
        annotation_id=extra.get("id"),
        at=moment(extra.get("updated_at")) or created,
        created=created,
        further=further,
    )  # fmt: skip


def _answer(result: Sequence[StudioPart]) -> tuple[Any, Any, dict[str, str], str | None]:
    """Preference, strength, what other controls say, and why the answer is unclear.

    The control is told by its name; a part that has none is the preference where no part has that name.
    """
    named = any(part.from_name == _CONTROL for part in result)
    given: dict[str, list[Any]] = {_CONTROL: [], _STRENGTH: []}
    further: dict[str, str] = {}
    for part in result:
        if part.from_name in (_CONTROL, _STRENGTH) or (part.from_name is None and not named):
            given[part.from_name or _CONTROL].append(_said(part))
        elif text := further_text(_content(part)):
            name = str(part.from_name)
            further[name] = f"{further[name]}; {text}" if name in further else text
    preference, why = only_answer(given[_CONTROL])
    strength, other = only_answer(given[_STRENGTH], size=True)
    return preference, strength, further, why or other


def _said(part: StudioPart) -> Any:
    """The choices of a part; a number counts for the strength only, so that a 1 is never taken for the left key."""
    value, kind = part.value, str(part.type).lower()
    if kind in ("rating", "number"):
        number = value.rating if kind == "rating" else value.number
        return number if part.from_name == _STRENGTH or number is None else f"{kind} {number}"
    return value.choices if kind == "choices" else value.selected if kind == "pairwise" else None


def _true(flag: Any) -> bool:
    return str(flag).strip().lower() in ("true", "1", "1.0")


def _content(part: StudioPart) -> Any:
    value = part.value
    known = next((v for v in (value.choices, value.selected, value.rating, value.number) if v is not None), None)
    return known if known is not None else (value.model_extra or {}).get(str(part.type).lower())
