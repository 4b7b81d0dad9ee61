"""Markdown of strangers made inert: laid out on screen, but nothing in it is loaded, linked or run."""

from __future__ import annotations

import re

JOINER = "\u2060"  # no width, no line break: the reader does not see it, the Markdown parser does
_OPENERS = re.compile(
    r"!(?=\[)|\](?=[(:\[])|(?<=[a-zA-Z])(?=://)|\bwww(?=\.)|(?<=\w)(?=@\w)|:(?=[\w+-]+[:\[{]|material/)"
)
_LATEX = ((re.compile(r"\\\[(.+?)\\\]", re.DOTALL), "$$"), (re.compile(r"\\\((.+?)\\\)", re.DOTALL), "$"))
_MONEY = re.compile(r"(?<![\\$])\$(?=\s?\d[\d,.]*(?:[\s.,;:!?)*/-]|[kKmMbB]\b|$))")

_MARKS = re.compile(
    r"^ {0,3}(?:#{1,6} |```|~~~|[-*+] |\d+[.)] |> |\|.*\|)|\*\*\S|`[^`\n]+`|\$[^$\n]+\$|\\[(\[]", re.MULTILINE
)


def inert_markdown(text: str) -> str:
    """The text for a Markdown renderer: headings, lists, tables, code and formulas are laid out; images, links,
    addresses, directives and emoji codes are read as the characters they are.

    Every place where one of those could begin is broken by an invisible joiner, without regard to what the parser
    would have made of it, so that no trick of nesting brings one back. `\\( \\)` and `\\[ \\]` become dollar signs;
    a dollar sign before an amount is money.
    """
    for pattern, sign in _LATEX:
        text = pattern.sub(lambda found, sign=sign: f"{sign}{found[1].strip()}{sign}", text)  # type: ignore[misc]
    return _OPENERS.sub(lambda found: found[0] + JOINER, _MONEY.sub(r"\\$", text))


def has_markdown(text: str) -> bool:
    """Whether laying a text out would show anything that plain text does not."""
    return bool(_MARKS.search(text))
