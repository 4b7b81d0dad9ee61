"""Changes to inputs: bytes, JSON values, table columns. All draw from the generator they are given."""

from __future__ import annotations

import copy
import datetime
import decimal
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pyarrow as pa

DEEP = "@@deep@@"  # stands for a value nested deeper than json.dumps can write
Path = list[Any]


def odd_value(rng: Random) -> Any:
    """A value that hardly any field expects."""
    return rng.choice(
        [
            None, True, False, 0, -1, 1, 2, 10**6, 10**30, -(10**30), 10**400, 1e308, -1e308, 1e-320, float("nan"),
            float("inf"), 0.5, "", " ", "x", "0", "[]", "exact", "inf", "nan", "a\x00b", "e\u0301", "\u202e\u2066", "\ud800",
            "../../../x", "~nosuch/x", "line\nbreak", "\u2028\x85\x0c\x1c", "9" * 5000, "x" * 200_000, [], {}, [None],
            [[1]], [1, 2, 3], [1] * 2000, {"x": 1}, {"role": "user"}, [{"role": "user", "content": None}], {"": None},
            "2026-13-45", DEEP, {"value": [1]},
        ]
    )  # fmt: skip


def changed_json(rng: Random, value: Any, times: int = 3) -> bytes:
    """A JSON value changed in up to `times` places, as text."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, times)):
        value = _changed(rng, value)
    return dumped(rng, value)


def dumped(rng: Random, value: Any, *, indent: int | None = None) -> bytes:
    """JSON text, with what json.dumps cannot write put in."""
    depth = rng.choice([60, 300, 990, 5000, 100_000])
    text = json.dumps(value, indent=indent, ensure_ascii=rng.random() < 0.5)
    text = text.replace(f'"{DEEP}"', rng.choice(["[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth]))
    return text.encode("utf-8", "surrogatepass")


def _changed(rng: Random, value: Any) -> Any:
    places = list(_places(value, []))
    if not places or rng.random() < 0.01:
        return odd_value(rng)
    place = rng.choice(places)
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    key, old = place[-1], holder[place[-1]]
    act = rng.randrange(8)
    if act <= 2:
        holder[key] = odd_value(rng)
    elif act == 3:
        del holder[key]
    elif act == 4:
        holder[key] = rng.choice([[old], {"x": old}, str(old)[:1000], [old, old]])
    elif act == 5:
        other = rng.choice(places)
        found = value
        for step in other:
            found = found[step]
        holder[key] = copy.deepcopy(found)
    elif act == 6 and isinstance(holder, dict):
        holder[rng.choice(["x", "quality", str(key).upper(), f" {key}", "id"])] = holder.pop(key)
    elif isinstance(old, str) and old:
        holder[key] = changed_bytes(rng, old.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    else:
        holder[key] = odd_value(rng)
    return value


def _places(value: Any, so_far: Path) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield [*so_far, key]
        if len(so_far) < 12:
            yield from _places(part, [*so_far, key])


BITS = (b"\x00", b"\xff", b"\xfe\xff", b"\r", b"\n", b"\r\n", b'"', b'""', b"'", b",", b"\t", b";", b"[", b"]", b"{", b"}",
        b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0c", b"\x1c", b"NaN", b"1e999", b"null",
        b"-", b"999999999999999999999999", b"\\u0000", b"\\ud800", b"=1+1", b"../", b":")  # fmt: skip


def changed_bytes(rng: Random, data: bytes) -> bytes:
    """Bytes flipped, cut, repeated, moved or put in."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8, 20])):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice([1, 1, 2, 4, 8, 64, 1000]))
        act = rng.randrange(9)
        if act == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif act == 1 and at < len(data):
            data[at] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        elif act == 2:
            del data[at:end]
        elif act == 3:
            data[at:at] = rng.choice(BITS)
        elif act == 4:
            data[at:at] = data[at:end] * rng.choice([1, 2, 50])
        elif act == 5:
            data[at:end] = bytes(end - at)
        elif act == 6:
            data[at:end] = b"\xff" * (end - at)
        elif act == 7 and rng.random() < 0.3:
            del data[at:]
        else:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 4, 16])))
    return bytes(data)


def changed_table(rng: Random, table: pa.Table) -> pa.Table:
    """A table with columns dropped, renamed, doubled, cast, emptied or of other types."""
    for _ in range(rng.randint(1, 2)):
        try:
            table = _changed_column(rng, table)
        except (pa.ArrowException, KeyError):  # a name that stands twice, types that do not join: left as it is
            continue
    return table


def _changed_column(rng: Random, table: pa.Table) -> pa.Table:
    if not table.num_columns:
        return table
    k = rng.randrange(table.num_columns)
    name = table.column_names[k]
    act = rng.randrange(7)
    if act == 0:
        table = table.drop_columns([name])
    elif act == 1:
        table = table.rename_columns([f"{n}x" if j == k else n for j, n in enumerate(table.column_names)])
    elif act == 2:
        table = table.append_column(name, table.column(k))
    elif act == 3:
        table = table.slice(0, rng.choice([0, 1, max(table.num_rows - 1, 0)]))
    elif act == 4:
        table = pa.concat_tables([table, table.slice(0, 1)])
    else:
        table = table.set_column(k, name, _odd_column(rng, table.num_rows))
    return table


def _odd_column(rng: Random, rows: int) -> Any:
    big = 2**62
    kinds: list[Callable[[], Any]] = [
        lambda: pa.nulls(rows),
        lambda: pa.array(["x"] * rows),
        lambda: pa.array([b"\xff\xfe"] * rows, pa.binary()),
        lambda: pa.array([big + k for k in range(rows)], pa.int64()),
        lambda: pa.array([big] * rows, pa.int64()).cast(pa.timestamp(rng.choice(["ms", "us"]))),
        lambda: pa.array([2**31 - 1] * rows, pa.int32()).cast(pa.date32()),
        lambda: pa.array([big] * rows, pa.int64()).cast(pa.duration("ms")),
        lambda: pa.array([decimal.Decimal("1.5")] * rows),
        lambda: pa.array([datetime.time(1)] * rows),
        lambda: pa.array([[1.0, None]] * rows),
        lambda: pa.array([[float("nan")] * 4] * rows),
        lambda: pa.array([[float(k)] * (1 + k % 3) for k in range(rows)]),
        lambda: pa.array([[[{"a": "b"}]]] * rows),
        lambda: pa.array([[("k", "v"), ("k", None)]] * rows, pa.map_(pa.string(), pa.string())),
        lambda: pa.array(["a", "b"] * (rows // 2) + ["a"] * (rows % 2)).dictionary_encode(),
        lambda: pa.array([True] * rows),
        lambda: pa.array(["x" * 100_000] * rows).dictionary_encode(),
    ]
    return rng.choice(kinds)()
