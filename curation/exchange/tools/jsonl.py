"""JSON Lines: a table, one object a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from curation.batch.presentation import ExportHeader, Presented
from curation.exchange.tools.base import Content
from curation.exchange.tools.tables import Table, all_blank, table_row


class JsonLines(Table):
    """The columns of tables as the keys of objects."""

    name, rank, title, suffix = "jsonl", 50, "JSON Lines", "jsonl"
    takes, only = "lines", True

    def write(self, path: Path, rows: Sequence[Presented], header: ExportHeader) -> None:
        with path.open("w", encoding="utf-8", newline="\n") as handle:
            handle.writelines(json.dumps(table_row(row, header), ensure_ascii=False) + "\n" for row in rows)

    def unanswered(self, found: Content) -> bool:
        return found.arrangement == "lines" and all_blank(found.items)


PLUG = JsonLines()
