"""The dashboard in a real Chromium: every page, at both widths, on every kind of pool; decisions survive a reload."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curation.pool.readers.read import read_pool
from tests.desk.browser import FLAGS, executable
from tests.desk.pools import demo_pool, real_pool
from tests.desk.waiting import SIDEBAR, answering, ended, free_port, reads, settle, until

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["pool", "features", "design", "coverage", "map", "weights", "review", "signoff", "evidence"]
PLOTS = {"pool": 2, "features": 3, "design": 2, "coverage": 3, "map": 1, "weights": 3, "evidence": 1}
SHOTS = os.environ.get("CURATION_SCREENSHOTS")

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow


@contextmanager
def server(home: Path) -> Iterator[str]:
    """The real app on a free port; ends with the block."""
    port = free_port()
    environment = {**os.environ, "CURATION_HOME": str(home)}
    log = (home / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        answering(process, f"http://127.0.0.1:{port}", home / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        ended(process)
        log.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def address(home) -> Iterator[str]:
    with server(home) as url:
        yield url


@pytest.fixture(scope="module")
def browser():
    path = executable()
    if path is None:
        pytest.fail("no Chromium: run `make test`, which installs one")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS, timeout=180_000)
        yield chromium
        chromium.close()


def check(page, name: str) -> None:
    """No error on screen, and every figure holds marks."""
    text = page.inner_text("[data-testid='stMain']")
    assert "Traceback" not in text
    assert page.query_selector("[data-testid='stException']") is None, text[:400]
    errors = [box.inner_text() for box in page.query_selector_all("[data-testid='stAlertContentError']")]
    assert errors == [], errors
    drawn = page.locator(
        ".js-plotly-plot"
    )  # figures are drawn after the script has ended; on a busy machine well after
    until(lambda: drawn.count() >= PLOTS.get(name, 0) or f"{name}: {drawn.count()} figures", True)
    marks = ".point, .bars path, .barlayer path, .scatterlayer path, .heatmaplayer image, .violinlayer path, .boxlayer path, canvas.gl-canvas, .pielayer path"
    until(lambda: drawn.evaluate_all("(all, marks) => all.filter((one) => !one.querySelector(marks)).length", marks), 0)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    until(lambda: max(page.evaluate(wide), 1), 1)  # px wider than the window: one is a rounding


def visit(browser, address: str, page_name: str, query: str, width: int):
    context = browser.new_context(viewport={"width": width, "height": 2600}, accept_downloads=True)
    page = context.new_page()
    outside = []
    page.on(
        "request",
        lambda request: (
            outside.append(request.url)
            if not request.url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))
            else None
        ),
    )
    path = "" if page_name == "pool" else page_name  # the default page lives at the root
    page.goto(f"{address}/{path}?{query}", timeout=120_000)
    settle(page)
    return context, page, outside


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
        reads(page, "20", where="[data-testid='stMetric'] >> nth=0")
        before = page.inner_text("[data-testid='stMetric'] >> nth=1")
        slider = page.get_by_role("slider").first
        slider.press("ArrowLeft")
        slider.press("ArrowLeft")
        settle(page)
        until(lambda: page.inner_text("[data-testid='stMetric'] >> nth=1") != before, True)
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
            reads(page, "20", where="[data-testid='stMetric'] >> nth=0")
            playwright.expect(page).to_have_url(re.compile("ridge=1"), timeout=60_000)
        finally:
            context.close()


def test_the_demo_pool_is_bundled_with_features():
    assert demo_pool().is_file()
    assert demo_pool().with_name("demo.features.parquet").is_file()
