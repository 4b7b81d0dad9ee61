"""Labels as annotation tools give them back: one reader per format, each to the same plain rows, nothing judged yet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from curation.errors import ImportLabelsError
from curation.exchange_formats.tabular import unescape_cell

LabelFormat = Literal["auto", "label-studio", "argilla", "csv", "jsonl"]
LABEL_FORMATS: tuple[str, ...] = get_args(LabelFormat)
Choice = Literal["left", "right", "tie", "skip"]
MAX_BYTES = 2 << 30  # a labels file larger than this is not one
_WORDS: dict[str, Choice] = {
    "left": "left", "a": "left", "response_a": "left", "1": "left",
    "right": "right", "b": "right", "response_b": "right", "2": "right",
    "tie": "tie", "equal": "tie", "same": "tie", "both": "tie", "3": "tie",
    "skip": "skip", "skipped": "skip", "": "skip",
}  # fmt: skip


@dataclass(frozen=True)
class RawLabel:
    """One answer of one annotator to one presented pair. place: where it stands in the file, for messages.

    batch_id, copy: None where the file does not say. seconds: time spent. cancelled: the tool's own word for it.
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


def read_labels(path: str | Path, kind: LabelFormat | str = "auto") -> tuple[list[RawLabel], str]:
    """The answers in a file and its format. Raises ImportLabelsError naming the place that cannot be read."""
    source = Path(path)
    if kind not in LABEL_FORMATS:
        raise ImportLabelsError(f"--from {kind!r} is unknown; use {', '.join(LABEL_FORMATS)}.")
    try:
        if source.stat().st_size > MAX_BYTES:
            raise ImportLabelsError(f"{source} is larger than {MAX_BYTES >> 30} GB; split it, or give the right file.")
        text = source.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ImportLabelsError(f"{source} cannot be read ({error.strerror}); give what the tool exported.") from None
    except UnicodeDecodeError as error:
        raise ImportLabelsError(f"{source} is not UTF-8 text ({error}); export it again as JSON or CSV.") from None
    if kind == "auto":
        kind = _guess(source, text)
    if kind == "csv":
        return list(_table(csv.DictReader(text.splitlines(keepends=True)), "line", source, first=2)), kind
    if kind == "jsonl":
        return list(_table(_lines(text, source), "line", source, first=1)), kind
    items = _json_list(text, source)
    read = _label_studio if kind == "label-studio" else _argilla
    return [row for n, item in enumerate(items, start=1) for row in read(item, f"{source.name} item {n}")], kind


def _guess(source: Path, text: str) -> str:
    start = text.lstrip()[:1]
    if source.suffix.lower() in (".csv", ".tsv") or start not in ("[", "{"):
        return "csv"
    if start == "{":
        return "jsonl"
    first: Any = next(iter(_json_list(text, source)), {})
    if isinstance(first, dict) and ("fields" in first or "responses" in first):
        return "argilla"
    return "label-studio"


def _json_list(text: str, source: Path) -> list[Any]:
    try:
        items = json.loads(text)
    except ValueError as error:
        raise ImportLabelsError(f"{source} is not JSON ({error}); export it again.") from None
    if not isinstance(items, list):
        raise ImportLabelsError(f"{source} holds no list of tasks or records; export all of them as JSON.")
    return items


