"""Whether a receiving tool takes the texts as they are: told before a batch leaves, not when its import fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from curation.batch.presentation import Presented
from curation.errors import ExportError
from curation.exchange.tools.base import TOOLS, Tool

NUL = "\0"


def check_fit(rows: Sequence[Presented], tool: Tool) -> tuple[str, ...]:
    """Notes on texts that the tool may not take whole. Raises ExportError for those that it refuses."""
    holding = list(dict.fromkeys(row.pair_id for row in rows if any(NUL in text for text in _texts(row))))
    if holding and tool.refuses_nul:
        named = ", ".join(holding[:3]) + (" and others" if len(holding) > 3 else "")
        carrying = " or ".join(sorted(each.name for each in TOOLS if not each.refuses_nul))
        raise ExportError(
            f"{len(holding):,} pairs hold the character NUL (U+0000), which {tool.refuses_nul} refuses ({named}); "
            f"reject them or repair the pool, or export as {carrying}, which carry it."
        )
    notes = []
    if holding:
        notes.append(
            f"{len(holding):,} pairs hold the character NUL (U+0000), first {holding[0]}: databases such as "
            "PostgreSQL, and tools that keep texts in one, refuse it"
        )
    return (*notes, *tool.notes(rows))


def _texts(row: Presented) -> Iterator[str]:
    yield from (row.left, row.right)
    yield from _within(row.prompt)


def _within(value: Any) -> Iterator[str]:
    """Every text inside messages, keys of further fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _within(key)
            yield from _within(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _within(part)
