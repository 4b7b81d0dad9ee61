"""Answers in Label Studio's exports: tasks with annotations (JSON), target storage (one annotation an object)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from curation.errors import ImportLabelsError
from curation.exchange.cells import Cell, further_text, moment, only_answer
from curation.exchange.shapes import StudioAnnotation, StudioPart, StudioTask, StudioUser, shaped

CONTROL, STRENGTH = "preference", "strength"  # the names of our controls in the labelling interface


def is_studio(item: dict[str, Any]) -> bool:
    """Whether an object is a task or a stored annotation, not one flat row."""
    return "annotations" in item or isinstance(item.get("data"), dict) or ("result" in item and "task" in item)


def studio_cells(item: dict[str, Any], place: str, told: Counter[str]) -> Iterator[Cell]:
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
        expected=f"the control {CONTROL!r} has no answer{others}",
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
    named = any(part.from_name == CONTROL for part in result)
    given: dict[str, list[Any]] = {CONTROL: [], STRENGTH: []}
    further: dict[str, str] = {}
    for part in result:
        if part.from_name in (CONTROL, STRENGTH) or (part.from_name is None and not named):
            given[part.from_name or CONTROL].append(_said(part))
        elif text := further_text(_content(part)):
            name = str(part.from_name)
            further[name] = f"{further[name]}; {text}" if name in further else text
    preference, why = only_answer(given[CONTROL])
    strength, other = only_answer(given[STRENGTH], size=True)
    return preference, strength, further, why or other


def _said(part: StudioPart) -> Any:
    """The choices of a part; a number counts for the strength only, so that a 1 is never taken for the left key."""
    value, kind = part.value, str(part.type).lower()
    if kind in ("rating", "number"):
        number = value.rating if kind == "rating" else value.number
        return number if part.from_name == STRENGTH or number is None else f"{kind} {number}"
    return value.choices if kind == "choices" else value.selected if kind == "pairwise" else None


def _true(flag: Any) -> bool:
    return str(flag).strip().lower() in ("true", "1", "1.0")


def _content(part: StudioPart) -> Any:
    value = part.value
    known = next((v for v in (value.choices, value.selected, value.rating, value.number) if v is not None), None)
    return known if known is not None else (value.model_extra or {}).get(str(part.type).lower())
