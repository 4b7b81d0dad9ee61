"""What two responses have in common, word by word, as pieces of the texts themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby

from rapidfuzz.distance import Indel, LCSseq

WORD = re.compile(r"\w+|[^\w\s]")
COMPARED = 20_000  # characters of each response that are compared; a page must answer at once
WORDS = 800  # words of each that the similarity is of
RUN = 3  # words in a row that two texts must share inside them; single ones ("the", a comma) say nothing


@dataclass(frozen=True)
class Piece:
    """A stretch of a text. shared: whether the other text has it too, in this order."""

    text: str
    shared: bool


def word_difference(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces, shared ones and those that only one of them has; joined they are the texts.

    Of longer texts the first COMPARED characters are compared; the rest is a last piece of its own, not shared.
    """
    found = [[match.span() for match in WORD.finditer(text[:COMPARED])] for text in (left, right)]
    words = [[text[a:b] for a, b in spans] for text, spans in zip((left, right), found, strict=True)]
    sides = [[False] * len(spans) for spans in found]
    for block in LCSseq.editops(*words).as_matching_blocks():
        i, j, size = block.a, block.b, block.size
        at_an_edge = (i == 0 and j == 0) or (i + size == len(words[0]) and j + size == len(words[1]))
        if size >= RUN or at_an_edge:
            sides[0][i : i + size] = sides[1][j : j + size] = [True] * size
    return _pieces(left, found[0], sides[0]), _pieces(right, found[1], sides[1])


def similarity(left: str, right: str) -> float:
    """Share of the first WORDS words that the two responses have in common, in order (0 to 1)."""
    a, b = left[: 20 * WORDS].split()[:WORDS], right[: 20 * WORDS].split()[:WORDS]
    return float(Indel.normalized_similarity(a, b))


def _pieces(text: str, spans: list[tuple[int, int]], shared: list[bool]) -> list[Piece]:
    """The text cut where it changes between shared and not; white space goes with the word before it."""
    pieces, start = [], 0
    runs = [(known, len(list(group))) for known, group in groupby(shared)]
    place = 0
    for known, size in runs:
        place += size
        end = spans[place][0] if place < len(spans) else min(len(text), COMPARED)
        pieces.append(Piece(text[start:end], known))
        start = end
    if start < len(text):
        pieces.append(Piece(text[start:], not spans))  # beyond what is compared; a text without words is no difference
    return pieces
