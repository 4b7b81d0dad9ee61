"""The Review and Pool pages in a simulated browser: what a person has set stays, known outcomes show."""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from curation.batch.folder import read_batch
from curation.health.foregone import foregone_pairs
from curation.pool.pair_lists import named_pair
from curation.pool.readers.read import read_pool
from curation.review.store.store import Store, open_store
from tests.desk.pools import ROOT, demo_pool

CHANCE = "random, the same for everybody"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    monkeypatch.setenv("CURATION_ALLOW_REMOTE", "1")  # the simulated browser has no address
    monkeypatch.delenv("DATABASE_URL", raising=False)
    opened = open_store()
    yield opened
    opened.close()


def opened(name: str, **query: str) -> AppTest:
    """A page in a session of its own, as after a reload."""
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    for key, value in {"budget": "24", **query}.items():
        page.query_params[key] = value
    page.switch_page(f"pages/{name}.py").run()
    assert not page.exception, page.exception
    return page


def words(page: AppTest) -> str:
    return "\n".join(str(element.value) for kind in ("markdown", "caption", "success") for element in page.get(kind))


def test_filters_order_and_blind_mode_outlast_other_pages_and_reloads(store: Store) -> None:
    page = opened("review")
    assert store.views(who="root") == store.views(who="ana") == {}, "looking keeps nothing"
    page.toggle(key="blind").set_value(True).run()
    page.selectbox(key="filter_sort").set_value(CHANCE).run()
    page.multiselect(key="filter_states").set_value(["undecided"]).run()
    page.text_input(key="filter_words").set_value("the").run()
    page.button(key="mode_text").click().run()
    order = [frame.value["pair_id"].tolist() for frame in page.dataframe]
    page.switch_page("pages/pool.py").run()
    page.switch_page("pages/review.py").run()
    for seen in (page, opened("review")):
        assert seen.toggle(key="blind").value is True
        assert seen.selectbox(key="filter_sort").value == CHANCE
        assert seen.multiselect(key="filter_states").value == ["undecided"]
        assert seen.text_input(key="filter_words").value == "the"
        assert [frame.value["pair_id"].tolist() for frame in seen.dataframe] == order
        assert "Plain text" not in {button.label for button in seen.button}, "the answers are shown plain already"
    page.toggle(key="blind").set_value(False).run()
    assert opened("review").toggle(key="blind").value is False


def test_known_outcomes_are_marked_counted_and_filtered(store: Store) -> None:
    page = opened("review")
    page.button(key="keep_batch").click().run()
    (stored,) = store.batches()
    batch, pool = read_batch(stored.folder), read_pool(demo_pool()).pool
    known = {named_pair(pool, pair) for pair, _ in foregone_pairs(pool)}
    mine = {r["pair_id"] for r in batch.records if (r["prompt_id"], r["response_a_id"], r["response_b_id"]) in known}
    assert mine, "the demo's batch has one"
    page.checkbox(key="filter_known").set_value(True).run()
    assert set(page.dataframe[0].value["pair_id"]) == mine
    assert ":orange-badge[" in words(page)
    assert "Outcome known: 1" in {button.label for button in page.button}
    page.button(key="clear_filters").click().run()
    assert len(page.dataframe[0].value) == len(batch.records)


def test_pairs_that_need_nobody_are_excluded_on_the_pool_page_and_taken_back(store: Store) -> None:
    page = opened("pool")
    pool = read_pool(demo_pool()).pool
    page.button(key="exclude_known").click().run()
    assert not page.error, [error.value for error in page.error]
    count = len(foregone_pairs(pool))
    assert f"{count:,} of {pool.n_pairs:,} pairs are excluded" in words(page)
    assert "exclude_known" not in {button.key for button in page.button}
    listed = page.query_params["exclude"]
    page.button(key="exclude_alike").click().run()
    assert page.query_params["exclude"] != listed
    page.button(key="exclude_none").click().run()
    assert "exclude" not in page.query_params
    assert "are excluded" not in words(page)


def test_a_second_press_of_ones_own_key_is_nobodys_conflict(store: Store) -> None:
    page = opened("review")
    page.button(key="keep_batch").click().run()
    (stored,) = store.batches()
    key = in_view(page)
    page.button(key="approve").click()
    store.decide(stored.batch_id, key, "approve", who=store_person(page))  # the first press, counted meanwhile
    page.run()
    assert not page.warning, [warning.value for warning in page.warning]
    assert [made.decision for made in store.decisions(stored.batch_id).values()] == ["approve"]
    page = opened("review", pair=key)
    page.button(key="flag").click()
    store.decide(stored.batch_id, key, "reject", who=store_person(page), reason="other")
    page.run()
    assert "was not counted" in page.warning[0].value
    assert store.decisions(stored.batch_id)[key].decision == "reject"


def test_an_undo_that_is_delivered_twice_takes_back_one_action(store: Store) -> None:
    page = opened("review")
    page.button(key="keep_batch").click().run()
    (stored,) = store.batches()
    for _ in range(2):
        page.button(key="approve").click().run()
    page.button(key="undo").click()
    store.undo_action(stored.batch_id, who=store_person(page))  # the same press, once already
    page.run()
    assert sorted(made.decision for made in store.decisions(stored.batch_id).values()) == ["approve", "clear"]
    page.button(key="undo").click().run()
    assert {made.decision for made in store.decisions(stored.batch_id).values()} == {"clear"}


def in_view(page: AppTest) -> str:
    """The pair whose figures are shown."""
    found = re.search(r"pair ([0-9a-f]{16}), ", words(page))
    assert found is not None
    return found[1]


def store_person(page: AppTest) -> str:
    """Who the page takes its user for."""
    return getpass.getuser()
