"""The Evidence page in a real Chromium: the backtest started and read there, policy experiments drawn from their files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from curation.run.prepare import load_pool
from tests.desk.dashboards import ROOT, SHOTS, check, server, visit
from tests.desk.pools import demo_pool, real_pool
from tests.desk.waiting import reads, settle, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture(scope="module")
def address(home):
    with server(home) as url:
        yield url


def test_the_backtest_runs_from_its_button_and_shows_verdict_curves_and_differences(browser, address, home):
    context, page, _ = visit(browser, address, "evidence", "", 1280)
    try:
        check(page, "evidence")
        before = len(page.query_selector_all(".js-plotly-plot"))
        page.get_by_role("button", name="Run 24 splits").click()
        reads(page, "Declared before looking", seconds=1200)
        settle(page)
        check(page, "evidence")
        until(lambda: page.locator(".js-plotly-plot").count(), before + 3)
        kept = json.loads((home / "backtests" / load_pool(demo_pool()).pool.fingerprint / "backtest.json").read_text())
        reads(page, kept["report"]["verdict"][:60])
        page.locator("[data-testid=stRadio] label").filter(has_text="farthest (Fisher)").click()
        settle(page)
        check(page, "evidence")
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/evidence-backtest.png", full_page=True)
    finally:
        context.close()


def test_policy_experiments_are_drawn_from_the_files_they_wrote(browser, address, home):
    reviews, dialogues = real_pool("reviews_polarity.jsonl.gz"), real_pool("hh_harmless_base_test.jsonl.gz")
    for arguments in (("imdb", "--data", str(reviews)), ("hh", "--pool", str(dialogues))):
        done = subprocess.run(
            [sys.executable, "-m", "curation", "experiment", *arguments, "--scale", "test"],
            capture_output=True, text=True, cwd=ROOT, env={**os.environ, "CURATION_HOME": str(home)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    context, page, _ = visit(browser, address, "evidence", "", 1280)
    try:
        check(page, "evidence")
        reads(page, "Prompt selection, beta 0.1: trace minus uniform", "the design's policy wins against uniform's")
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/evidence-policy.png", full_page=True)
    finally:
        context.close()
