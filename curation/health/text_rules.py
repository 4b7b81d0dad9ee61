"""Signs of a broken answer in its text alone: cut off, looping, refusing. Careful rules, English where words count."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

SHORT_LINE = 8  # words under which a last line says too little to judge
JUDGED = 400  # characters of a last line that tell prose from tables and code
LONG_WORDS = 40  # words from which a loop can be told from emphasis
LOOPED = 0.6  # share of word 4-grams that repeat an earlier one
REFUSAL_SPAN = 250  # characters of the beginning in which a refusal is looked for
REFUSAL_LONGEST = 700  # characters; "as an AI I cannot ..., but" before a long answer is a disclaimer

_LIST_ITEM = re.compile(r"^\s*([-*•+>#|]|\d+[.)]|[a-zA-Z][.)]\s|//|\$|```)")
_NO_PROSE = re.compile(
    r"[\u0e00-\u0e7f\u3040-\u9fff\uac00-\ud7af]|https?://\S*$|\S+@\S+$|#\w+\W*$|[-–—]\s?[A-Z][\w.'-]*(\s+[A-Z][\w.'-]*)*$"
)
_OPENING = re.compile(r"^```\w+$")
_COMPLETE = ")]}>;|\"'`.!?"  # a forgotten fence after finished code is not a cut
_SENTENCE = re.compile(r"[.!?][\"'”’)\]]*\s")
# words that no English sentence ends on, or next to none
_OPEN_WORDS = frozenset(
    """a an the of to and or but nor with for from into onto upon by at as if than because although while whereas
    unless until that which whose who whom this these those my your our their its his is are was were be been being am
    has have had will would shall should could may might must can't don't doesn't isn't however therefore moreover
    furthermore additionally i we they between among also""".split()
)
# sentences that do end on one of them: "I can help you with that", "Shall I proceed with this"
_CLOSED = re.compile(
    r"\b(with|on|of|to|for|in|at|by|about|like|from|than|after|before|do|did|know|want|mean)\s+(this|that|these|those)$"
    r"|\b(help|assist)\s+\w+\s+with$",
    re.IGNORECASE,
)
_REFUSALS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"^\W*(unfortunately,?\s+|i'?m\s+|i\s+am\s+|we'?re\s+)?((very|so|really|truly)\s+)?(sorry|apologi[sz]e|afraid)\b.{0,80}?"
        r"\b(can'?t|cannot|can\s+not|unable|not\s+able|won'?t|not\s+(?:going|willing|comfortable))\b",
        r"^\W*as\s+an?\s+(ai|artificial|large\s+language|language)\b.{0,120}?"
        r"\b(can'?t|cannot|can\s+not|unable|not\s+able|(do\s+not|don'?t)\s+have\s+(the\s+)?(ability|capability|access))\b",
        r"^\W*(unfortunately,?\s+)?i\s*(can'?t|cannot|can\s+not|won'?t|will\s+not|am\s+(unable|not\s+able)\s+to|'m\s+(unable|not\s+able)"
        r"\s+to)\s+(help|assist|provide|fulfil|answer|comply|create|write|generate|engage|support|do|discuss|share|give|offer)",
    )
)
_LENGTH_STOPS = {"length", "max_tokens", "max_length", "token_limit"}


def stopped_by_length(meta: Mapping[str, Any]) -> bool:
    """Whether the generator itself recorded that it ran out of tokens."""
    return any(
        str(meta.get(key, "")).strip().lower() in _LENGTH_STOPS
        for key in ("finish_reason", "stop_reason", "finishReason", "stop")
    )


def ends_openly(text: str) -> bool:
    """Whether a text of prose surely stops inside a sentence or an open code block."""
    if text.rstrip()[-1:] in ".!?":  # nearly all texts, and the empty one
        return False
    last = _last_line(text)
    if last is None:
        return _open_code(text)
    if last[-1] in ",;([{–—":
        return True
    return last.split()[-1].lower().strip("\"'“‘*_") in _OPEN_WORDS and not _CLOSED.search(last)


def ends_without_stop(text: str) -> bool:
    """Whether a text that writes full sentences ends without any sign: cut off, or only careless."""
    if not text.rstrip()[-1:].isalpha():
        return False
    return _last_line(text) is not None and bool(_SENTENCE.search(text))


def _open_code(text: str) -> bool:
    if text.count("```") % 2 == 0 or text.rstrip()[-1] in _COMPLETE:
        return False
    fences = [line.strip() for line in text.splitlines() if line.strip().startswith("```")]
    return len(fences) % 2 == 1 and bool(_OPENING.match(fences[-1]))  # the last fence names its language


def _last_line(text: str) -> str | None:
    """The last line where it is prose that can be judged, else None."""
    body = text.rstrip()
    if not body or "```" in body.splitlines()[-1] or body.count("```") % 2:
        return None
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    last = lines[-1]
    if len(last.split()) < SHORT_LINE or _LIST_ITEM.match(last) or _NO_PROSE.search(last):
        return None
    verse = lines[-5:-1]
    if len(verse) >= 3 and all(len(line.split()) <= 12 for line in verse) and len(last.split()) <= 12:
        return None  # a poem or a song
    end = last[-JUDGED:]
    return last if sum(c.isalpha() or c.isspace() for c in end) >= 0.75 * len(end) else None


def refuses(text: str) -> bool:
    """Whether an answer begins as a refusal does, in English."""
    if len(text) > REFUSAL_LONGEST:
        return False
    start = text[:REFUSAL_SPAN].replace("’", "'")
    return any(pattern.search(start) for pattern in _REFUSALS)


def loops(text: str) -> bool:
    """Whether a text repeats itself like a generation that has lost its way."""
    words = text.lower().split()
    few = (1 - LOOPED) * (len(words) - 3) + 3  # as many different words at most, or too few 4-grams repeat
    if len(words) >= LONG_WORDS and len(set(words)) <= few:
        grams = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
        if 1 - len(set(grams)) / len(grams) >= LOOPED:
            return True
    lines = [line.strip() for line in text.splitlines() if len(line) >= 12]
    run = 1
    for before, line in pairwise(lines):
        run = run + 1 if line == before else 1
        if run >= 5 and sum(c.isalpha() for c in line) >= 12:
            return True
    return False
