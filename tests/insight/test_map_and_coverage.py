"""What the Map and Coverage pages say: the worst is named, the legend stays short, a pair serves its directions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.charts.map import NAMED, OTHER, legend_names, pair_map
from curation.insight.coverage import Coverage, named_directions, serving


def made(batch: Any, uniform: Any, **named: Any) -> Coverage:
    d = len(batch)
    nothing = np.zeros(d)
    values = {
        "mu": np.arange(d, 0, -1.0), "batch": np.array(batch), "uniform": np.array(uniform), "design": np.array(batch),
        "ceiling": np.full(d, 9.0), "batch_share": nothing + 1, "design_share": nothing + 1, "uniform_share": nothing + 2,
        "spectrum_batch": nothing, "spectrum_design": nothing, "spectrum_uniform": nothing, "overlap": np.eye(d),
        "prior": 0.5, "unteachable": np.array([], dtype=int),
    }  # fmt: skip
    return Coverage(**{**values, **named})


def test_coverage_names_what_the_batch_says_less_about_and_what_that_holds() -> None:
    found = made([3.0, 0.5, 2.0, 0.1], [1.0, 1.0, 1.0, 1.0], uniform_share=np.array([4.0, 3.0, 2.0, 1.0]))
    assert found.less.tolist() == [1, 3]
    assert "about 2 of 4 directions (2, 4); they hold 40% of uniform's criterion" in found.finding()
    assert found.out_of_reach() == ""
    assert "at least as much" in made([1.0, 2.0], [1.0, 1.0]).finding()
    assert "hold" not in made([0.5], [1.0], batch_share=None, uniform_share=None).finding()


def test_directions_beyond_any_design_are_told_without_alarm() -> None:
    told = made([1.0, 2.0], [1.0, 1.0], unteachable=np.array([0])).out_of_reach()
    assert "1 directions" in told
    assert "expected" in told


def test_many_directions_are_named_by_the_first_and_counted() -> None:
    assert named_directions(np.arange(8)) == "1, 2, 3, 4, 5, 6 and 2 more"


def test_the_pairs_of_a_direction_come_by_their_share_of_it() -> None:
    told: Any = SimpleNamespace(
        directions=np.array([[0, 1], [1, 2], [2, 1]]), shares=np.array([[0.9, 0.05], [0.7, 0.1], [0.5, 0.4]])
    )
    assert serving(told, 1).tolist() == [1, 2, 0]
    assert serving(told, 7).tolist() == []


def frame(kinds: int) -> pd.DataFrame:
    m = 3 * kinds
    return pd.DataFrame(
        {"x": np.arange(m), "y": 0.0, "pair_id": [f"{n:04x}" for n in range(m)], "label": "l", "selected": np.arange(m) < 2,
         "kind": [f"k{n % kinds}" for n in range(m)]}
    )  # fmt: skip


@pytest.mark.parametrize("kinds", [3, NAMED, 40])
def test_the_legend_has_nine_names_and_other(kinds: int) -> None:
    names, kept = legend_names(frame(kinds)["kind"])
    assert len(names) == min(kinds, NAMED) + (kinds > NAMED)
    assert (OTHER in names) == (kinds > NAMED)
    assert set(kept) == set(names)
    drawn = pair_map(frame(kinds), "kind", numeric=False, title="kind")
    assert len({trace.name for trace in drawn.data}) == len(names)
    assert sum(len(trace.x) for trace in drawn.data) == 3 * kinds  # no point is lost


def test_a_marked_pair_has_a_ring() -> None:
    drawn = pair_map(frame(3), "kind", numeric=False, title="kind", marked="0001")
    assert [list(trace.customdata) for trace in drawn.data if trace.name == "pair 0001"] == [["0001"]]
    assert not [t for t in pair_map(frame(3), "kind", numeric=False, title="k", marked="ffff").data if "pair" in t.name]
