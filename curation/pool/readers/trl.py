"""TRL preference rows: standard and conversational, with the prompt explicit or implicit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curation.pool.files.lines import Row
from curation.pool.readers.base import About, Reader
from curation.pool.readers.common import Collected
from curation.pool.readers.preference import read_preference


class Trl(Reader):
    """`chosen` and `rejected` (or `chosen_response`, `rejected_response`) in any case, maybe with a prompt."""

    name, rank, turn, says = "trl", 20, 50, "chosen, rejected, maybe prompt"

    def fits(self, data: dict[str, Any]) -> bool:
        names = {name.lower() for name in data}
        return {"chosen", "rejected"} <= names or {"chosen_response", "rejected_response"} <= names

    def read(self, rows: Iterator[Row], collected: Collected, about: About) -> None:
        read_preference(rows, collected, transcripts=False, columns=about.columns)


PLUG = Trl()
