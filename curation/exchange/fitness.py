"""Whether a receiving tool takes the texts as they are: told before a batch leaves, not when its import fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from curation.batch.presentation import Presented
from curation.errors import ExportError
from curation.exchange.tabular import escape_cell
from curation.pool.schema import prompt_text

NUL = "\0"
CELL_MOST = 32_767  # characters of a cell of Excel, which cuts or spreads what is longer
# Label Studio and Argilla keep texts in PostgreSQL, which has no U+0000; readers of CSV end a text there or refuse it.
_REFUSES_NUL = {"label-studio": "Label Studio", "argilla": "Argilla", "csv": "most readers of CSV"}


def check_fit(rows: Sequence[Presented], to: str) -> tuple[str, ...]:
    """Notes on texts that the tool of format `to` may not take whole. Raises ExportError for those that it refuses."""
    holding = list(dict.fromkeys(row.pair_id for row in rows if any(NUL in text for text in _texts(row))))
    if holding and to in _REFUSES_NUL:
        named = ", ".join(holding[:3]) + (" and others" if len(holding) > 3 else "")
        raise ExportError(
            f"{len(holding):,} pairs hold the character NUL (U+0000), which {_REFUSES_NUL[to]} refuses ({named}); "
            "reject them or repair the pool, or export as jsonl or parquet, which carry it."
        )
    notes = []
    if holding:
        notes.append(
            f"{len(holding):,} pairs hold the character NUL (U+0000), first {holding[0]}: databases such as "
            "PostgreSQL, and tools that keep texts in one, refuse it"
        )
    if to == "csv":
        long = {row.pair_id for row in rows if any(len(escape_cell(text)) > CELL_MOST for text in _cells(row))}
        if long:
            notes.append(
                f"{len(long):,} pairs hold texts longer than the {CELL_MOST:,} characters of a cell in Excel: do not "
                "save this file there"
            )
    return tuple(notes)


def _cells(row: Presented) -> tuple[str, ...]:
    return prompt_text(row.prompt), row.left, row.right


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
