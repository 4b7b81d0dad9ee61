"""A figure's numbers come out as they went in."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from curation.charts.data import described, figure_csv, figure_rows
from curation.charts.pool import MOST, counts, lengths
from curation.charts.style import figure


def lines() -> go.Figure:
    out = figure(x="Labels", y="Reward (logit)")
    out.add_scatter(x=[1, 2, 2, 1], y=[0, 0, 1, 1], hoverinfo="skip", fill="toself")
    out.add_scatter(x=[1, 2], y=[0.5, 0.75], name="design", customdata=["p1", "p2"], error_y={"array": [0.1, 0.2]})
    out.add_scatter(x=[1, 2], y=[0.25, 0.5], name="=uniform")
    return out


def test_rows_are_the_marks_in_the_axes_own_words() -> None:
    rows = figure_rows(lines())
    assert list(rows.columns) == ["series", "Labels", "Reward (logit)", "error", "id"]
    assert rows["series"].tolist() == ["design", "design", "=uniform", "=uniform"]
    assert rows["Reward (logit)"].tolist() == [0.5, 0.75, 0.25, 0.5]
    assert rows["id"].tolist()[:2] == ["p1", "p2"]


def test_a_field_gives_a_row_a_cell() -> None:
    out = figure(x="k", y="j")
    out.add_heatmap(z=[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], x=["a", "b", "c"], y=["u", "v"])
    rows = figure_rows(out)
    assert rows[["k", "j", "value"]].to_numpy().tolist() == [
        ["a", "u", 1.0], ["b", "u", 2.0], ["c", "u", 3.0], ["a", "v", 4.0], ["b", "v", 5.0], ["c", "v", 6.0],
    ]  # fmt: skip


def test_boxes_give_every_value_they_were_made_of() -> None:
    rows = figure_rows(lengths(np.array([10, 20, 30, 40]), ["a", "a", "b", "b"]))
    assert sorted(rows.iloc[:, 1].tolist()) == [10, 20, 30, 40]
    assert set(rows["series"]) == {"a", "b"}


def test_a_file_opens_as_a_table_and_starts_no_formula() -> None:
    read = pd.read_csv(io.BytesIO(figure_csv(lines())))
    assert read["Labels"].tolist() == [1, 2, 1, 2]
    assert read["series"].tolist()[2] == "'=uniform"


def test_a_figure_is_told_in_a_sentence() -> None:
    assert described(lines()) == "Reward (logit) against Labels: design (2), =uniform (2)."


def test_bars_beyond_the_twenty_largest_are_counted_not_drawn() -> None:
    out = counts({f"g{n}": 100 - n for n in range(MOST + 5)}, x="Responses")
    assert len(out.data[0].x) == MOST
    held = sum(100 - n for n in range(MOST, MOST + 5))
    assert f"{MOST} largest of {MOST + 5}; the other 5 hold {held}" in out.layout.xaxis.title.text
