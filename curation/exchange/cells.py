"""An answer as it stands in a file, before it is understood, and the spellings of its parts that mean the same."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from curation.pool.messages import literal

KEPT = ("pair_id", "batch_id", "left_id", "right_id", "copy", "answers")
UNNAMED = "unnamed"
LONGEST_FURTHER = 2_000  # characters of a comment that are kept
_SIDES = ("selected", "choices")
_SIZES = (*_SIDES, "rating", "number")  # of a strength: a number is never a side
_WHOLE = re.compile(r"(\d+)[.,]0+")
_GROUPED = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?")


@dataclass(frozen=True)
class Cell:
    """What an answer belongs to, and the words of its parts as they stand in the file.

    expected: what is blank where nothing was answered, for messages. unclear: why its parts cannot be one answer.
    user: another name of the annotator. at, created: times of the annotation, in seconds since 1970, where told.
    further: what was said beside the answer, by the name of its control or column.
    """

    place: str
    fields: dict[str, Any]
    preference: Any
    strength: Any
    annotator: Any
    seconds: Any = None
    cancelled: bool = False
    expected: str = "the column preference is empty"
    unclear: str | None = None
    user: Any = None
    annotation_id: Any = None
    at: float | None = None
    created: float | None = None
    further: dict[str, str] = field(default_factory=dict)

    @property
    def marked(self) -> bool:
        """Whether the file says that strength was asked for here."""
        return str(self.fields.get("answers") or "").strip().lower() == "graded"

    @property
    def blank(self) -> bool:
        """Whether nothing was answered, not even that the pair was skipped."""
        return not self.cancelled and self.unclear is None and is_blank(self.preference) and is_blank(self.strength)


def is_blank(value: Any) -> bool:
    """Nothing, blank text, or the number that stands for nothing."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def plain_id(value: Any) -> str:
    """An id as text, however a tool spelled it: 4, 4.0, "4" and "4.0" are one. Blank where there is none."""
    if is_blank(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole and text.isascii() else text


def copy_number(value: Any) -> int | None:
    """Which copy of a pair, None where the file does not say. Raises ValueError for what is no number from 1."""
    text = plain_id(value)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise ValueError(f"copy {text!r:.40} is no whole number from 1")
    return int(text)


def seconds_of(value: Any) -> float | None:
    """A time in seconds, also with a decimal comma; None where there is none. Raises ValueError for what is no time."""
    if is_blank(value):
        return None
    text = str(value)[:400].strip()
    if _GROUPED.fullmatch(text):
        raise ValueError("a comma before three digits may be either mark")
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    seconds = float(text)
    if not 0 <= seconds < 1e9:
        raise ValueError("out of range")
    return seconds


def moment(value: Any) -> float | None:
    """A time of a tool (ISO 8601, UTC where it does not say) in seconds since 1970; None where it is none."""
    try:
        at = datetime.fromisoformat(str(value).strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def only_answer(value: Any, *, size: bool = False) -> tuple[Any, str | None]:
    """The one answer in a cell, and why there is none where several are: `[{"selected": "left"}]` holds left.

    Tools write a list of regions, as JSON or as its text. size: of a strength, which may be a number.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = as_value(value)
        except ValueError:
            return value, None
    found: dict[str, Any] = {}
    for answer in _leaves(value, _SIZES if size else _SIDES, 4):
        if not is_blank(answer):
            found.setdefault(str(answer), answer)
    if len(found) > 1:
        return "", f"it holds {len(found)} answers ({', '.join(found)[:80]})"
    return next(iter(found.values()), ""), None


def as_value(text: str) -> Any:
    """The list or object that a text spells, in JSON or as Python writes it. Raises ValueError."""
    value = literal(text)
    if value is None:
        raise ValueError("no list")
    return value


def _leaves(value: Any, keys: tuple[str, ...], depth: int) -> Iterator[Any]:
    if depth and isinstance(value, list):
        for part in value:
            yield from _leaves(part, keys, depth - 1)
    elif depth and isinstance(value, dict) and (name := next((n for n in keys if n in value), None)):
        yield from _leaves(value[name], keys, depth - 1)
    else:
        yield value


def further_text(value: Any) -> str:
    """What was said beside an answer, as text of at most LONGEST_FURTHER characters; blank for nothing."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = "; ".join(value)
    if isinstance(value, dict | list):
        try:
            value = json.dumps(value, ensure_ascii=False) if value else ""
        except (ValueError, RecursionError):
            return ""
    text = "" if is_blank(value) else str(value).strip()[:LONGEST_FURTHER]
    return text if is_text(text) else ""


def is_text(text: str) -> bool:
    """Whether a database takes it: no NUL, no half of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