def _lines(text: str, source: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ImportLabelsError(f"{source} line {number} is not JSON ({error}); export it again.") from None
        if not isinstance(row, dict):
            raise ImportLabelsError(f"{source} line {number} is not an object; give one object a line.")
        yield row


def _table(rows: Any, word: str, source: Path, *, first: int) -> Iterator[RawLabel]:
    """Rows of CSV or JSON Lines: pair_id, left_id, right_id and preference; annotator, seconds, copy, batch_id."""
    try:
        for number, row in enumerate(rows, start=first):
            place = f"{source.name} {word} {number}"
            clean = {
                str(key).strip().lower(): unescape_cell(value) if isinstance(value, str) else value
                for key, value in row.items()
                if key is not None
            }
            missing = [name for name in ("pair_id", "left_id", "right_id") if not str(clean.get(name) or "").strip()]
            if missing or "preference" not in clean:
                raise ImportLabelsError(
                    f"{place} lacks {', '.join(missing) or 'preference'}; a row needs pair_id, left_id, right_id and "
                    "preference (left, right, tie or skip)."
                )
            yield _raw(
                clean, place, clean["preference"], annotator=clean.get("annotator"), seconds=clean.get("seconds")
            )
    except csv.Error as error:
        raise ImportLabelsError(f"{source} is not a readable CSV ({error}); export it again.") from None


def _label_studio(item: Any, place: str) -> Iterator[RawLabel]:
    """A task with its annotations (JSON), or one flat row of a task with its answer (JSON_MIN)."""
    if not isinstance(item, dict):
        raise ImportLabelsError(f"{place} is not a task; export the project as JSON.")
    if "annotations" not in item and "data" not in item:
        yield _raw(item, place, item.get("preference"), annotator=item.get("annotator"), seconds=item.get("lead_time"))
        return
    data = item.get("data") or {}
    for annotation in item.get("annotations") or []:
        who = annotation.get("completed_by")
        who = who.get("email") or who.get("id") if isinstance(who, dict) else who
        yield _raw(
            data,
            place,
            _studio_choice(annotation.get("result") or []),
            annotator=who,
            seconds=annotation.get("lead_time"),
            cancelled=bool(annotation.get("was_cancelled")),
        )


def _studio_choice(result: list[Any]) -> Any:
    for part in result:
        value = part.get("value") or {}
        if part.get("type") == "choices" and value.get("choices"):
            return value["choices"][0]
        if part.get("type") == "pairwise" and value.get("selected"):
            return value["selected"]
    return ""


def _argilla(item: Any, place: str) -> Iterator[RawLabel]:
    """A record as the server's API gives it (responses: a list, each with its status) or as the SDK writes it."""
    if not isinstance(item, dict):
        raise ImportLabelsError(f"{place} is not a record; export the dataset's records as JSON.")
    metadata, responses = item.get("metadata") or {}, item.get("responses") or []
    if isinstance(responses, dict):  # the SDK: question -> [{value, user_id}], drafts without a value
        for answer in responses.get("preference") or []:
            if answer.get("value") is not None and answer.get("status") in (None, "submitted"):
                yield _raw(metadata, place, answer["value"], annotator=answer.get("user_id"))
        return
    for response in responses:
        status = response.get("status")
        if status not in ("submitted", "discarded"):
            continue  # a draft is no answer
        values = (response.get("values") or {}).get("preference") or {}
        yield _raw(
            metadata, place, values.get("value"), annotator=response.get("user_id"), cancelled=status == "discarded"
        )


def _raw(
    fields: dict[str, Any], place: str, choice: Any, *, annotator: Any, seconds: Any = None, cancelled: bool = False
) -> RawLabel:
    ids = {name: str(fields.get(name) or "").strip() for name in ("pair_id", "left_id", "right_id")}
    missing = [name for name, value in ids.items() if not value]
    if missing:
        raise ImportLabelsError(
            f"{place} lacks {', '.join(missing)}; the export must keep every field that went out, so that answers can "
            "be told apart."
        )
    word = str(choice if choice is not None else "").strip().lower()
    if word not in _WORDS and not cancelled:
        raise ImportLabelsError(f"{place}: preference {choice!r} is none of left, right, tie and skip; correct it.")
    copy = fields.get("copy")
    return RawLabel(
        place=place,
        pair_id=ids["pair_id"],
        batch_id=str(fields["batch_id"]).strip() if fields.get("batch_id") else None,
        left_id=ids["left_id"],
        right_id=ids["right_id"],
        choice="skip" if cancelled else _WORDS[word],
        annotator=str(annotator).strip() if annotator not in (None, "") else "unnamed",
        seconds=_number(seconds),
        copy=int(str(copy)) if str(copy).strip().isdigit() else None,
        cancelled=cancelled,
    )


def _number(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < 1e9 else None
