"""What two responses have in common and where they part, as plain text."""

from __future__ import annotations

import difflib
import re

PIECE = re.compile(r"[^.!?\n]+[.!?]*\s*|\n")
COMPARED = 20_000  # characters of each response that are compared; a page must answer at once
WORDS = 800  # words of each that the similarity is of


def sentence_diff(left: str, right: str) -> str:
    """Sentences of both responses in order: `-` only on the left, `+` only on the right, two blanks in both.

    Of longer texts the first COMPARED characters are compared, and the last line says so.
    """
    a, b = _sentences(left[:COMPARED]), _sentences(right[:COMPARED])
    lines: list[str] = []
    for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(a=a, b=b, autojunk=False).get_opcodes():
        if kind == "equal":
            lines += [f"  {sentence}" for sentence in a[i1:i2]]
        else:
            lines += [f"- {sentence}" for sentence in a[i1:i2]]
            lines += [f"+ {sentence}" for sentence in b[j1:j2]]
    if max(len(left), len(right)) > COMPARED:
        lines.append(f"(only the first {COMPARED:,} characters of each are compared)")
    return "\n".join(lines)


def similarity(left: str, right: str) -> float:
    """Share of the first WORDS words that the two responses have in common, in order (0 to 1)."""
    a, b = left[: 20 * WORDS].split()[:WORDS], right[: 20 * WORDS].split()[:WORDS]
    return difflib.SequenceMatcher(a=a, b=b, autojunk=False).ratio()


def _sentences(text: str) -> list[str]:
    return [piece.strip() for piece in PIECE.findall(text) if piece.strip()]
