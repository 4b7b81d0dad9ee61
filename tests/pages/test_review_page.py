"""The Review page in a real Chromium: keys, blind mode, acts on everything shown, views, replacing, two reviewers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from curation.batch.folder import read_batch
from curation.health.foregone import foregone_pairs
from curation.pool.pair_lists import named_pair
from curation.review.store.store import open_store
from curation.run.prepare import load_pool
from tests.desk.dashboards import SHOTS, check, server
from tests.desk.pools import demo_pool
from tests.desk.waiting import keep_batch, playwright, reads, settle, until

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def address(home):
    with server(home) as url:
        yield url


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 1700})
    tab = context.new_page()
    tab.goto(f"{address}/review?budget=24", timeout=120_000)
    settle(tab)
    keep_batch(tab)
    yield tab
    context.close()


def desk(home: Path):
    """The store behind the page, and the batch it shows."""
    store = open_store(f"sqlite:///{home / 'pairwright.db'}")
    stored = store.batches()[0]
    return store, read_batch(stored.folder)


def words(home: Path) -> dict[str, str]:
    store, batch = desk(home)
    found = {key: made.decision for key, made in store.decisions(batch.batch_id).items()}
    store.close()
    return found


def press(page, key: str) -> None:
    page.locator("h1").first.click()
    page.keyboard.press(key)
    settle(page)


def only_with(page, state: str) -> None:
    """Filter the queue by a decision."""
    page.get_by_role("button", name="Filter").first.click()
    page.locator(".st-key-filter_states input").click()
    page.get_by_role("option", name=state).click()
    settle(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.locator("h1").first.click()
    settle(page)


def shown(page) -> int | None:
    """The place of the pair in view, None while none is drawn."""
    found = re.search(r"Prompt \((\d+) of", page.inner_text("[data-testid='stMain']"))
    return int(found.group(1)) if found else None


def test_keys_decide_move_and_take_back(page, home):
    until(lambda: shown(page), 1)
    press(page, "a")
    until(lambda: shown(page), 2)
    press(page, "f")
    until(lambda: shown(page), 3)
    press(page, "n")
    until(lambda: shown(page), 4)
    press(page, "b")
    until(lambda: shown(page), 3)
    until(lambda: sorted(words(home).values()), ["approve", "flag"])
    press(page, "u")
    until(lambda: sorted(words(home).values()), ["approve", "clear"])
    reads(page, "Taken back: 1 decision.")
    press(page, "3")
    until(lambda: sorted(words(home).values()), ["approve", "reject"])
    store, batch = desk(home)
    assert "off topic or broken prompt" in {made.reason for made in store.decisions(batch.batch_id).values()}
    store.close()
    page.locator("[class*='st-key-note_'] input").click()
    page.keyboard.type("a fan of 2 nouns")
    settle(page)
    assert sorted(words(home).values()).count("approve") == 1, "typing a note decides nothing"
    check(page, "review")


def test_blind_mode_names_no_generator_anywhere_on_the_page(page, home):
    names = {r.generator for p in load_pool(demo_pool()).pool.prompts for r in p.responses if r.generator}
    assert names
    until(lambda: any(name in page.inner_text("[data-testid='stMain']") for name in names), True)  # when not blind
    page.locator(".st-key-blind label").first.click()
    settle(page)
    for _ in range(3):
        html = page.inner_html("[data-testid='stMain']")
        assert not [name for name in names if name in html]
        press(page, "n")


def test_an_act_on_everything_shown_tells_its_price_first_and_one_undo_takes_it_back(page, home):
    page.get_by_role("button", name="Act on the 24 shown").click()
    settle(page)
    page.locator(".st-key-act_decision label").filter(has_text="Reject").click()
    settle(page)
    assert words(home) == {}, "nothing is written before the button"
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/review-act.png")
    reads(page, "labels to pay", "least covered Fisher direction", where="[role=dialog]")
    page.locator(".st-key-act_confirm button").click()
    settle(page)
    until(lambda: list(words(home).values()), ["reject"] * 24)
    press(page, "u")
    until(lambda: list(words(home).values()), ["clear"] * 24)


def test_a_view_is_kept_and_brings_its_filters_back(page, home):
    press(page, "f")
    only_with(page, "flag")
    reads(page, "1 pairs in the queue")
    page.get_by_role("button", name="Views").click()
    settle(page)
    page.locator(".st-key-view_name input").fill("to discuss")
    page.locator(".st-key-view_name input").press("Enter")
    settle(page)
    page.locator(".st-key-keep_view button").click()
    settle(page)
    page.reload()
    settle(page)
    reads(page, "1 pairs in the queue")  # filters outlast a reload, view or not
    page.get_by_role("button", name="Filter").first.click()
    page.locator(".st-key-clear_filters button").click()
    settle(page)
    page.keyboard.press("Escape")
    reads(page, "24 pairs in the queue")
    page.get_by_role("button", name="Views").click()
    settle(page)
    page.get_by_role("button", name="to discuss").click()
    settle(page)
    reads(page, "1 pairs in the queue")


def test_a_pair_is_replaced_in_one_step_and_rejections_are_filled_up(page, home):
    _, before = desk(home)
    old = {record["pair_id"] for record in before.records}
    page.get_by_role("button", name="Reject and take this one instead").click()
    settle(page)
    reads(page, "23 pairs stayed, 1 are new")
    store, _ = desk(home)
    until(lambda: len(store.batches()), 2)
    folders = {b.batch_id: b.folder for b in store.batches()}
    new = read_batch(next(folder for key, folder in folders.items() if key != before.batch_id))
    assert len({record["pair_id"] for record in new.records} - old) == 1
    assert next(iter(store.decisions(before.batch_id).values())).decision == "reject"
    reads(page, "Best replacement: pair")  # the new batch offers replacements too
    store.decide_many(new.batch_id, [r["pair_id"] for r in new.records[:4]], "reject", who="bea", reason="other")
    store.decide_many(new.batch_id, [r["pair_id"] for r in new.records[4:]], "approve", who="bea")
    store.close()
    page.reload()
    settle(page)
    page.get_by_role("button", name="Fill up after 4 rejections").click()
    settle(page)
    reads(page, "20 pairs stayed, 4 are new, 20 decisions were carried over", "20 of 24 decided")
    check(page, "review")
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/review-topup.png")


def test_two_reviewers_see_each_other_and_neither_overwrites_the_other(page, home, browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 1700})
    other = context.new_page()
    other.goto(f"{address}/review?budget=24", timeout=120_000)
    settle(other)
    store, batch = desk(home)
    key = max(batch.records, key=lambda record: record["drop_cost"])["pair_id"]
    store.decide(batch.batch_id, key, "reject", who="bea", reason="off topic or broken prompt")
    store.close()
    page.locator(".st-key-approve button").click()  # the page still shows the pair as undecided
    settle(page)
    assert words(home)[key] == "reject"
    reads(page, "bea")
    reads(other, "1 of 24 decided")  # without a click
    context.close()


def test_the_price_of_an_act_binds_what_was_seen_whatever_others_decide_meanwhile(page, home):
    page.get_by_role("button", name="Act on the 24 shown").click()
    settle(page)
    store, batch = desk(home)
    key = batch.records[0]["pair_id"]
    store.decide(batch.batch_id, key, "flag", who="bea")
    page.wait_for_timeout(7000)
    playwright.expect(page.locator("[role=dialog]")).to_be_visible()  # others' decisions do not close it
    page.locator(".st-key-act_confirm button").click()
    settle(page)
    assert words(home) == {key: "flag"}, "nothing was overwritten, nothing half written"
    reads(page, "bea")
    store.close()


def test_a_pair_others_decide_stays_in_view_and_must_be_seen_before_it_is_decided(page, home):
    only_with(page, "undecided")
    store, batch = desk(home)
    key = max(batch.records, key=lambda record: record["drop_cost"])["pair_id"]
    store.decide(batch.batch_id, key, "flag", who="bea")
    reads(page, "decided this pair while you had it open")
    settle(page)
    reads(page, f"pair {key}")  # the same pair, though the filter leaves it out
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/review-conflict.png")
    press(page, "a")
    assert words(home) == {key: "flag"}
    page.locator(".st-key-seen button").click()
    settle(page)
    press(page, "a")
    until(lambda: words(home), {key: "approve"})
    until(lambda: shown(page), 1)  # on to the next
    store.close()


def test_undo_takes_a_replacement_back_and_returns_to_the_batch_before(page, home):
    page.get_by_role("button", name="Reject and take this one instead").click()
    settle(page)
    store, _ = desk(home)
    until(lambda: len(store.batches()), 2)
    old = store.batches()[-1].batch_id
    until(lambda: [made.decision for made in store.decisions(old).values()], ["reject"])
    press(page, "u")
    until(lambda: [made.decision for made in store.decisions(old).values()], ["clear"])
    reads(page, "0 of 24 decided")
    playwright.expect(page).not_to_have_url(re.compile(f"batch={store.batches()[0].batch_id}"), timeout=60_000)
    store.close()


def test_pairs_with_a_known_outcome_are_swapped_in_one_act_which_undo_goes_back_over(page, home):
    store, batch = desk(home)
    pool = load_pool(demo_pool()).pool
    known = {named_pair(pool, pair) for pair, _ in foregone_pairs(pool)}
    names = {r["pair_id"]: (r["prompt_id"], r["response_a_id"], r["response_b_id"]) for r in batch.records}
    mine = [key for key, name in names.items() if name in known]
    assert mine
    page.locator(".st-key-known button").first.click()
    settle(page)
    page.locator(".st-key-cancel_dialog button").click()
    settle(page)
    assert words(home) == {}
    page.locator(".st-key-known button").first.click()
    settle(page)
    reads(page, "is a stock phrase that answers nothing", where="[role=dialog]")
    page.locator(".st-key-known_swap button").click()
    settle(page)
    reads(page, f"{24 - len(mine)} pairs stayed")
    assert {key: made.decision for key, made in store.decisions(batch.batch_id).items()} == dict.fromkeys(
        mine, "reject"
    )
    (new,) = [one for one in store.batches() if one.batch_id != batch.batch_id]
    records = read_batch(new.folder).records
    assert not {(r["prompt_id"], r["response_a_id"], r["response_b_id"]) for r in records} & known
    store.close()
    playwright.expect(page.locator(".st-key-known button")).to_have_count(0)


def test_pair_and_reason_stand_on_a_laptops_first_screen_and_do_not_jump(browser, address):
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    tab.goto(f"{address}/review?budget=24", timeout=120_000)
    settle(tab)
    tops = []
    for _ in range(4):
        boxes = [tab.locator(f".st-key-{name}").first.bounding_box() for name in ("acts", "why", "prompt_line")]
        left, right = (tab.get_by_text(side, exact=True).first.bounding_box() for side in ("Left", "Right"))
        assert all(boxes)
        assert left["y"] == right["y"] < 360
        assert [box["y"] for box in boxes] == sorted(box["y"] for box in boxes)
        tops.append(left["y"])
        press(tab, "n")
    assert max(tops) - min(tops) < 2
    context.close()


def test_the_answers_are_laid_out_and_a_key_shows_them_plain_or_with_their_differences(page):
    until(lambda: page.locator(".st-key-mode_text").inner_text().splitlines()[0], "Plain text")
    press(page, "d")
    playwright.expect(page.locator(".pw-text mark").first).to_be_visible()
    press(page, "n")
    playwright.expect(page.locator(".pw-text mark").first).to_be_visible()  # as it was set
    press(page, "m")
    playwright.expect(page.locator(".pw-text")).to_have_count(0)
