"""Parquet: a table with the columns' types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curation.batch.presentation import ExportHeader, Presented
from curation.exchange.tools.base import Content
from curation.exchange.tools.tables import Table, all_blank, columns, table_row

if TYPE_CHECKING:
    import pyarrow as pa


class Parquet(Table):
    """One file of one schema. Coming back it tells itself by its first bytes."""

    name, rank, title, suffix = "parquet", 40, "Parquet", "parquet"
    takes, by_name = "binary", False

    def write(self, path: Path, rows: Sequence[Presented], header: ExportHeader) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        made = pa.Table.from_pylist([table_row(row, header) for row in rows], schema=schema(columns(header)))
        pq.write_table(made, path)

    def unanswered(self, found: Content) -> bool:
        if found.arrangement != "binary":
            return False
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return all_blank(pq.read_table(found.path).to_pylist())
        except pa.ArrowException:
            return False


def schema(names: Mapping[str, str]) -> pa.Schema:
    """Columns with their types as Parquet has them."""
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in names.items()])


PLUG = Parquet()
