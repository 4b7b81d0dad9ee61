"""CSV: a table with the columns to fill in last, its texts safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.batch.presentation import ExportHeader, Presented
from curation.exchange.tools.base import Content
from curation.exchange.tools.tables import Table, all_blank, columns, escape_cell, of_export, table_row
from curation.pool.messages import prompt_text

TO_FILL = ("preference", "annotator")  # the last columns, which people fill in by hand
CELL_MOST = 32_767  # characters of a cell of Excel, which cuts or spreads what is longer


class Csv(Table):
    """UTF-8, commas, CRLF line ends (so that lone carriage returns inside a text are quoted); texts escaped."""

    name, rank, title, suffix = "csv", 30, "CSV", "csv"
    refuses_nul = "most readers of CSV"  # they end a text there, or refuse it
    takes, only = "table", True

    def notes(self, rows: Sequence[Presented]) -> tuple[str, ...]:
        long = {row.pair_id for row in rows if any(len(escape_cell(text)) > CELL_MOST for text in _texts(row))}
        if not long:
            return ()
        return (
            f"{len(long):,} pairs hold texts longer than the {CELL_MOST:,} characters of a cell in Excel: do not "
            "save this file there",
        )

    def write(self, path: Path, rows: Sequence[Presented], header: ExportHeader) -> None:
        with path.open("w", encoding="utf-8", newline="") as handle:
            names = [*(name for name in columns(header) if name not in TO_FILL), *TO_FILL]
            writer = csv.DictWriter(handle, names, restval="", lineterminator="\r\n")
            writer.writeheader()
            for row in rows:
                writer.writerow({name: _cell(value) for name, value in table_row(row, header).items()})

    def unanswered(self, found: Content) -> bool:
        if found.arrangement != "table":
            return False
        with found.path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            return of_export(reader.fieldnames or ()) and all_blank(list(reader))


def _texts(row: Presented) -> tuple[str, ...]:
    return prompt_text(row.prompt), row.left, row.right


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape_cell(value) if isinstance(value, str) else str(value)


PLUG = Csv()
