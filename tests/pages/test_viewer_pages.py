"""The pages for somebody who may only look: nothing is written by opening them, and the buttons refuse in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from curation.review.store.store import Store, open_store
from tests.desk.pools import ROOT
from tests.desk.viewing import contents, files_of


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    monkeypatch.setenv("CURATION_ALLOW_REMOTE", "1")  # the simulated browser has no address
    monkeypatch.delenv("DATABASE_URL", raising=False)
    opened = open_store()
    opened.set_role("ada", "admin", who="ada")
    for name, role in (("ana", "approver"), ("cat", "approver"), ("vic", "viewer")):
        opened.set_role(name, role, who="ada")
    yield opened
    opened.close()


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open a page as the operating system's user of a name."""

    def visited(who: str, name: str, **query: str) -> Any:
        monkeypatch.setenv("LOGNAME", who)
        page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
        for key, value in {"budget": "12", **query}.items():
            page.query_params[key] = value
        page.run()
        page.switch_page(f"pages/{name}.py").run()
        assert not page.exception, page.exception
        return page

    return visited


@pytest.mark.slow
def test_a_viewer_opens_pages_and_writes_nothing_and_the_designer_is_the_author(
    store: Store, visit: Any, tmp_path: Path
) -> None:
    before, files = contents(store.place), files_of(tmp_path)
    for name in ("pool", "design", "review", "signoff"):
        page = visit("vic", name)
        assert contents(store.place) == before, name
        assert files_of(tmp_path) == files, name
    assert any("may only look" in note.value for note in page.info)
    page = visit("vic", "design")
    page.text_input(key="scenario_name").set_value("mine").run()
    page.button(key="scenario_save").click().run()
    assert any("may not do this" in error.value for error in page.error)
    assert contents(store.place) == before

    visit("ana", "design", budget="13")  # the design is ana's ...
    page = visit("cat", "review", budget="13")  # ... though cat is the first to look at its batch
    assert store.batches() == []
    page.button(key="keep_batch").click().run()
    (batch,) = store.batches()
    assert batch.created_by == "ana"
    (first,) = store.events(batch.batch_id)
    assert (first.who, first.body["author"]) == ("cat", "ana")

    before, files = contents(store.place), files_of(tmp_path)
    page = visit("vic", "review", budget="13")
    assert not page.info or not any("may only look" in note.value for note in page.info)
    page.button(key="approve").click().run()
    assert any("may not do this" in text.value for text in [*page.warning, *page.error, *page.info, *page.caption])
    assert contents(store.place) == before
    assert files_of(tmp_path) == files


def test_a_viewer_sees_a_batch_that_is_kept_though_the_present_design_is_not(
    store: Store, visit: Any, tmp_path: Path
) -> None:
    visit("ana", "review", budget="13").button(key="keep_batch").click().run()
    before, files = contents(store.place), files_of(tmp_path)
    page = visit("vic", "review", budget="12")
    assert contents(store.place) == before
    assert files_of(tmp_path) == files
    assert not any("may only look" in note.value for note in page.info)
    assert len(store.batches()) == 1
