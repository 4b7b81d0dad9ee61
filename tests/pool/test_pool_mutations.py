"""Whatever happens to a valid file, every row of it is used or rejected, and a harmless change changes nothing."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import PoolError
from curation.pool.readers.read import read_pool

TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "x"}]
VALID: dict[str, dict[str, Any]] = {
    "canonical": {"prompt": "Q", "responses": [{"text": "a", "quality": 1.5}, {"text": "b"}], "stratum": "s"},
    "trl": {"prompt": "Q", "chosen": "a", "rejected": "b", "score_chosen": 2, "chosen_model": "m", "source": "s"},
    "turns": {"chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "y"}], "tools": None},
    "hh": {"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: a\n\nAssistant: y"},
    "ultrafeedback": {"instruction": "Q", "completions": [{"response": "a", "overall_score": 3}, {"response": "b"}]},
    "distilabel": {"instruction": "Q", "generations": ["a", "b"], "ratings": [1, 5], "model_name": "m"},
    "pairs": {"prompt": "Q", "response_1": "a", "response_2": "b", "preference_strength": -1},
    "ranked": {"prompt": "Q", "answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": 2}]},
}
WRONG = st.sampled_from(
    [None, "", 0, 1e999, float("nan"), "N/A", [], {}, [None], "[{'role': 'user'", {"role": 3}, True]
)


@pytest.mark.parametrize("shape", VALID)
@given(
    changes=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["drop", "set", "order"]), WRONG), max_size=6),
)
@settings(deadline=None, max_examples=40)
def test_rows_in_are_rows_used_and_rejected(
    shape: str, changes: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [dict(VALID[shape])]
    for place, how, value in changes:
        row = dict(VALID[shape])
        name = list(row)[place % len(row)]
        if how == "drop":
            del row[name]
        elif how == "set":
            row[name] = value
        else:
            row = dict(reversed(row.items()))
        rows.append(row)
    path = tmp_path_factory.mktemp("changed") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_pool(path)
    assert found.rows == found.rows_used + len(found.rejects) == len(rows)
    untouched = 1 + sum(how == "order" for _, how, _ in changes)
    assert found.rows_used >= untouched
    reordered = read_pool(path, name=found.pool.name)
    assert reordered.pool == found.pool


TABLES: dict[str, tuple[list[str], list[list[str]]]] = {
    "flat": (["prompt", "response", "score"], [["Q", "a", "1"], ["Q", "b, c", "2.0"], ["R", 'd "e"', "3e0"], ["R", "f\ng", ""]]),
    "trl": (["prompt", "chosen", "rejected"], [["Q", "a", "b"], ["R; S", "c\td", "e"]]),
    "pairs": (["prompt", "response_a", "response_b", "winner"], [["Q", "a", "b", "model_a"], ["R", "c", "d", "tie"]]),
}  # fmt: skip
ONE_AS_TEXT = st.sampled_from(["1", "1.0", "1e0", " 1 ", "+1"])


@pytest.mark.parametrize("shape", TABLES)
@given(
    order=st.randoms(use_true_random=False),
    delimiter=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
    one=ONE_AS_TEXT,
)
@settings(deadline=None, max_examples=30)
def test_a_table_is_the_same_however_it_is_written(
    shape: str, order: Any, delimiter: str, quoting: Any, end: str, one: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header, rows = TABLES[shape]
    columns = list(range(len(header)))
    folder = tmp_path_factory.mktemp("table")

    def write(name: str, places: list[int], **how: Any) -> Path:
        text = io.StringIO()
        writer = csv.writer(text, **how)
        writer.writerow([header[place] for place in places])
        for row in rows:
            writer.writerow([one if row[place] == "1" and name != "plain" else row[place] for place in places])
        path = folder / f"{name}.csv"
        path.write_bytes(text.getvalue().encode())
        return path

    plain = read_pool(write("plain", columns), name="x")
    order.shuffle(columns)
    other = read_pool(write("other", columns, delimiter=delimiter, quoting=quoting, lineterminator=end), name="x")
    assert (other.pool, other.truth) == (plain.pool, plain.truth)
    assert other.rows == other.rows_used + len(other.rejects) == len(rows)


@given(cut=st.integers(1, 400), byte=st.binary(min_size=1, max_size=2))
@settings(deadline=None, max_examples=40)
def test_damage_is_a_reject_or_an_error_in_words(
    cut: int, byte: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "".join(json.dumps(VALID["trl"]) + "\n" for _ in range(4)).encode()
    path = tmp_path_factory.mktemp("cut") / "rows.jsonl"
    path.write_bytes(text[:cut] + byte + text[cut:])
    try:
        found = read_pool(path)
    except PoolError:
        return
    assert found.rows == found.rows_used + len(found.rejects)
