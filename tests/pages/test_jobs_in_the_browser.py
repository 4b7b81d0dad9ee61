"""Long work in a real Chromium: a reload finds it again, so does a second tab, and what one of them ends has ended."""

from __future__ import annotations

import re

import pytest

from tests.desk.dashboards import playwright, visit
from tests.desk.waiting import MAIN, reads

pytestmark = pytest.mark.slow


def start(page) -> None:
    """Start, or go on, in the part of the page that folds away."""
    button = page.get_by_role("button", name="Start or resume")
    if not button.is_visible():
        page.get_by_test_id("stExpander").filter(has_text="Make features with a model").locator("summary").click()
    button.click()


def test_a_reload_and_a_second_tab_find_the_running_job_and_either_may_cancel_it(browser, address):
    context, page, _ = visit(browser, address, "features", "", 1280)
    try:
        start(page)
        running = re.compile(r"of [\d,]+ .+ a second")
        reads(page, running, seconds=300)  # a worker loads torch first
        page.reload()
        reads(page, running)
        other = context.new_page()
        other.goto(f"{address}/features", timeout=120_000)
        reads(other, running)
        for tab in (page, other):
            assert tab.get_by_role("button", name="Cancel").count() == 1
        other.get_by_role("button", name="Cancel").click()
        for tab in (other, page):
            reads(tab, "Cancelled; start again to go on from the finished parts.")
            playwright.expect(tab.locator(MAIN)).not_to_contain_text(running)
    finally:
        context.close()
