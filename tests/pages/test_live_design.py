"""Budget and ridge are live: nothing typed, clicked or moved is lost, and a scenario keeps what the control shows."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from curation.backtest.worth import UNTESTED
from curation.dashboard.view import View
from curation.settings import DesignSettings
from tests.pages.test_design_page import design_page, view_of


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    monkeypatch.setenv("CURATION_ALLOW_REMOTE", "1")  # AppTest has no address to show
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path


def field(page: Any, label: str) -> Any:
    return next(box for box in [*page.number_input, *page.selectbox, *page.text_input] if box.label == label)


def metrics(page: Any) -> dict[str, str]:
    return {one.label: one.value for one in page.metric}


def press(page: Any, label: str) -> Any:
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception
    return page


def test_design_opens_with_its_finding_and_five_figures_of_the_analyst(home: Path) -> None:
    page = design_page(budget="12")
    told = next(one.value for one in page.markdown if "worth these" in one.value)
    assert re.fullmatch(
        r"\*\*.* worth these 12 in the criterion; .*direction \d+.*; certified within 0\.0001 .*\*\*", told
    )
    assert list(metrics(page)) == [
        "Label equivalents", "Of the attainable", "Weakest direction", "Labels per stratum", "Cost",
    ]  # fmt: skip
    assert all(one.help for one in page.metric)
    assert not any(word in metrics(page) for word in ("Gap", "Open", "Solved in"))
    assert [box.label for box in page.expander if box.label.startswith("Certified within 0.0001")]
    assert [box.value for box in page.warning] == [UNTESTED]


def test_every_control_keeps_its_key_and_holds_what_the_view_holds(home: Path) -> None:
    page = design_page(budget="12", ridge="0.7", prior_power="0.5", overlap="0.1", quotas="coding=0..9")
    boxes = [*page.number_input, *page.selectbox, *page.select_slider, *page.text_input]
    settings = [box for box in boxes if str(box.key).startswith("set_")]
    assert {"set_budget", "set_ridge", "set_spread", "set_max_labels", "set_overlap"} <= {box.key for box in settings}
    for box in settings:
        assert box.value == getattr(view_of(page), str(box.key).removeprefix("set_")), box.label
    assert page.select_slider[0].value == 0.7, "a value of an address is one of the choices"
    page.select_slider[0].set_value(0.3).run()
    assert 0.7 in [float(option) for option in page.select_slider[0].options], "and stays among them"
    field(page, "Budget (labels)").set_value(15).run()
    field(page, "Quotas").set_value("coding=9..1").run()
    assert any("coding" in box.value for box in page.error)
    assert view_of(page).quotas == "coding=0..9", "what cannot be is not taken"
    assert field(page, "Quotas").value == "coding=9..1", "and may be mended where it stands"
    field(page, "Quotas").set_value("").run()
    assert not page.error
    assert view_of(page) == View(budget=15, ridge=0.3, overlap=0.1)


def test_a_scenario_keeps_what_the_control_shows_and_opens_by_its_link(home: Path) -> None:
    page = design_page(budget="12")
    field(page, "Keep these settings as").set_value("light")
    press(page, "Save scenario")
    page.select_slider[0].set_value(1.0)  # moved, and saved in the same breath
    field(page, "Keep these settings as").set_value("ridge 1")
    press(page, "Save scenario")
    assert view_of(page).ridge == 1.0
    (table,) = [frame.value for frame in page.dataframe if "same pairs as now" in frame.value]
    assert table["scenario"].tolist() == ["light", "ridge 1"]
    assert table["ridge"].tolist() == ["0.1", "1"]
    assert table["same pairs as now"].tolist()[1] == "12 of 12"
    assert table["uniform labels it is worth"].tolist()[1] == metrics(page)["Label equivalents"]
    assert not {"objective", "realised", "efficiency"} & set(table)
    link = next(code.value for code in page.code if "scenario=" in code.value)
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    assert query["scenario"] == "ridge 1"
    other = design_page(**query)
    assert view_of(other) == view_of(page)
    assert metrics(other) == metrics(page)
    assert any("Scenario **ridge 1**" in one.value for one in other.caption)
    other.select_slider[0].set_value(3.0).run()
    assert any("Changed since scenario **ridge 1**" in one.value for one in other.caption)
    field(page, "Scenario").set_value("light").run()
    press(page, "Load")
    assert view_of(page) == View(budget=12)
    field(page, "Keep these settings as").set_value("light")
    press(page, "Save scenario")
    assert any("exists for this pool" in box.value for box in page.error)
    assert page.metric, "the page goes on"
    press(page, "Delete")
    assert [frame.value["scenario"].tolist() for frame in page.dataframe if "same pairs as now" in frame.value] == [
        ["ridge 1"]
    ]


def test_rules_and_frontier_come_after_the_design(home: Path) -> None:
    page = design_page(budget="12")
    deadline = time.monotonic() + 600
    while any("Still to come" in one.value or "budgets solved" in one.value for one in page.caption):
        assert time.monotonic() < deadline
        time.sleep(0.2)
        page.run()
        assert not page.exception
    assert view_of(page).design_settings(62) == DesignSettings(budget=12)
