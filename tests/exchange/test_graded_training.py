"""Answers with strength in training rows and on the Sign-off page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.batch.folder import read_batch
from curation.exchange.receive import import_labels
from curation.exchange.send import export_trl
from curation.exchange.trl import preferences, soft
from curation.pool.labels import Label
from curation.review.store.store import Store
from tests.desk.graded import BAD, answered, truth
from tests.desk.sign_off_page import approved_sign_off


def voices(*values: int | str | None) -> list[Label]:
    """Labels of one pair from graded values; None: a binary win of a."""
    out = []
    for n, value in enumerate(values):
        if value is None:
            out.append(Label("p", "a", f"u{n}", "a", 1, None))
        elif value == BAD:
            out.append(Label("p", "tie", f"u{n}", "a", 1, None, 0, True))
        else:
            assert isinstance(value, int)
            outcome = "tie" if value == 0 else "a" if value > 0 else "b"
            out.append(Label("p", outcome, f"u{n}", "a", 1, None, abs(value)))  # type: ignore[arg-type]
    return out


@pytest.mark.parametrize(
    ("values", "chosen", "expected"),
    [
        ((2,), "x", (1, 0, 0, 2.0, 0.95, 1.0)),
        ((-1,), "y", (1, 0, 0, 1.0, 0.7, 1.0)),
        ((1, 1, -2), "x", (2, 1, 0, 0.0, 1.45 / 3, 3.0)),
        ((1, 1, 1, -2, -2), "x", (3, 2, 0, -0.2, 0.44, 5.0)),
        ((2, 0, 1, BAD, 2), "x", (3, 0, 2, 1.0, 0.72, 5.0)),
        ((None, None), "x", (2, 0, 0, None, 1.0, 2.0)),
        ((None, 1), "x", (2, 0, 0, 1.0, 0.85, 2.0)),
    ],
)
def test_soft_targets_worked_by_hand(values: tuple[int, ...], chosen: str, expected: tuple[float, ...]) -> None:
    record = {"pair_id": "p", "prompt": "q", "response_a": "x", "response_b": "y"}
    (row,) = preferences([record], voices(*values)).rows
    assert row["chosen"][0]["content"] == chosen
    names = ("votes_chosen", "votes_rejected", "votes_tie", "strength", "target", "weight")
    assert tuple(row[name] for name in names) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.sampled_from([-2, -1, 0, 1, 2, BAD, None]), min_size=1, max_size=9), st.floats(-4, 4))
def test_weight_times_cross_entropy_at_the_target_is_the_loss_of_all_answers(values: list[Any], logit: float) -> None:
    each = {2: 0.95, 1: 0.7, 0: 0.5, BAD: 0.5, -1: 0.3, -2: 0.05, None: 1.0}
    win = 1 / (1 + math.exp(-logit))

    def loss(p: float) -> float:
        return -p * math.log(win) - (1 - p) * math.log(1 - win)

    told = soft(voices(*values), "a")
    assert told["weight"] * loss(told["target"]) == pytest.approx(sum(loss(each[value]) for value in values))  # type: ignore[operator, arg-type]
    other = soft(voices(*values), "b")
    assert other["target"] == pytest.approx(1 - told["target"])  # type: ignore[operator]


def test_training_rows_of_graded_labels_leave_out_ties_and_both_bad(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    batch = read_batch(made["batch"])
    import_labels(made["batch"], answered(made, store, tmp_path, "argilla api"), store=store)
    told = export_trl(made["batch"], tmp_path / "train.jsonl", store=store)
    worth = {record["response_" + "ab"[k]]: (record, k) for record in batch.records for k in (0, 1)}
    ties = sum(truth(r["pair_id"]) in (0, BAD) for r in batch.records)
    assert told["left_out"]["tie"] == ties
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert len(rows) == len(batch.records) - ties
    for row in rows:
        record, k = worth[row["chosen"][0]["content"]]
        value = truth(record["pair_id"])
        assert isinstance(value, int)
        assert (value > 0) == (k == 0)
        assert row["strength"] == abs(value)
        assert row["target"] == pytest.approx({1: 0.7, 2: 0.95}[abs(value)])
        assert row["votes_chosen"] == row["weight"] == 2 * record["copies"]


# The page -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_sign_off_page_sends_graded_answers_out_and_shows_their_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, opened, batch = approved_sign_off(tmp_path, monkeypatch)
    page.selectbox(key="export_format").select("JSON Lines")
    page.selectbox(key="export_answers").select_index(1)
    page.run()
    page.button(key="export").click().run()
    (out,) = (tmp_path / "exports").glob("*-graded-unsigned.jsonl")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for n, row in enumerate(rows):
        assert row["answers"] == "graded"
        row["preference"] = ("left_much", "right_slightly", "both_bad")[n % 3]
    (tmp_path / "back.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    import_labels(batch.path, tmp_path / "back.jsonl", who="ana", store=opened)
    opened.close()
    page.run()
    assert not page.exception
    assert not page.error
    (steps,) = (frame.value.iloc[0].to_dict() for frame in page.dataframe if "left much" in frame.value)
    assert steps == {"left much": 4, "left slightly": 0, "tie": 0, "right slightly": 4, "right much": 0, "both bad": 4}
    assert any("Both bad in 33%" in text.value for text in page.markdown)
