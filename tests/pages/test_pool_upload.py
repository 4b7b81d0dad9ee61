"""An upload on the Pool page counts what `check` counts, in a real browser."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from curation.pool.readers.read import read_pool
from tests.desk.dashboards import server
from tests.desk.waiting import reads, settle, until

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow

BROKEN = [
    ["Frage", "Antwort", "Note"],
    ["Q1", "a", "1"],
    ["Q1", "b", "x"],
    ["", "c", "2"],
    ["Q2", "d"],
    ["Q3", "e", "3"],
]


def counts(page) -> tuple[str | None, str | None]:
    """Rows used and rejected, as the page's metrics tell them."""
    told = [text.split("\n") for text in page.locator("[data-testid='stMetric']").all_inner_texts()]
    shown = {lines[0]: lines[-1] for lines in told}
    return shown.get("Rows used"), shown.get("Rows rejected")


def upload(page, path: Path) -> None:
    page.set_input_files("[data-testid='stFileUploaderDropzoneInput']", str(path))
    page.get_by_text(path.name).first.wait_for(timeout=120_000)
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
        page.goto(address, timeout=120_000)
        settle(page)
        upload(page, preference)
        expected = read_pool(preference)
        reads(page, "Read as trl")
        until(lambda: counts(page), (str(expected.rows_used), str(len(expected.rejects))))
        page = browser.new_page(viewport={"width": 1500, "height": 1600})
        page.goto(address, timeout=120_000)
        settle(page)
        upload(page, flat)
        reads(page, "Prompt (required)", "Response (required)")
        for label, column in (
            ("Prompt (required)", "Frage"),
            ("Response (required)", "Antwort"),
            ("Known score", "Note"),
        ):
            chosen = page.get_by_role("combobox", name=label)
            until(lambda chosen=chosen: chosen.input_value(), column)
        page.get_by_role("button", name="Read with these columns").click()
        settle(page)
        expected = read_pool(flat, mapping={"prompt": "Frage", "response": "Antwort", "quality": "Note"})
        assert (expected.rows_used, len(expected.rejects)) == (2, 3)
        reads(page, "Read as flat", "1 values of 'Note' are no number")
        until(lambda: counts(page), ("2", "3"))
