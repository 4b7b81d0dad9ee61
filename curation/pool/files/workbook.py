"""Rows of an Excel workbook (.xlsx): its first sheet with anything in it, as a CSV with a header would give them."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curation.errors import PoolError
from curation.system.columns import expansion_limit


@contextmanager
def _sheets(path: Path) -> Iterator[list[Any]]:
    """The worksheets of a workbook, read-only. Raises PoolError where it cannot be read, or is a bomb."""
    import openpyxl  # type: ignore[import-untyped]

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        most = expansion_limit(path)
        if size > most:
            raise PoolError(f"{path} expands to more than {most >> 20:,} MiB, far more than its size lets expect.")
        with path.open("rb") as handle:  # by its content: openpyxl goes by the name otherwise
            book = openpyxl.load_workbook(handle, read_only=True, data_only=True)
            yield list(book.worksheets)
            book.close()
    except PoolError:
        raise
    except Exception as error:  # openpyxl raises whatever its XML and zip readers raise
        raise PoolError(
            f"{path} cannot be read as an Excel workbook ({type(error).__name__}); save it again, or as CSV (UTF-8)."
        ) from error


def workbook_notes(path: Path) -> tuple[str, ...]:
    """What is left unread of a workbook. Raises PoolError."""
    with _sheets(path) as sheets:
        filled = [sheet.title for sheet in sheets if _first(sheet) is not None]
    if len(filled) < 2:
        return ()
    return (f"read the sheet {filled[0]!r}; not read: {', '.join(map(repr, filled[1:]))}",)


def workbook_cells(path: Path) -> Iterator[list[str]]:
    """The header, then every row that is not blank, as texts. Raises PoolError."""
    with _sheets(path) as sheets:
        sheet = next((sheet for sheet in sheets if _first(sheet) is not None), None)
        for row in () if sheet is None else sheet.iter_rows(values_only=True):
            cells = [_text(value) for value in row]
            while cells and not cells[-1]:
                cells.pop()
            if cells:
                yield cells


def _first(sheet: Any) -> Any:
    rows = sheet.iter_rows(values_only=True) if hasattr(sheet, "iter_rows") else ()
    return next((row for row in rows if any(value is not None for value in row)), None)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
