"""Tables and texts that are damaged or far larger than they look: each ends in a sentence."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from curation.errors import LONGEST, CurationError, PoolError
from curation.exchange.incoming import read_labels
from curation.pool.files.storage import canonical_table
from curation.pool.readers.common import response_ids
from curation.pool.readers.read import read_pool
from curation.system.columns import check_parquet, unpacked_bytes
from tests.desk.odd import ROOT, ended
from tests.fuzz.world import World


def repeated(rows: int) -> pa.Table:
    """A text of a MiB that stands in every row, and again inside lists."""
    text = "x" * (1 << 20)
    once = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    return pa.table({"prompt": once, "responses": pa.ListArray.from_arrays(list(range(rows + 1)), once)})


def in_room(code: str, *given: str, room: int = 3 << 30) -> str:
    """What a process of little room prints."""
    limits = (
        "import resource\nused = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + {room}, used + {room}))\n"
    )
    imports = (
        "import sys\nfrom curation.errors import CurationError\nfrom curation.pool.readers.read import read_pool\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", imports + limits + code, *given], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


READ = "try:\n    read_pool(sys.argv[1])\nexcept CurationError as error:\n    print(error)\n"


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_text_that_stands_for_gigabytes_is_refused_before_it_takes_memory(tmp_path: Path, kind: str) -> None:
    path, table = tmp_path / f"bomb.{kind}", repeated(4000)
    if kind == "parquet":
        pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=1 << 22)
    else:
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    assert path.stat().st_size < 8 << 20
    told = in_room(READ, str(path))
    assert "unpacks to more than" in told, told


def test_a_run_length_that_stands_for_millions_of_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    values = pa.array(np.zeros(1 << 25, dtype=np.int32))
    pq.write_table(pa.table({"prompt": ["a"], "responses": pa.ListArray.from_arrays([0, 1 << 25], values)}), path)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(PoolError, match="unpacks to more than"):
        read_pool(path)


def test_ordinary_files_are_far_within_the_limit(world: World, tmp_path: Path) -> None:
    table = canonical_table(world.pool)
    pq.write_table(pa.concat_tables([table] * 400), tmp_path / "p.parquet", compression="zstd")
    check_parquet(tmp_path / "p.parquet")
    column = pa.array(["ab", "c", None, "ab"]).dictionary_encode()
    assert unpacked_bytes(column) == 5 + 4 * 4


@pytest.mark.parametrize("form", ["stream", "file"])
def test_an_arrow_file_with_wrong_offsets_is_refused_and_the_process_lives(tmp_path: Path, form: str) -> None:
    """Every byte of the body in turn: a wrong offset that was followed would end this very process."""
    table = pa.table({"prompt": ["a", "b"], "responses": [[{"text": "x"}, {"text": "y"}]] * 2})
    out = io.BytesIO()
    with (pa.ipc.new_stream if form == "stream" else pa.ipc.new_file)(out, table.schema) as writer:
        writer.write_table(table)
    data, path = out.getvalue(), tmp_path / "p.arrow"
    path.write_bytes(data)
    assert len(read_pool(path).pool.prompts) == 2
    refused = 0
    for at in range(8, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            read_pool(path)
        except CurationError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**62] * 2, pa.int64()).cast(pa.timestamp("ms")), pa.array([2**62] * 2, pa.int64()).cast(pa.timestamp("us")),
        pa.array([2**31 - 1] * 2, pa.int32()).cast(pa.date32()), pa.array([2**62] * 2, pa.int64()).cast(pa.duration("s")),
    ],
    ids=["ms", "us", "date", "duration"],
)  # fmt: skip
def test_a_value_that_python_cannot_hold_rejects_its_row_or_is_not_used(tmp_path: Path, column: Any) -> None:
    table = pa.table({"prompt": ["a", "b"], "responses": [[{"text": "x"}, {"text": "y"}]] * 2, "when": column})
    pq.write_table(table, tmp_path / "p.parquet")
    told = ended(lambda: read_pool(tmp_path / "p.parquet"))
    assert told is None or "out of range" in told


# Text pools ---------------------------------------------------------------------------------------------------------


def seconds(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def test_identical_responses_without_ids_take_time_in_proportion() -> None:
    few = seconds(lambda: response_ids([None] * 2_000, ["same"] * 2_000))
    many = seconds(lambda: response_ids([None] * 40_000, ["same"] * 40_000))
    assert many < 100 * max(few, 0.005), "a square would be four hundred times as much"
    assert response_ids([None] * 3, ["same"] * 3)[1:] == [f"{response_ids([None], ['same'])[0]}-{n}" for n in (2, 3)]


def test_the_same_prompt_many_times_without_an_id_takes_time_in_proportion(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    row = json.dumps({"prompt": "same", "responses": [{"text": "x"}, {"text": "y"}]}) + "\n"
    path.write_text(row * 6_000)
    assert seconds(lambda: read_pool(path)) < 4
    assert len(read_pool(path).pool.prompts) == 6_000


@pytest.mark.parametrize("depth", [150, 100_000])
@pytest.mark.parametrize("name", ["p.jsonl", "p.json"])
def test_brackets_without_end_reject_a_row(tmp_path: Path, depth: int, name: str) -> None:
    good = '{"prompt": "q", "responses": [{"text": "x"}, {"text": "y"}]}'
    bad = good.replace('"q"', '"r", "meta": {"a": ' + "[" * depth + "]" * depth + "}")
    (tmp_path / name).write_text(f"[{good}, {bad}]" if name == "p.json" else f"{good}\n{bad}\n")
    if name == "p.json" and depth > 500:  # more than the parser takes: the file is one value
        with pytest.raises(PoolError, match="not valid JSON"):
            read_pool(tmp_path / name)
    else:
        assert [reject.line for reject in read_pool(tmp_path / name).rejects] == [2]


# Labels -------------------------------------------------------------------------------------------------------------

SEPARATORS = "\u2028 \u2029 \x85 \x0c \x1c \x1d \x1e \x0b \r end"


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.tsv"])
def test_labels_come_back_whatever_separators_their_texts_hold(tmp_path: Path, name: str) -> None:
    import csv

    rows = [
        {
            "pair_id": f"p{n}",
            "left_id": "l",
            "right_id": "r",
            "left": f"one{SEPARATORS}",
            "right": "two\nlines",
            "preference": "left",
        }
        for n in range(3)
    ]
    path = tmp_path / name
    with path.open("w", newline="", encoding="utf-8") as out:
        if name == "x.jsonl":
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(out, list(rows[0]), delimiter="\t" if name == "x.tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    labels, kind = read_labels(path)
    assert kind == ("jsonl" if name == "x.jsonl" else "csv")
    assert [(label.pair_id, label.choice) for label in labels] == [(f"p{n}", "left") for n in range(3)]


IDS = {"pair_id": "p", "left_id": "l", "right_id": "r"}
ANNOTATION: dict[str, Any] = {"result": [{"type": "pairwise", "value": {"selected": "left"}}], "completed_by": 1}
SDK = [{"value": "tie", "user_id": "u"}]
ODD = (5, True, "x", ["x"], [[1]], {"x": [1]}, [None], [{"value": 5}])


def with_odd(item: Any) -> list[Any]:
    """The item with each of its values replaced in turn by each odd value."""
    found = []
    for key, value in item.items() if isinstance(item, dict) else enumerate(item):
        for part in (*ODD, *(with_odd(value) if isinstance(value, dict | list) else ())):
            changed = dict(item) if isinstance(item, dict) else list(item)
            changed[key] = part
            found.append(changed)
    return found


@pytest.mark.parametrize(
    "item",
    [
        {"data": IDS, "annotations": [ANNOTATION]},
        {**IDS, "preference": "left", "annotator": 1},
        {"metadata": IDS, "fields": {}, "responses": [{"status": "submitted", "user_id": "u", "values": {"preference": {"value": "left"}}}]},
        {"metadata": IDS, "fields": {}, "responses": {"preference": SDK, "strength": SDK}},
    ],
    ids=["label-studio", "label-studio flat", "argilla api", "argilla sdk"],
)  # fmt: skip
def test_whatever_stands_where_in_an_export_it_is_read_or_told(tmp_path: Path, item: Any) -> None:
    path, told = tmp_path / "x.json", 0
    path.write_text(json.dumps([item]))
    assert len(read_labels(path)[0]) == 1
    for changed in with_odd(item):
        path.write_text(json.dumps([changed]))
        words = ended(lambda: read_labels(path))
        told += words is not None
        assert words is None or 10 < len(words) <= LONGEST + 10
    assert told > 10


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null", "/proc/self/mem", "."])
def test_labels_are_read_from_regular_files_only(place: str, tmp_path: Path) -> None:
    for path in (Path(place), tmp_path / "link.json"):
        if path != Path(place):
            path.symlink_to(Path(place).resolve())
        with pytest.raises(CurationError, match=r"regular file|bytes|grew|cannot be read|answers"):
            read_labels(path)


def test_a_table_with_more_cells_than_its_header_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("pair_id,left_id,right_id,preference\np,l,r,left\np,l,r,left,surplus\n")
    with pytest.raises(CurationError, match="line 3 has more cells"):
        read_labels(path)


def test_a_message_is_never_a_page_long() -> None:
    assert len(str(PoolError("x" * 10**6 + " remedy"))) < LONGEST + 10
    assert str(PoolError("x" * 10**6 + " remedy")).endswith("remedy")
    assert str(PoolError("short")) == "short"
