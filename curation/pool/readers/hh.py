"""HH rows: two transcripts without a prompt, split at the last turn that both share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curation.pool.files.lines import Row
from curation.pool.readers.base import About, Reader
from curation.pool.readers.common import Collected
from curation.pool.readers.preference import TURN, read_preference


class Transcripts(Reader):
    """`chosen` and `rejected` with turns of an assistant. A file of them may begin with an odd row without."""

    name, rank, turn, says = "hh", 30, 40, "chosen and rejected transcripts"
    instead_of = "trl"

    def fits(self, data: dict[str, Any]) -> bool:
        lowered = {name.lower(): value for name, value in data.items()}
        texts = [lowered.get(side) for side in ("chosen", "rejected")]
        return "prompt" not in lowered and all(isinstance(text, str) and TURN in text for text in texts)

    def read(self, rows: Iterator[Row], collected: Collected, about: About) -> None:
        read_preference(rows, collected, transcripts=True, columns=about.columns)


PLUG = Transcripts()
