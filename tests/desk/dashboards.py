"""A running dashboard and a browser in front of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.desk.browser import FLAGS, executable
from tests.desk.waiting import answering, ended, free_port, settle, until

ROOT = Path(__file__).resolve().parents[2]


PLOTS = {"pool": 2, "features": 3, "design": 2, "coverage": 3, "map": 1, "weights": 3, "evidence": 1}


SHOTS = os.environ.get("CURATION_SCREENSHOTS")


playwright = pytest.importorskip("playwright.sync_api")


@contextmanager
def server(home: Path) -> Iterator[str]:
    """The real app on a free port; ends with the block."""
    port = free_port()
    environment = {"CURATION_MAP_WORKER": "0", **os.environ, "CURATION_HOME": str(home)}
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
