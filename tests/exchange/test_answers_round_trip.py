"""Whatever texts and answers hold: every export comes back, and answers in are what is told."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.batch.presentation import ExportHeader
from curation.errors import ImportLabelsError
from curation.exchange.decode import decode
from curation.exchange.export import export_records
from curation.exchange.incoming import read_answers
from tests.desk.answers import (
    BATCH,
    HOSTILE,
    SEED,
    annotation,
    as_csv,
    choice,
    decoded,
    parquet,
    records,
    rows,
)


def answered(path: Path, to: str) -> int:
    """Fill in an export as a tool or a person would: left everywhere. Returns how many answers there are."""
    if to == "csv":
        with path.open(newline="", encoding="utf-8") as handle:
            table = list(csv.DictReader(handle))
        path.write_text(as_csv([{**row, "preference": "left", "annotator": "eve"} for row in table]), newline="")
    elif to == "parquet":
        table = pq.read_table(path).to_pylist()
        path.write_bytes(parquet([{**row, "preference": "left", "annotator": "eve"} for row in table]))
    elif to == "jsonl":
        table = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        lines = [json.dumps({**row, "preference": "left", "annotator": "eve"}, ensure_ascii=False) for row in table]
        path.write_text("\n".join(lines), encoding="utf-8")
    else:
        table = json.loads(path.read_text(encoding="utf-8"))
        for item in table:
            if to == "label-studio":
                item["annotations"] = [annotation(1, choice("left"))]
            else:
                value = {"preference": {"value": "a"}}
                item["responses"] = [{"values": value, "user_id": "eve", "status": "submitted"}]
        path.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
    return len(table)


@pytest.mark.parametrize("answers", ["binary", "graded"])
@pytest.mark.parametrize("to", ["csv", "parquet", "jsonl", "label-studio", "argilla"])
def test_every_export_comes_back_whatever_its_texts_hold(tmp_path: Path, to: str, answers: Any) -> None:
    sent = records(5, 2, HOSTILE)
    path = tmp_path / f"out.{'json' if to in ('label-studio', 'argilla') else to}"
    header = ExportHeader(BATCH, SEED, "c" * 64, "pool", signed=False, answers=answers)
    export_records(sent, to=to, out=path, order="both", header=header)
    if to == "csv":
        with path.open(newline="", encoding="utf-8") as handle:
            assert (csv.DictReader(handle).fieldnames or [])[-2:] == ["preference", "annotator"]
    count = answered(path, to)
    found = read_answers(path)
    made = decode(found.labels, sent, batch_id=BATCH, batch_seed=SEED)
    assert count == 20 == len(made.labels)
    assert all(label.outcome == label.left for label in made.labels)
    assert found.told == {}


WORDS = {"left": "left", "Right ": "right", "TIE": "tie", "skip": "skip", "": None, "Response A": "left"}


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.sampled_from([*WORDS]), min_size=6, max_size=6),
    order=st.permutations(range(9)),
    separator=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    blank=st.lists(st.integers(0, 6), max_size=3),
    strange=st.sets(st.integers(0, 5), max_size=2),
    copy=st.sampled_from(["1", "1.0", ""]),
    shape=st.sampled_from(["table", "json", "lines", "studio", "flat", "argilla"]),
)  # fmt: skip
def test_answers_in_are_labels_ties_skips_and_what_is_told(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], order: list[int], separator: str, quoting: int, end: str,
    encoding: str, blank: list[int], strange: set[int], copy: str, shape: str,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("x") / ("x.csv" if shape == "table" else "x.json")
    table = []
    for n, (row, word) in enumerate(zip(rows(), words, strict=True)):
        whole = {**row, "preference": word, "copy": copy, "left": HOSTILE}
        if n in strange:
            whole["left_id"] = "0" * 12
        names = [*whole]
        table.append({names[k]: whole[names[k]] for k in order})
    if shape == "table":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [*table[0]], delimiter=separator, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
        writer.writeheader()
        for n, row in enumerate([*table, None]):
            text.write((separator * 8 + end) * blank.count(n))
            if row is not None:
                writer.writerow(row)
        path.write_bytes(text.getvalue().encode(encoding))
    elif shape == "lines":
        path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in table), encoding="utf-8")
    elif shape == "json":
        path.write_text(json.dumps(table))
    elif shape == "studio":
        items = [
            {"data": row, "annotations": [annotation(n, choice(row["preference"]))]} for n, row in enumerate(table)
        ]
        path.write_text(json.dumps(items))
    elif shape == "flat":
        path.write_text(json.dumps([{k: v for k, v in row.items() if v != ""} for row in table]))
    else:
        items = [
            {
                "metadata": r,
                "responses": [
                    {"status": "submitted", "user_id": 1, "values": {"preference": {"value": r["preference"]}}}
                ],
            }
            for r in table
        ]
        path.write_text(json.dumps(items))
    expected = [WORDS[word] for word in words]
    if not any(expected):
        with pytest.raises(ImportLabelsError, match="no answer"):
            read_answers(path)
        return
    made = decoded(read_answers(path))
    outcomes = [label.outcome for label in made.labels]
    usual = [value for n, value in enumerate(expected) if n not in strange]
    assert made.unknown == len(strange)
    assert made.not_answered == usual.count(None)
    assert outcomes.count("tie") == usual.count("tie")
    assert outcomes.count("skip") == usual.count("skip")
    assert outcomes.count("a") + outcomes.count("b") == usual.count("left") + usual.count("right")
