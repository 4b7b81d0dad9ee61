"""Whoever clicks and presses faster than a design is solved loses nothing: in a real browser."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.desk.dashboards import playwright, visit
from tests.desk.waiting import reads, settle, until


@pytest.mark.slow
def test_quick_clicks_and_key_presses_are_all_counted(browser: Any, address: str) -> None:
    context, page, _ = visit(browser, address, "design", "budget=40", 1280)
    try:
        plus = page.get_by_test_id("stNumberInputStepUp").first
        box = page.get_by_role("spinbutton", name="Budget (labels)")
        for wait in (150, 400):
            before = int(box.input_value())
            for _ in range(5):
                plus.click()
                page.wait_for_timeout(wait)
                assert box.count() == 1, "no ghost of the field"
            settle(page)
            until(lambda before=before: int(box.input_value()), before + 10)
            reads(page, f"worth these {before + 10} in the criterion")
            playwright.expect(page).to_have_url(re.compile(f"budget={before + 10}\\b"))
        slider = page.get_by_role("slider").first
        slider.focus()
        page.evaluate("window.before = document.activeElement")
        for _ in range(4):
            page.keyboard.press("ArrowRight")
            page.wait_for_timeout(250)
        settle(page)
        playwright.expect(page).to_have_url(re.compile(r"ridge=10\b"))
        assert page.evaluate("document.activeElement === window.before"), "the slider kept the focus"
        page.keyboard.press("ArrowLeft")
        settle(page)
        playwright.expect(page).to_have_url(re.compile(r"ridge=3\b"))
    finally:
        context.close()
