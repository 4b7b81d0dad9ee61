"""From a point or a direction to the queue, and from a signed batch to the next one, in a simulated browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from curation.batch.folder import REPORT, read_batch
from curation.review.signing_key import KEY
from curation.review.store.store import Store, open_store
from tests.desk.pools import ROOT


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace of this module's own."""
    folder = tmp_path_factory.mktemp("linked")
    told = {"CURATION_HOME": str(folder), "CURATION_ALLOW_REMOTE": "1", KEY: str(folder.parent / "linked-key.pem")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**told, "LOGNAME": "ana"}.items():
            patch.setenv(name, value)
        for name in ("DATABASE_URL", "CURATION_SELF_SIGN"):
            patch.delenv(name, raising=False)
        yield folder


def opened(name: str, **query: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    for key, value in {"budget": "12", "seed": "907", **query}.items():  # a design that no other file has solved
        page.query_params[key] = value
    page.switch_page(f"pages/{name}.py").run()
    assert not page.exception, page.exception
    return page


def words(page: AppTest) -> str:
    kinds = ("title", "header", "markdown", "caption", "info", "warning", "error", "success")
    return "\n".join(str(element.value) for kind in kinds for element in page.get(kind))


def test_a_direction_leads_to_the_queue_of_its_pairs(home: Path) -> None:
    page = opened("coverage", direction="2")
    assert "uniform labels would" in words(page)
    button = page.button(key="direction_review")
    count = button.label.split()[2]
    button.click().run()
    page.switch_page("pages/review.py").run()
    assert [b.label for b in page.button if b.key == "drop_map_queue"] == [
        f"Showing {count} pairs that serve direction 2: show all"
    ]
    assert f"{count} pairs in the queue" in words(page)


def test_the_pair_of_an_address_is_shown_on_the_map_and_leads_to_its_review(home: Path) -> None:
    page = opened("review")
    pair = page.session_state["page_pair"]
    page = opened("map", pair=pair)
    assert f"**Pair {pair}**" in words(page)
    assert "In the batch: without it the criterion would be" in words(page)
    assert page.query_params["pair"] in (pair, [pair])
    page.button(key="map_review_one").click().run()
    page.switch_page("pages/review.py").run()
    assert "1 pairs in the queue" in words(page)


def test_a_pair_of_the_map_can_be_excluded_and_the_design_goes_without_it(home: Path) -> None:
    page = opened("review")
    pair = page.session_state["page_pair"]
    page = opened("map", pair=pair)
    page.button(key="map_exclude").click().run()
    assert "excluded" in words(page)
    assert page.session_state["view"].exclude.endswith("exclude.csv")
    assert "Not in the batch." in words(page)
    page.button(key="map_pin").click().run()
    assert page.session_state["view"].exclude == ""
    assert "In the batch" in words(page)


def approve_all() -> tuple[Store, Any]:
    store = open_store()
    page = opened("review")
    if not store.batches():
        page.button(key="keep_batch").click().run()
    (stored,) = store.batches()
    batch = read_batch(stored.folder)
    store.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="ana")
    return store, batch


def test_sign_off_says_why_not_signs_with_a_report_and_starts_the_next_batch(home: Path, monkeypatch: Any) -> None:
    store, batch = approve_all()
    page = opened("signoff")
    assert "ana proposed this batch" in words(page), words(page)
    assert page.button(key="sign").disabled
    assert "12 by one act on everything a filter showed" in words(page)
    assert "Hours of annotators" in [metric.label for metric in page.metric]
    assert "The next batch goes on from this one once it is signed" in words(page)
    monkeypatch.setenv("LOGNAME", "cat")
    page = opened("signoff")
    for box in page.checkbox:
        if str(box.label).startswith("I have read this"):
            box.check()
    page.run()
    assert page.button(key="sign").disabled  # not confirmed yet
    next(box for box in page.checkbox if str(box.key).startswith("sure_")).check().run()
    store.decide(batch.batch_id, batch.records[0]["pair_id"], "flag", who="ana")  # meanwhile
    page.button(key="sign").click().run()
    assert [error.value for error in page.error if "cannot be signed" in error.value]
    assert "Trail" in [title.value for title in page.header]  # a refusal does not end the page
    store.decide(batch.batch_id, batch.records[0]["pair_id"], "approve", who="ana")
    page = opened("signoff")
    for box in page.checkbox:
        if str(box.label).startswith("I have read this"):
            box.check()
    page.run()
    next(box for box in page.checkbox if str(box.key).startswith("sure_")).check().run()
    page.button(key="sign").click().run()
    assert "Signed by cat at" in words(page)
    assert (batch.path / REPORT).is_file()

    monkeypatch.setenv(KEY, os.environ[KEY] + "-another")  # the same batch, seen from a machine with another key
    from curation.review.signing_key import private_key

    private_key()
    page = opened("signoff")
    assert "Not what was signed" not in words(page)
    field = next(box for box in page.text_input if str(box.key).startswith("public_key_"))
    key = next(event for event in store.events(batch.batch_id) if event.kind == "sign").body["public_key"]
    field.set_value(key).run()
    assert "Signed by cat at" in words(page)

    page.number_input(key="next_budget").set_value(10).run()
    page.button(key="next_batch").click().run()
    after = next(one for one in store.batches() if one.batch_id != batch.batch_id)
    assert read_batch(after.folder).manifest["previous"]["batches"] == [batch.batch_id]
    assert page.session_state["page_batch"] == after.batch_id
    store.close()
