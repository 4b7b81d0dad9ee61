"""What your labels say, in a real Chromium: a pilot from its button, its labels, the design that goes on from them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from curation.batch.folder import read_batch
from curation.batch.presentation import decode_side, sheet_original
from curation.exchange.receive import import_labels
from curation.exchange.send import export_batch
from curation.review.store.store import open_store
from curation.run.prepare import load_pool
from tests.desk.dashboards import SHOTS, check, server
from tests.desk.pools import demo_pool
from tests.desk.waiting import playwright, reads, settle, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("learnt")


@pytest.fixture(scope="module")
def address(home):
    with server(home) as url:
        yield url


def answer(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Label a batch by the demo's known quality, with noise, as annotators would."""
    monkeypatch.setenv("CURATION_HOME", str(home))
    quality = load_pool(demo_pool()).truth.quality
    store, batch, rng = open_store(), read_batch(folder), np.random.default_rng(0)
    store.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="ana")
    out = home / "answers.csv"
    export_batch(folder, to="csv", out=out, store=store, who="ana")
    records = {r["pair_id"]: r for r in batch.records}
    with out.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    scale = np.std(list(quality.values()))
    for row in rows:
        record = records[sheet_original(row["pair_id"])]
        sides = [decode_side(row[name], record, batch.manifest["batch_seed"]) for name in ("left_id", "right_id")]
        left, right = (quality[record["prompt_id"], record[f"response_{side}_id"]] for side in sides)
        won = "left" if rng.random() < expit(3 * (left - right) / scale) else "right"
        row |= {"preference": won, "annotator": "u"}
    with out.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    import_labels(folder, out, store=store, who="ana")
    store.close()


def shot(page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def go(page, address: str, name: str) -> None:
    """A page that has come to rest; a slow server is waited for by what the page must show."""
    page.goto(f"{address}/{name}?budget=90", timeout=120_000)
    reads(page, "What your labels say" if name == "design" else "What the method assumes", seconds=600)
    settle(page)


def test_a_pilot_is_planned_labelled_and_gone_on_from(browser, address, home, monkeypatch):
    context = browser.new_context(viewport={"width": 1280, "height": 2600})
    page = context.new_page()
    try:
        go(page, address, "design")
        check(page, "design")
        reads(page, "No batch of this pool has labels yet")
        shot(page, "learnt-design-before")
        page.get_by_role("button", name="Plan a pilot").click()
        page.wait_for_url("**/review**", timeout=600_000)
        settle(page)
        check(page, "review")
        until(lambda: any((home / "batches").iterdir()), True)
        pilots = [read_batch(folder) for folder in (home / "batches").iterdir()]
        made = [batch for batch in pilots if batch.manifest["pilot"]]
        assert [batch.manifest["pilot"] for batch in made] == [{"labels": 30, "of": 90}]
        answer(home, made[0].path, monkeypatch)
        go(page, address, "design")
        check(page, "design")
        reads(page, "Held-out accuracy", "30 labels of 1 batch of this pool")
        budget = page.get_by_role("spinbutton", name="Budget of the next batch")
        playwright.expect(budget).to_have_value("60", timeout=60_000)
        shot(page, "learnt-design-after")
        go(page, address, "evidence")
        check(page, "evidence")
        reads(page, "Held-out accuracy")
        shot(page, "learnt-evidence")
        go(page, address, "design")
        page.get_by_role("button", name="Design again from these labels").click()
        page.wait_for_url("**/review**", timeout=600_000)
        settle(page)
        check(page, "review")
        batches = [read_batch(folder) for folder in (home / "batches").iterdir()]
        following = [batch for batch in batches if batch.manifest["previous"]]
        assert len(following) == 1
        assert following[0].manifest["learnt"]["labels"] == 30
        assert following[0].manifest["settings"]["budget"] == 60
        labelled = {record["pair_id"] for record in made[0].records}
        assert not labelled & {record["pair_id"] for record in following[0].records}
    finally:
        context.close()
