"""Scenarios side by side: only what compares is compared, and a link holds the settings and the name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from curation.dashboard.scenarios import compared, differences, overlaps, scenario_link, scenario_view
from curation.dashboard.view import View, view_from_query
from curation.review.store.records import Scenario

FIGURES = {
    "budget": 40, "spread": "capped", "objective": 1.5, "realised": 1.56, "efficiency": 0.999, "certified": 1e-4,
    "labels": 40, "equivalent": 98.4, "attained": 0.912, "weakest": 9, "said": 0.71, "length": 0.12, "cost": None,
    "unit": None, "pairs": ["a", "b", "c", "d"],
}  # fmt: skip


def scenario(name: str, view: View, **figures: Any) -> Scenario:
    return Scenario(name, "f" * 16, view.to_query(), {**FIGURES, **figures}, datetime.now(UTC))


LIGHT = scenario("light", View(budget=40))
HEAVY = scenario(
    "heavy & slow", View(budget=40, ridge=30.0), realised=0.24, equivalent=None, pairs=["c", "d", "e", "f"]
)
OLD = Scenario(
    "of before", "f" * 16, {"ridge": "30"},
    {"budget": 60, "spread": "balanced", "objective": 1.0, "realised": 1.1, "efficiency": 0.99, "support": 9},
    datetime.now(UTC),
)  # fmt: skip


def test_a_row_says_what_compares_and_never_the_criterion_of_another_ridge() -> None:
    first, second, third = compared([LIGHT, HEAVY, OLD], {"pairs": ["a", "c", "d"]})
    assert first["uniform labels it is worth"] == "98"
    assert first["ridge"] == "0.1"
    assert first["same pairs as now"] == "3 of 4"
    assert first["weakest direction"] == "9 (0.71x)"
    assert second["uniform labels it is worth"] == "no number reaches it"
    assert second["same pairs as now"] == "2 of 4"
    assert third["same pairs as now"] == third["of the attainable"] == third["weakest direction"] == "not kept"
    for row in (first, second, third):
        assert not {"objective", "realised", "efficiency"} & set(row)
        assert "1.56" not in row.values()
        assert set(row) == set(first)


def test_only_settings_that_differ_are_told() -> None:
    assert differences([LIGHT, HEAVY]) == [{"setting": "ridge", "light": "0.1", "heavy & slow": "30"}]
    assert differences([LIGHT, scenario("again", View(budget=40))]) == []
    assert {row["setting"] for row in differences([LIGHT, OLD])} >= {"ridge", "budget"}


def test_pairs_that_two_share_are_counted_both_ways() -> None:
    assert overlaps([LIGHT, HEAVY]) == [
        {"pairs shared": "light", "light": "4", "heavy & slow": "2"},
        {"pairs shared": "heavy & slow", "light": "2", "heavy & slow": "4"},
    ]
    assert overlaps([LIGHT, OLD]) == []


def test_a_link_opens_the_same_settings_under_the_same_name() -> None:
    link = scenario_link(HEAVY, "http://127.0.0.1:8501/design?budget=7#top")
    parts = urlsplit(link)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "http://127.0.0.1:8501/design"
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert query["scenario"] == "heavy & slow"
    assert view_from_query(query) == scenario_view(HEAVY) == View(budget=40, ridge=30.0)
