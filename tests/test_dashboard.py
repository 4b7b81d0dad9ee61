"""The dashboard in a real Chromium: every page, at both widths, on every kind of pool; decisions survive a reload."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curation.pool.readers import read_pool
from tests.browser import FLAGS, executable
from tests.pools import demo_pool, real_pool

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["pool", "features", "design", "coverage", "map", "weights", "review", "signoff", "evidence"]
PLOTS = {"pool": 2, "features": 3, "design": 2, "coverage": 3, "map": 1, "weights": 3, "evidence": 1}
SHOTS = os.environ.get("CURATION_SCREENSHOTS")

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow


@contextmanager
def server(home: Path) -> Iterator[str]:
    """The real app on a free port; ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
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
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


def settle(page, *, timeout: float = 120) -> None:
    """Wait until the app has run to its end and figures are drawn."""
    page.wait_for_selector("[data-testid='stApp']", timeout=timeout * 1000)
    deadline, calm = time.monotonic() + timeout, 0
    while time.monotonic() < deadline and calm < 4:
        state = page.evaluate("document.querySelector('[data-testid=stApp]').dataset.testScriptState || ''")
        busy = page.query_selector("[data-testid='stStatusWidget'], [data-testid='stSpinner']")
        calm = calm + 1 if state in ("notRunning", "") and busy is None else 0
        page.wait_for_timeout(250)
    assert calm >= 4, "the page did not come to rest"


def check(page, name: str) -> None:
    """No error on screen, and every figure holds marks."""
    text = page.inner_text("[data-testid='stMain']")
    assert "Traceback" not in text
    assert page.query_selector("[data-testid='stException']") is None, text[:400]
    errors = [box.inner_text() for box in page.query_selector_all("[data-testid='stAlertContentError']")]
    assert errors == [], errors
    for _ in range(120):  # figures are drawn after the script has ended; on a busy machine well after
        if len(page.query_selector_all(".js-plotly-plot")) >= PLOTS.get(name, 0):
            break
        page.wait_for_timeout(250)
    figures = page.query_selector_all(".js-plotly-plot")
    assert len(figures) >= PLOTS.get(name, 0), f"{name}: {len(figures)} figures"
    marks = ".point, .bars path, .barlayer path, .scatterlayer path, .heatmaplayer image, .violinlayer path, .boxlayer path, canvas.gl-canvas, .pielayer path"
    for figure in figures:
        assert figure.query_selector(marks) is not None, f"{name}: an empty figure"
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 1, f"{name}: {wide} px wider than the window"


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
    page.goto(f"{address}/{path}?{query}")
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
        before = page.inner_text("[data-testid='stMetric'] >> nth=1")
        field = page.get_by_role("spinbutton", name="Budget (labels)")
        field.fill("20")
        field.press("Enter")
        settle(page)
        labels = page.inner_text("[data-testid='stMetric'] >> nth=0")
        assert "20" in labels
        slider = page.get_by_role("slider").first
        slider.press("ArrowLeft")
        slider.press("ArrowLeft")
        settle(page)
        assert page.inner_text("[data-testid='stMetric'] >> nth=1") != before
        assert "budget=20" in page.url
        assert re.search(r"ridge=\d", page.url)
    finally:
        context.close()


def test_decisions_survive_a_reload_and_a_second_tab(browser, address):
    context, page, _ = visit(browser, address, "review", "budget=15", 1280)
    try:
        page.get_by_role("button", name=re.compile(r"\bApprove\b(?! \d)")).first.click()
        page.get_by_text(re.compile(r"\b1 approved", re.I)).first.wait_for(timeout=30_000)  # a click may begin late
        settle(page)
        url = page.url
        assert re.search(r"\b1 approved", page.inner_text("[data-testid='stMain']"), re.I)
        page.reload()
        settle(page)
        assert re.search(r"\b1 approved", page.inner_text("[data-testid='stMain']"), re.I)
        other = context.new_page()
        other.goto(url)
        settle(other)
        assert re.search(r"\b1 approved", other.inner_text("[data-testid='stMain']"), re.I)
    finally:
        context.close()


def test_a_fresh_server_opens_a_page_by_its_own_address(browser, tmp_path):
    with server(tmp_path) as url:
        started = time.monotonic()
        context, page, _ = visit(browser, url, "design", "budget=20&ridge=1", 1280)
        print(f"\nfresh server to solved design: {time.monotonic() - started:.1f} s")
        try:
            check(page, "design")
            assert "Evidence" in page.inner_text("[data-testid='stSidebar']")
            assert "20" in page.inner_text("[data-testid='stMetric'] >> nth=0")
            assert "ridge=1" in page.url
        finally:
            context.close()


def test_the_demo_pool_is_bundled_with_features():
    assert demo_pool().is_file()
    assert demo_pool().with_name("demo.features.parquet").is_file()
