"""What a Parquet footer claims is read as pyarrow reads it, and no damage to it ends the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import PoolError
from curation.pool.readers.read import read_pool
from curation.system.parquet_footer import declared_values

DAMAGED = (
    Path(__file__).parents[1] / "data" / "damaged" / "histogram.parquet"
)  # one byte of a size statistic was changed


def written(path: Path, **how: object) -> Path:
    rows = [{"prompt": f"p{x}", "responses": [{"text": "a" * x, "n": [x] * (x % 4)}] * 3, "x": 0.5} for x in range(50)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=17, **how)
    return path


@pytest.mark.parametrize("how", [{}, {"compression": "zstd"}, {"use_dictionary": False}, {"version": "1.0"}])
def test_the_values_counted_are_those_that_pyarrow_counts(tmp_path: Path, how: dict[str, object]) -> None:
    path = written(tmp_path / "a.parquet", **how)
    found = pq.ParquetFile(path).metadata
    told = [found.row_group(g).column(c).num_values for g in range(3) for c in range(found.num_columns)]
    assert declared_values(path) == sum(told) > 200


def test_a_damaged_statistic_is_a_sentence_where_arrow_ends_the_process(tmp_path: Path) -> None:
    code = f"import pyarrow.parquet as p; m = p.ParquetFile({str(DAMAGED)!r}).metadata; [m.row_group(0).column(c) for c in range(13)]"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=300)
    assert ended.returncode < 0, "pyarrow does no longer end the process: the reader of footers can go"
    with pytest.raises(PoolError, match=r"histogram\.parquet"):
        read_pool(DAMAGED)


def test_any_changed_byte_of_a_footer_is_read_or_told(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet")
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    rng, told = Random(0), 0
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(data) - 8 - length, len(data))] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            assert declared_values(path) >= 0
        except pa.ArrowInvalid:
            told += 1
    assert told > 20
