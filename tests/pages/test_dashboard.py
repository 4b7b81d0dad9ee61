"""The dashboard in a real Chromium: every page, at both widths, on every kind of pool; decisions survive a reload."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from curation.pool.readers.read import read_pool
from pages._navigation import page_files
from tests.desk.dashboards import SHOTS, check, playwright, server, visit
from tests.desk.pools import demo_pool, real_pool
from tests.desk.waiting import SIDEBAR, reads, settle, until

PAGES = [page.address for page in page_files()]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("width", [1280, 1600])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_the_demo_without_error_or_empty_figure(browser, address, name, width):
    context, page, outside = visit(browser, address, name, "", width)
    try:
        check(page, name)
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/{name}-{width}.png")
        assert outside == [], "the page asked for something outside this machine"
    finally:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_real_answers(browser, address, name):
    pool = real_pool("answers_dev.jsonl.gz")
    context, page, _ = visit(browser, address, name, f"pool={pool}", 1280)
    try:
        check(page, name)
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/dev-{name}.png")
    finally:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_given_pairs(browser, address, home, name, hh_features):
    pool = real_pool("hh_harmless_base_test.jsonl.gz")
    context, page, _ = visit(browser, address, name, f"pool={pool}&budget=175", 1280)
    try:
        check(page, name)
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/hh-{name}.png")
    finally:
        context.close()


@pytest.fixture(scope="module")
def hh_features(home) -> Path:
    """Features of the HH pool by the fitted model, few steps: enough to draw pages with."""
    from curation.representation.extract import extract
    from curation.representation.reference import FitSettings

    pool = read_pool(real_pool("hh_harmless_base_test.jsonl.gz")).pool
    out = home / "features" / f"{pool.fingerprint}-fit.parquet"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        extract(
            [prompt.prompt for prompt in pool.prompts],
            [[response.text for response in prompt.responses] for prompt in pool.prompts],
            pool.ids(),
            out=out,
            model="fit",
            fit=FitSettings(steps=20),
            pool_fingerprint=pool.fingerprint,
        )
    return out


def test_budget_and_ridge_change_the_answer(browser, address):
    context, page, _ = visit(browser, address, "design", "", 1280)
    try:
        field = page.get_by_role("spinbutton", name="Budget (labels)")
        field.fill("20")
        field.press("Enter")
        settle(page)
        reads(page, "worth these 20 in the criterion")
        before = page.inner_text("[data-testid='stMetric'] >> nth=0")
        slider = page.get_by_role("slider").first
        slider.press("ArrowLeft")
        slider.press("ArrowLeft")
        settle(page)
        until(lambda: page.inner_text("[data-testid='stMetric'] >> nth=0") != before, True)
        playwright.expect(page).to_have_url(re.compile("budget=20"), timeout=60_000)
        playwright.expect(page).to_have_url(re.compile(r"ridge=\d"), timeout=60_000)
    finally:
        context.close()


def test_decisions_survive_a_reload_and_a_second_tab(browser, address):
    context, page, _ = visit(browser, address, "review", "budget=15", 1280)
    try:
        page.get_by_role("button", name=re.compile(r"\bApprove\b(?! \d)")).first.click()
        told = re.compile(r"\b1 approved", re.I)
        reads(page, told)
        settle(page)
        url = page.url
        page.reload()
        settle(page)
        reads(page, told)
        other = context.new_page()
        other.goto(url, timeout=120_000)
        settle(other)
        reads(other, told)
    finally:
        context.close()


def test_a_fresh_server_opens_a_page_by_its_own_address(browser, tmp_path):
    with server(tmp_path) as url:
        started = time.monotonic()
        context, page, _ = visit(browser, url, "design", "budget=20&ridge=1", 1280)
        print(f"\nfresh server to solved design: {time.monotonic() - started:.1f} s")
        try:
            check(page, "design")
            reads(page, "Evidence", where=SIDEBAR)
            reads(page, "worth these 20 in the criterion")
            playwright.expect(page).to_have_url(re.compile("ridge=1"), timeout=60_000)
        finally:
            context.close()


def test_the_demo_pool_is_bundled_with_features():
    assert demo_pool().is_file()
    assert demo_pool().with_name("demo.features.parquet").is_file()
