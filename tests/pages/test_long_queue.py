"""A batch of fifty thousand pairs in a real Chromium: pages of the queue, a decision, and how long an answer takes."""

from __future__ import annotations

import gzip
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest

from curation.representation.features_file import write_features
from curation.run.prepare import load_pool
from tests.desk.dashboards import server
from tests.desk.waiting import reads, settle

pytestmark = pytest.mark.slow
PAIRS = 50_000


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25,000 prompts with four answers each, and features of eight columns."""
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(0)
    words = np.array("river stone cloud amber field winter letter garden window paper copper signal".split())
    path = folder / "long.jsonl.gz"
    with gzip.open(path, "wt", compresslevel=1) as out:
        for x in range(PAIRS // 2):
            texts = [" ".join(rng.choice(words, 30)) for _ in range(4)]
            row = {"prompt_id": f"p{x:05d}", "prompt": f"question {x}", "responses": [{"text": t} for t in texts]}
            out.write(json.dumps(row) + "\n")
    ids = load_pool(path).pool.ids()
    write_features(folder / "long.features.parquet", ids, rng.standard_normal((len(ids), 8)))
    return path


def test_a_long_queue_is_shown_in_parts_and_answers_at_once(browser, pool, tmp_path, monkeypatch, record_property):
    monkeypatch.setenv("CURATION_POOLS", str(pool.parent))
    with server(tmp_path) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 1500})
        page = context.new_page()
        page.goto(f"{address}/review?pool={pool}&budget={PAIRS}&dim=6", timeout=120_000)
        reads(page, "Prompt (1 of 50,000)", seconds=900)
        settle(page)
        reads(page, "1 to 200 of 50,000")
        seconds = []
        for place in range(2, 8):
            started = time.perf_counter()
            page.locator(".st-key-next button").click()
            page.get_by_text(f"Prompt ({place} of 50,000)").wait_for(timeout=120_000)
            seconds.append(time.perf_counter() - started)
            settle(page)
        page.locator(".st-key-approve button").click()
        reads(page, "1 approved", "1 of 50,000 decided")
        settle(page)
        page.locator(".st-key-later_rows button").click()
        reads(page, "201 to 400 of 50,000", "Prompt (201 of 50,000)")
        settle(page)
        page.locator(".st-key-undo button").click()
        reads(page, "0 of 50,000 decided")
        record_property("median seconds to the next pair", statistics.median(seconds))
        print(f"next pair of a queue of {PAIRS:,}: median {statistics.median(seconds):.2f} s, cores {os.cpu_count()}")
        context.close()
