"""What two responses have in common and where they part, as plain text."""

from __future__ import annotations

import difflib
import re

PIECE = re.compile(r"[^.!?\n]+[.!?]*\s*|\n")


def sentence_diff(left: str, right: str) -> str:
    """Sentences of both responses in order: `-` only on the left, `+` only on the right, two blanks in both."""
    a = [piece.strip() for piece in PIECE.findall(left) if piece.strip()]
    b = [piece.strip() for piece in PIECE.findall(right) if piece.strip()]
    return "\n".join(line for line in difflib.ndiff(a, b) if not line.startswith("?"))


def similarity(left: str, right: str) -> float:
    """Share of words that the two responses have in common, in order (0 to 1)."""
    return difflib.SequenceMatcher(a=left.split(), b=right.split(), autojunk=False).ratio()
