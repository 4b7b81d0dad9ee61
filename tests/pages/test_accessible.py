"""axe-core on every page, light and dark: nothing serious that is ours; and what the frame must do in a real browser."""

from __future__ import annotations

import importlib.resources
import importlib.util
import re
from typing import Any

import pytest

from pages._navigation import page_files
from tests.desk.dashboards import visit
from tests.desk.waiting import playwright, reads, settle, until

pytestmark = pytest.mark.slow
PAGES = [page.address for page in page_files()]
PACKAGE = "axe_playwright_python"  # it carries axe.min.js; nothing is fetched
# Rule -> elements that Streamlit itself draws so, and that no page can mend. Its containers of fixed height have no
# tabindex; Chromium and Firefox let the keyboard into them all the same.
STREAMLITS = {"scrollable-region-focusable": re.compile(r'data-testid="stVerticalBlock"|data-testid="stDataFrame')}
ASK = """axe.run(document, {resultTypes: ['violations'],
  runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(f"the package {PACKAGE} is not installed; `pip install -r requirements-test.txt` brings it")
    return importlib.resources.files(PACKAGE).joinpath("axe.min.js").read_text(encoding="utf-8")


def serious(page: Any, axe: str) -> list[str]:
    """Violations of the kinds serious and critical that are not Streamlit's own: rule, element, message."""
    page.evaluate(axe)
    found = []
    for rule in page.evaluate(ASK)["violations"]:
        for node in rule["nodes"] if rule["impact"] in ("serious", "critical") else []:
            if not (rule["id"] in STREAMLITS and STREAMLITS[rule["id"]].search(node["html"])):
                why = next((each["message"] for kind in ("any", "all", "none") for each in node[kind]), "")
                found.append(f"{rule['id']}: {node['html'][:160]} {why}")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_that_is_ours(browser, address, axe, name, scheme):
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    try:
        page = context.new_page()
        page.goto(f"{address}/{'' if name == 'pool' else name}", timeout=120_000)
        settle(page)
        assert serious(page, axe) == []
    finally:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_the_systems_and_texts_of_charts_follow_it(browser, address, scheme):
    context = browser.new_context(viewport={"width": 1440, "height": 1200}, color_scheme=scheme)
    try:
        page = context.new_page()
        page.goto(f"{address}/coverage", timeout=120_000)
        settle(page)
        light = "(colour) => colour.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3"
        ground = page.evaluate(
            f"({light})(getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor)"
        )
        page.locator(".xtick text").first.wait_for()
        ink = page.evaluate(f"({light})(getComputedStyle(document.querySelector('.xtick text')).fill)")
        assert (ground > 128, ink > 128) == ((True, False) if scheme == "light" else (False, True))
    finally:
        context.close()


def test_back_goes_to_the_page_before_and_tabs_are_titled(browser, address):
    context, page, outside = visit(browser, address, "design", "budget=20", 1440)
    try:
        playwright.expect(page).to_have_title("Design · Pairwright")
        page.get_by_role("link", name=re.compile("^(tune )?Weights|Weights$")).first.click()
        playwright.expect(page).to_have_title("Weights · Pairwright")
        settle(page)
        page.go_back()
        playwright.expect(page).to_have_title("Design · Pairwright")
        settle(page)
        assert "budget=20" in page.url
        assert outside == []
    finally:
        context.close()


def test_a_charts_buttons_cover_no_legend_and_its_numbers_come_as_a_file(browser, address):
    context, page, _ = visit(browser, address, "coverage", "", 1440)
    try:
        chart = page.locator(".js-plotly-plot").first
        chart.locator(".legend").wait_for()
        chart.hover()
        bar, legend = chart.locator(".modebar").bounding_box(), chart.locator(".legend").bounding_box()
        assert bar["y"] + bar["height"] <= legend["y"] or legend["y"] + legend["height"] <= bar["y"]
        page.get_by_role("button", name=re.compile("Picture, data")).first.click()
        with page.expect_download() as taken:
            page.get_by_role("button", name=re.compile("Its numbers")).first.click()
        text = taken.value.path().read_text(encoding="utf-8-sig")
        assert text.splitlines()[0].startswith("series,Fisher direction")
        assert "this batch" in text
    finally:
        context.close()


def test_the_menu_changes_the_theme_at_once(browser, address):
    context, page, _ = visit(browser, address, "design", "", 1440)
    try:
        page.get_by_test_id("stMainMenu").click()
        page.get_by_test_id("stMainMenuPopover").get_by_text("Dark").first.click()
        ground = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
        until(lambda: page.evaluate(ground), "rgb(18, 22, 28)")
        reads(page, "in the criterion")
    finally:
        context.close()
