"""What an annotator may answer: left, right or tie; or, where asked for, how much better, and that both are bad.

One vocabulary for every format. A strength is a size, never a sign: which response it speaks for is decoded by the
side's opaque id, so that swapping left and right mirrors the answer by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from curation.pool.labels import MUCH, SLIGHTLY

Answers = Literal["binary", "graded"]
ANSWERS: tuple[str, ...] = get_args(Answers)
Choice = Literal["left", "right", "tie", "skip"]
# What goes into files, in the order of the keys 1 to 6, and what annotators read ({left}, {right}: the sides' names).
GRADED: dict[str, str] = {
    "left_much": "{left} is much better",
    "left_slightly": "{left} is slightly better",
    "tie": "Tie",
    "right_slightly": "{right} is slightly better",
    "right_much": "{right} is much better",
    "both_bad": "Both are bad",
}
BOTH_BAD_MEANS = "neither response is acceptable; it counts as a tie for training and is kept and counted on its own"
MOST = 3  # of a numeric strength: 1 slightly, 2 and 3 much (scales of three steps call 2 "better")

_SIDES: dict[str, Choice] = {
    "left": "left", "a": "left", "response a": "left", "right": "right", "b": "right", "response b": "right",
}  # fmt: skip
_DIGITS: dict[str, Choice] = {"1": "left", "2": "right", "3": "tie"}  # the keys of a binary interface
_TIES = ("tie", "equal", "same", "both")
_SKIPS = ("skip", "skipped")
_STEPS = {"much": MUCH, "slightly": SLIGHTLY, "slight": SLIGHTLY}
_BOTH_BAD = ("both bad", "both are bad")


class NotOnScaleError(Exception):
    """A word or number that is no answer at all: the file is not what the tool was asked to write."""


class UnclearError(Exception):
    """Parts of an answer that do not go together, or a part that is missing: the annotator's, not the file's."""


@dataclass(frozen=True)
class Said:
    """An answer as understood. strength: 0 tie, 1 slightly, 2 much; None: not said."""

    choice: Choice
    strength: int | None = None
    both_bad: bool = False


def understand(preference: Any, strength: Any = None, *, graded: bool = False, sign: int = 0) -> Said:
    """One answer from its cells. graded: whether six answers were possible, so that a bare 1 could be a key of those.

    strength: a step (`much`, `slightly`, `tie`, `both_bad`), or a whole number: its size is the step; where the file's
    numbers have signs, sign is the sign that goes with left (`left_sign`). Raises NotOnScaleError and UnclearError.
    """
    side = _preference(preference, graded)
    step = _strength(strength)
    if step is None or (side is not None and side.choice == "skip"):
        return side or Said("skip")
    size, both_bad = abs(step[0]), step[1]
    size = min(size, MUCH)
    if side is None:
        if size:
            raise UnclearError(f"strength {strength!r:.80} without a preference does not say which side it is for")
        return Said("tie", 0, both_bad)
    if (side.choice == "tie") != (size == 0):
        raise UnclearError(f"preference {preference!r:.80} and strength {strength!r:.80} contradict each other")
    if side.strength is not None and (side.strength != size or (both_bad and not side.both_bad)):
        raise UnclearError(f"preference {preference!r:.80} and strength {strength!r:.80} contradict each other")
    if sign and step[0] and (step[0] * sign > 0) != (side.choice == "left"):
        raise UnclearError(
            f"preference {preference!r:.80} and the sign of strength {strength!r:.80} contradict each other"
        )
    return Said(side.choice, size, both_bad or side.both_bad)


def left_sign(cells: Iterable[tuple[Any, Any]]) -> int:
    """Which sign of a numeric strength goes with left in a file: 1, -1, or 0 where no strength is negative.

    cells: preference and strength of every answer. Raises NotOnScaleError where the signs go with both sides, so that
    they cannot be read. Cells that cannot be understood say nothing here.
    """
    with_left: list[bool] = []
    signed = False
    for preference, strength in cells:
        try:
            side, step = _preference(preference, False), _strength(strength)
        except NotOnScaleError:
            continue
        if step is None or not step[0] or side is None or side.choice not in ("left", "right"):
            continue
        signed |= step[0] < 0
        with_left.append((step[0] > 0) == (side.choice == "left"))
    if not signed:
        return 0
    if len(set(with_left)) > 1:
        raise NotOnScaleError(
            f"a positive strength goes with left in {sum(with_left):,} answers and with right in "
            f"{len(with_left) - sum(with_left):,}; give strengths without sign beside the preference"
        )
    return 1 if with_left[0] else -1


def _words(cell: Any) -> str:
    """Lower case, one space between words, `left is much better` as `left much`."""
    text = re.sub(r"[\s_\-]+", " ", str(cell if cell is not None else "").strip().lower()).strip()
    return re.sub(r" is\b", "", text.removesuffix(" better"))


def _preference(cell: Any, graded: bool) -> Said | None:
    """The side a cell names, with its strength where it has one; None for an empty cell."""
    words = _words(cell)
    if not words:
        return None
    if words in _SIDES:
        return Said(_SIDES[words])
    if words in _TIES:
        return Said("tie")
    if words in _SKIPS:
        return Said("skip")
    if words in _BOTH_BAD:
        return Said("tie", 0, True)
    side, _, step = words.rpartition(" ")
    if side in _SIDES and step in _STEPS:
        return Said(_SIDES[side], _STEPS[step])
    if str(cell).strip() in _DIGITS and not graded:
        return Said(_DIGITS[words])
    raise NotOnScaleError(f"preference {cell!r:.80} is none of left, right, tie and skip, nor of {', '.join(GRADED)}")


def _strength(cell: Any) -> tuple[int, bool] | None:
    """Signed size and `both bad` of a strength cell; None for an empty one."""
    words = _words(cell)
    if not words:
        return None
    if words in _STEPS:
        return _STEPS[words], False
    if words in _TIES:
        return 0, False
    if words in _BOTH_BAD:
        return 0, True
    try:
        number = float(str(cell)[:400].strip())
    except ValueError:
        number = float("nan")
    if not number.is_integer() or abs(number) > MOST:
        raise NotOnScaleError(
            f"strength {cell!r:.80} is none of much, slightly, tie and both_bad, nor a whole number from "
            f"-{MOST} to {MOST} (1 slightly, 2 and 3 much)"
        )
    return int(number), False
