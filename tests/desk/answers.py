"""Tables of answers as a tool or a person saves them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.batch.presentation import ExportHeader, present
from curation.exchange.decode import Decoded, decode
from curation.exchange.incoming import Incoming, read_answers

SEED, BATCH = "5" * 64, "b" * 16


HEADER = ExportHeader(BATCH, SEED, "c" * 64, "pool", signed=False)


HOSTILE = 'a,b;c\td"e\'\u2028f\u2029g\x85h\x0ci\x1c\x1d\x1e\x0bj\rk\nl\r\nm=1 {"x": [1]}\n\n'


def records(count: int = 6, copies: int = 1, text: str = "") -> list[dict[str, Any]]:
    return [
        {
            "pair_id": f"{n:015x}a", "prompt": f"q{n} {text}", "response_a_id": f"r{n}", "response_b_id": f"s{n}",
            "response_a": f"=one {n} {text}", "response_b": f"two {n} {text}", "copies": copies,
        }
        for n in range(count)
    ]  # fmt: skip


def rows(count: int = 6, copies: int = 1) -> list[dict[str, Any]]:
    """Rows of a filled-in table: left, right, tie in turn, by eve."""
    shown, _ = present(records(count, copies), header=HEADER, order="random")
    return [
        {
            "batch_id": BATCH, "pair_id": row.pair_id, "copy": row.copy, "left_id": row.left_id, "right_id": row.right_id,
            "preference": ("left", "right", "tie")[n % 3], "annotator": "eve", "seconds": "12.5",
        }
        for n, row in enumerate(shown)
    ]  # fmt: skip


def as_csv(table: list[dict[str, Any]], separator: str = ",") -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def read(path: Path, content: str | bytes | Any, kind: str = "auto") -> Incoming:
    if isinstance(content, list | dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_answers(path, kind)


def decoded(found: Incoming, count: int = 6, copies: int = 1) -> Decoded:
    made = decode(found.labels, records(count, copies), batch_id=BATCH, batch_seed=SEED)
    parts = (made.duplicates, made.changed, made.unknown, made.unclear, made.not_answered)
    assert made.answers == len(found.labels) == len(made.labels) + sum(parts)
    return made


def choices(found: Incoming) -> list[str]:
    return [label.choice for label in found.labels]


def parquet(table: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(table), out)
    return out.getvalue()


EVE = {"id": 3, "email": "eve@example.org"}


def choice(value: Any, name: str | None = "preference", kind: str = "choices") -> dict[str, Any]:
    said = {"choices": value if isinstance(value, list) else [value]} if kind == "choices" else {"selected": value}
    return {"type": kind, "value": said, **({} if name is None else {"from_name": name})}


def annotation(number: int, *result: dict[str, Any], day: int = 2, **more: Any) -> dict[str, Any]:
    at = f"2026-01-{day:02}T00:00:00Z"
    return {
        "id": number, "completed_by": EVE, "result": [*result], "created_at": at, "updated_at": at, "lead_time": 9.5,
        "was_cancelled": False, **more,
    }  # fmt: skip


def argilla(layout: str) -> Any:
    """Two records: eve submitted both; bob has a draft of the first and discarded the second."""
    keep = ("batch_id", "pair_id", "copy", "left_id", "right_id")
    said = [
        [("a", "eve", "submitted"), ("b", "bob", "draft")],
        [("b", "eve", "submitted"), ("b", "bob", "discarded")],
    ]
    found = []
    for row, answers in zip(rows(2), said, strict=True):
        metadata = {name: row[name] for name in keep}
        record: dict[str, Any] = {
            "id": row["pair_id"],
            "fields": {"prompt": "q"},
            "metadata": metadata,
            "status": "pending",
        }
        if layout == "api":
            record["responses"] = [
                {"values": {"preference": {"value": v}}, "user_id": who, "status": s} for v, who, s in answers
            ]
        elif layout == "sdk":
            record["responses"] = {"preference": [{"value": v, "user_id": who} for v, who, _ in answers]}
        else:
            ends = zip(("", ".users", ".status"), zip(*answers, strict=True), strict=True)
            flat = {f"preference.responses{end}": list(values) for end, values in ends}
            record = {"id": row["pair_id"], "status": "pending", **metadata, **flat, "preference.suggestion": "a"}
        found.append(record)
    return found
