"""Parquet files that somebody else may have written: what they unpack to is counted before it is unpacked.

A text that stands once in a dictionary can stand for millions of cells, and a run length of a few bytes for as many
numbers: the size of the file says nothing of what reading it takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.system.parquet_footer import declared_values

EXPANSION = 100  # times its size that a file may unpack to; real pools grow 3 to 20 times
EXPANSION_FLOOR = 64 << 20  # bytes that any file may unpack to
_ROWS = 1024
_WIDTH = 4  # bytes of the shortest fixed-width cell once it is read (float16 is counted double)


class ExpansionError(ValueError):
    """A file unpacks to far more than its size lets expect."""


def expansion_limit(path: Path, floor: int = EXPANSION_FLOOR) -> int:
    """Bytes that a packed file may unpack to."""
    return max(floor, EXPANSION * path.stat().st_size)


def check_parquet(path: str | Path, *, floor: int = EXPANSION_FLOOR) -> None:
    """Pass where a Parquet file unpacks to no more than EXPANSION times its size, or `floor` bytes.

    Texts are read as dictionaries, so that repeats take no room. Raises ExpansionError; pa.ArrowException and OSError
    where the file cannot be read, MemoryError where memory is short.
    """
    source = Path(path)
    most = expansion_limit(source, floor)
    with pq.ParquetFile(source) as file:
        texts = []
        for number in range(file.metadata.num_columns):
            column = file.schema.column(number)
            if column.physical_type == "BYTE_ARRAY" and column.logical_type.type in ("STRING", "JSON", "NONE"):
                texts.append(column.path)
    if declared_values(source) * _WIDTH > most:
        raise _too_large(most)
    total = 0
    with pq.ParquetFile(source, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            total += sum(unpacked_bytes(column) for column in batch.columns)
            if total > most:
                raise _too_large(most)


def _too_large(most: int) -> ExpansionError:
    return ExpansionError(f"it unpacks to more than {most >> 20:,} MiB, far more than its size lets expect")


def unpacked_bytes(array: Any) -> int:
    """Bytes of an array with its dictionaries written out."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(array.dictionary) if _is_text(kind.value_type) else None
        if lengths is None:
            return int(array.nbytes)
        taken = pc.sum(pc.take(lengths, array.indices)).as_py() or 0
        return int(taken) + 4 * len(array)
    if pa.types.is_struct(kind):
        return sum(unpacked_bytes(array.field(k)) for k in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return unpacked_bytes(array.flatten()) + 4 * len(array)
    if pa.types.is_map(kind):
        return unpacked_bytes(array.keys) + unpacked_bytes(array.items)
    return int(array.nbytes)


def _is_text(kind: Any) -> bool:
    return any(
        test(kind)
        for test in (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)
    )
