"""An upload on the Pool page counts what `check` counts, in a real browser."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from curation.pool.readers import read_pool
from tests.test_dashboard import browser, server, settle

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow
__all__ = ["browser"]

BROKEN = [
    ["Frage", "Antwort", "Note"],
    ["Q1", "a", "1"],
    ["Q1", "b", "x"],
    ["", "c", "2"],
    ["Q2", "d"],
    ["Q3", "e", "3"],
]


def figures(page) -> dict[str, str]:
    """The metrics of the page by their labels."""
    return {
        metric.inner_text().split("\n")[0]: metric.inner_text().split("\n")[-1]
        for metric in page.query_selector_all("[data-testid='stMetric']")
    }


def upload(page, path: Path) -> None:
    page.set_input_files("[data-testid='stFileUploaderDropzoneInput']", str(path))
    page.wait_for_timeout(1500)
    settle(page)


def test_an_upload_shows_the_counts_of_check(browser, tmp_path: Path) -> None:
    preference = tmp_path / "preference.csv"
    preference.write_text("prompt,chosen,rejected\nQ1?,good,bad\nQ2?,fine,poor\n,x\n")
    flat = tmp_path / "flat.csv"
    with flat.open("w", newline="") as handle:
        csv.writer(handle).writerows(BROKEN)
    home = tmp_path / "home"
    home.mkdir()
    with server(home) as address:
        page = browser.new_page(viewport={"width": 1500, "height": 1600})
        page.goto(address)
        settle(page)
        upload(page, preference)
        expected = read_pool(preference)
        shown = figures(page)
        assert (shown["Rows used"], shown["Rows rejected"]) == (str(expected.rows_used), str(len(expected.rejects)))
        assert "Read as trl" in page.inner_text("[data-testid='stMain']")
        page = browser.new_page(viewport={"width": 1500, "height": 1600})
        page.goto(address)
        settle(page)
        upload(page, flat)
        for field, column in (("prompt", "Frage"), ("response", "Antwort"), ("quality", "Note")):
            page.get_by_label(field, exact=True).first.focus()
            page.keyboard.type(column)
            page.keyboard.press("Enter")
            page.wait_for_timeout(300)
        page.get_by_role("button", name="Read with these columns").click()
        page.wait_for_timeout(1500)
        settle(page)
        expected = read_pool(flat, mapping={"prompt": "Frage", "response": "Antwort", "quality": "Note"})
        shown = figures(page)
        assert (expected.rows_used, len(expected.rejects)) == (2, 3)
        assert (shown["Rows used"], shown["Rows rejected"]) == ("2", "3")
        text = page.inner_text("[data-testid='stMain']")
        assert "Read as flat" in text
        assert "1 values of 'Note' are no number" in text
