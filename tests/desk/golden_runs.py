"""A small pool on disk and the command line on it, in this process: what the golden files are made from.

Nothing of the library is imported but the command line itself: pool and features file are written here, in the formats
that users write. Numbers come from `random.Random.random`, which is the same in every Python.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from curation.cli.app import main

PROMPTS, WIDTH = 24, 9
DEMO = Path(__file__).resolve().parents[2] / "data" / "demo.jsonl.gz"


@contextlib.contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A workspace, a database and a signing key of their own in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {"CURATION_HOME": str(folder / "home"), "CURATION_SIGNING_KEY": str(folder / "key.pem")}
    with mock.patch.dict(os.environ, own):
        os.environ.pop("DATABASE_URL", None)
        yield folder


def call(*arguments: object, status: int = 0) -> dict[str, Any]:
    """What a command prints under --json. Checks the exit status."""
    out, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        ended = main([*map(str, arguments), "--json"])
    assert ended == status, (arguments, ended, told.getvalue(), out.getvalue()[-500:])
    return dict(json.loads(out.getvalue()))


def responses(prompts: int = PROMPTS) -> Iterator[tuple[int, int]]:
    """(prompt, candidate) of every response: four or five candidates a prompt."""
    return ((x, k) for x in range(prompts) for k in range(4 + x % 2))


def write_pool(folder: Path, prompts: int = PROMPTS) -> Path:
    """Prompts in two strata, with generators, costs and a known quality that features do not tell."""
    draw, truth = random.Random(1), random.Random(3)
    rows: list[dict[str, Any]] = [
        {"prompt_id": f"p{x}", "prompt": f"question {x}", "stratum": "ab"[x % 2], "responses": []}
        for x in range(prompts)
    ]
    for x, k in responses(prompts):
        rows[x]["responses"].append(
            {
                "response_id": f"r{k}", "text": f"answer {x}.{k} " + "word " * int(1 + 29 * draw.random()),
                "generator": "uvwxy"[k], "quality": round(truth.random(), 3),
                "meta": {"minutes": (1 + int(3 * draw.random())) / 2},
            }
        )  # fmt: skip
    path = folder / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_features(folder: Path, prompts: int = PROMPTS) -> Path:
    """Nine numbers a response, with reference log-probabilities and token counts."""
    draw, ids = random.Random(2), list(responses(prompts))
    numbers = pa.array([2 * draw.random() - 1 for _ in range(len(ids) * WIDTH)], pa.float32())
    table = pa.table(
        {
            "prompt_id": [f"p{x}" for x, _ in ids],
            "response_id": [f"r{k}" for _, k in ids],
            "features": pa.FixedSizeListArray.from_arrays(numbers, WIDTH),
            "reference_logprob": pa.array([-(20 + int(40 * draw.random())) / 10 for _ in ids], pa.float64()),
            "n_tokens": pa.array([3 + int(9 * draw.random()) for _ in ids], pa.int32()),
        }
    )
    path = folder / "pool.features.parquet"
    pq.write_table(table.replace_schema_metadata({"model": "written by the test"}), path)
    return path


def shaken(features: Path, out: Path, seed: int) -> Path:
    """A features file with every number moved by up to a millionth of itself: more than machines differ."""
    table = pq.read_table(features)
    column = table.column("features").combine_chunks()
    draw = random.Random(seed)
    flat = [value * (1 + 2e-6 * (draw.random() - 0.5)) for value in column.values.to_pylist()]
    moved = pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), column.type.list_size)
    pq.write_table(table.set_column(table.schema.get_field_index("features"), "features", moved), out)
    return out


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Manifest and records of a batch folder."""
    lines = (folder / "batch.jsonl").read_text(encoding="utf-8").splitlines()
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8")), [json.loads(line) for line in lines]


def write_csv(path: Path, rows: list[Mapping[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def decided(folder: Path, out: Path, *, reject: int = 0) -> None:
    """Decide on every pair of a batch: the first `reject` are rejected, the others approved."""
    said = [("reject", "text_broken")] * reject + [("approve", "")] * len(read(folder)[1])
    keys = [record["pair_id"] for record in read(folder)[1]]
    rows = [{"pair_id": k, "decision": d, "reason": r} for k, (d, r) in zip(keys, said, strict=False)]
    call("decide", folder, write_csv(out, list(rows)), "--as", "ana")


def answered(sheet: Path, out: Path, annotator: str = "eve") -> Path:
    """An exported CSV sheet with answers that know nothing but the pair: left, right, and every fifth a tie."""
    with sheet.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in sorted(rows, key=lambda row: row["pair_id"]):
        said = int(row["pair_id"].removeprefix("x")[:6], 16)
        row |= {"preference": ("left", "right", "left", "right", "tie")[said % 5], "annotator": annotator}
    return write_csv(out, list(rows))
