"""Texts that would like to be more than text: inert on every page of a real browser, intact in every export."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from curation.batch.folder import read_batch
from curation.errors import ExportError
from curation.exchange.send import export_batch
from curation.exchange.tools.tables import unescape_cell
from curation.pool.readers.read import read_pool
from curation.representation.features_file import write_features
from curation.review.store.store import open_store
from tests.desk.browser import FLAGS, executable
from tests.desk.dashboards import server
from tests.desk.waiting import settle, until

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow
HOSTILE = [
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>",
    "<iframe src='http://outside.example/frame'></iframe><svg onload='window.hacked = 3'></svg>",
    "![a picture](http://outside.example/leak.png) [a link](javascript:window.hacked=4) $\\href{javascript:alert(1)}{x}$",
    "abc\u202edcb\u202c \u200f\u2066mark\u2069 :material/delete: :red[red]",
    "\x01\x07\x1b[31m\x7f before\x00after",
    "=cmd|' /C calc'!A0\t+1\n-2\n@SUM(A1)",
    "ab\u00e9\U0001f600 " * 180_000,
    "{{7*7}} ${window.hacked=5} %s </textarea></pre><b>bold</b>",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a pool in which every id, name, prompt and answer is hostile, and features for it."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "pools").mkdir()
    pool = folder / "pools" / "hostile.jsonl"
    with pool.open("w", encoding="utf-8") as handle:
        for x in range(8):
            responses = [
                {
                    "response_id": f"<b>r{k}</b>",
                    "text": HOSTILE[(x + k) % 8],
                    "generator": f"<img src=x onerror=alert({k})>",
                }
                for k in range(4)
            ]
            row = {
                "prompt_id": f"<i>p{x}</i>",
                "prompt": HOSTILE[x][:5000],
                "stratum": "=1+1<script>alert(1)</script>",
                "responses": responses,
            }
            handle.write(json.dumps(row) + "\n")
    read = read_pool(pool).pool
    rng = np.random.default_rng(0)
    write_features(folder / "pools" / "hostile.features.parquet", read.ids(), rng.standard_normal((32, 8)))
    return folder


def decisions() -> dict[str, str]:
    """What holds of the workspace's only batch, by pair."""
    store = open_store()
    found = {key: made.decision for stored in store.batches() for key, made in store.decisions(stored.batch_id).items()}
    store.close()
    return found


def test_hostile_texts_are_inert_on_every_page_and_leave_intact(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_HOME", str(home))
    path = executable()
    assert path is not None
    pool = home / "pools" / "hostile.jsonl"
    outside: list[str] = []
    dialogs: list[str] = []
    with server(home) as address, playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=FLAGS, timeout=180_000)
        page = chromium.new_context(viewport={"width": 1280, "height": 2400}).new_page()
        page.on("request", lambda r: outside.append(r.url) if "outside.example" in r.url else None)
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        for name in ("pool", "features", "design", "coverage", "map", "weights", "review", "signoff"):
            place = "" if name == "pool" else name
            page.goto(f"{address}/{place}?pool={pool}&budget=8", timeout=120_000)
            settle(page)
            summaries = page.locator("[data-testid='stExpander'] summary")
            for place in range(min(4, summaries.count())):
                summaries.nth(place).click()
            settle(page)
            text = page.inner_text("[data-testid='stMain']")
            assert "Traceback" not in text, name
            assert page.query_selector("[data-testid='stException']") is None, (name, text[:300])
            assert page.evaluate("window.hacked") is None, name
            assert page.query_selector("[data-testid='stMain'] iframe[src*=outside]") is None, name
            assert (
                page.query_selector("[data-testid='stMain'] img[src*=outside], [data-testid='stMain'] img[src=x]")
                is None
            ), name
            if name == "review":
                for key in "nnndnnnmnn":  # laid out, with the differences marked, as plain text
                    page.keyboard.press(key)
                    settle(page)
                    assert page.query_selector("[data-testid='stMain'] .st-key-answer_0 a, .st-key-answer_1 a") is None
                    assert page.query_selector("[data-testid='stMain'] .st-key-answer_0 img") is None
                assert page.evaluate("window.hacked") is None
                page.get_by_role("button", name="Act on the").click()
                settle(page)
                page.locator(".st-key-act_confirm button").click()
                settle(page)
                until(lambda: decisions() != {} and set(decisions().values()), {"approve"})
        chromium.close()
    assert outside == []
    assert dialogs == []
    store = open_store()
    (stored,) = store.batches()
    batch = read_batch(stored.folder)
    assert decisions() == {record["pair_id"]: "approve" for record in batch.records}
    refused = [r for r in batch.records if "\x00" in f"{r['prompt']}{r['response_a']}{r['response_b']}"]
    for to in ("csv", "label-studio"):  # their readers do not take it
        with pytest.raises(ExportError, match="NUL"):
            export_batch(batch.path, to=to, out=tmp_path / "out.x", store=store)  # type: ignore[arg-type]
    store.decide_many(batch.batch_id, [r["pair_id"] for r in refused], "reject", who="ana", reason="other")
    export_batch(batch.path, to="csv", out=tmp_path / "out.csv", store=store)
    export_batch(batch.path, to="label-studio", out=tmp_path / "out.json", store=store)
    sent = [r for r in batch.records if r not in refused]
    texts = {record[f"response_{side}"] for record in sent for side in "ab"}
    assert len(texts) >= 6
    csv.field_size_limit(10_000_000)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert {unescape_cell(row[side]) for row in rows for side in ("left", "right")} == texts
    assert not any(
        row[side].lstrip("'") == row[side] and row[side].startswith(("=", "+", "-", "@"))
        for row in rows
        for side in ("left", "right")
    )
    tasks = json.loads((tmp_path / "out.json").read_text())
    assert {task["data"][side] for task in tasks for side in ("answer1", "answer2")} == texts
    store.close()
