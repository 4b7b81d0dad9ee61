"""What is timed: one act each in a browser that is there, from the click until what was asked for stands."""

from __future__ import annotations

import re
import time
from typing import Any

from tests.desk.waiting import settle

LIMIT = 180_000  # milliseconds that one act may take
MOST = 5_000  # candidates on the map, the most it offers
MARKS = ".js-plotly-plot canvas, .js-plotly-plot .point"
MAIN = "[data-testid='stMain']"
# The script has run to its end, nothing of the page is of the run before, and the page holds what it should.
STANDS = f"""([title, drawn]) => {{
  const main = document.querySelector("{MAIN}"), app = document.querySelector("[data-testid='stApp']");
  if (!main || main.querySelector("[data-stale='true']") || app.dataset.testScriptState !== 'notRunning') return false;
  const head = main.querySelector('h1');
  if (!head || !head.innerText.includes(title)) return false;
  return !drawn || main.querySelectorAll(drawn).length > 0;
}}"""
# The finding of the Design page speaks of so many labels (0: any), and is not what it was.
FOUND = f"""([labels, before]) => {{
  const told = [...document.querySelectorAll("{MAIN} strong")].map((one) => one.innerText)
    .find((text) => text.includes('worth these'));
  return told && told !== before && (!labels || told.includes(`worth these ${{labels.toLocaleString('en-US')}} `));
}}"""
# The pair in view: its place in the queue, why a person is needed, the prompt and both answers.
PARTS = f"""() => {{
  const main = document.querySelector("{MAIN}");
  return [...main.querySelectorAll('.st-key-prompt_line, .st-key-why'),
          ...[...main.querySelectorAll("[data-testid='stText']")].slice(0, 3)];
}}"""
PAIR = f"""() => ({PARTS})().map((one) => one.textContent)"""
# Another one is, whole and nothing of it of the run before; with all: and the script has run to its end, and nothing on
# the page is.
OTHER_PAIR = f"""([before, all]) => {{
  const parts = ({PARTS})(), app = document.querySelector("[data-testid='stApp']");
  const told = parts.map((one) => one.textContent), place = 1;
  if (told.length !== 5 || told[place] === before[place] || told.slice(3).join() === before.slice(3).join()) return false;
  if (parts.some((one) => one.closest("[data-stale='true']") || one.querySelector("[data-stale='true']"))) return false;
  return !all || (app.dataset.testScriptState === 'notRunning' && !document.querySelector("{MAIN} [data-stale='true']"));
}}"""
# Page -> what is drawn on it when it stands, besides its title.
PAGES = {
    "Pool": "[data-testid='stMetric']", "Features": "[data-testid='stMetric']", "Design": "[data-testid='stMetric']",
    "Coverage": ".js-plotly-plot", "Weights": ".js-plotly-plot", "Review": "button", "Evidence": "p",
}  # fmt: skip


def seconds(act: Any, until: Any) -> float:
    """Seconds from an act until something stands."""
    started = time.perf_counter()
    act()
    until()
    return time.perf_counter() - started


def stands(page: Any, title: str, drawn: str = "") -> None:
    """Wait until a page stands."""
    page.wait_for_function(STANDS, arg=[title, drawn], timeout=LIMIT)


def empty_rerun(page: Any) -> float:
    """One rerun of the empty page."""
    turn = int(re.findall(r"\d+", page.inner_text("h1"))[0])
    wanted = f"turn {turn + 1}"
    return seconds(
        lambda: page.get_by_role("button", name="again").click(),
        lambda: page.wait_for_function("(text) => document.querySelector('h1').innerText.includes(text)", arg=wanted),
    )


def first_page(browser: Any, address: str, title: str, drawn: str) -> float:
    """A new session on a warm server, until the page stands."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    try:
        return seconds(lambda: page.goto(address, timeout=LIMIT), lambda: stands(page, title, drawn))
    finally:
        context.close()


def switch(page: Any, title: str) -> float:
    """From the page that is open to another, by the navigation."""
    link = page.locator("[data-testid='stSidebar'] a", has_text=title).first
    took = seconds(link.click, lambda: stands(page, title, PAGES.get(title, "")))
    settle(page)
    return took


def finding(page: Any) -> str:
    """The finding on the Design page."""
    told = page.locator(f"{MAIN} strong", has_text="worth these").first.inner_text()
    return str(told)


def more_labels(page: Any) -> float:
    """One press on the budget's +, until the finding is another: it names the labels."""
    before, plus = finding(page), page.locator("[data-testid='stNumberInputStepUp']").first
    return seconds(plus.click, lambda: page.wait_for_function(FOUND, arg=[0, before], timeout=LIMIT))


def other_budget(page: Any, labels: int) -> float:
    """A budget typed in, which nobody could foresee."""
    field, before = page.get_by_role("spinbutton", name=re.compile("Budget")).first, finding(page)
    field.fill(str(labels))
    return seconds(
        lambda: field.press("Enter"), lambda: page.wait_for_function(FOUND, arg=[labels, before], timeout=LIMIT)
    )


def other_ridge(page: Any, key: str) -> float:
    """One arrow key on the ridge, until the finding is another."""
    slider, before = page.get_by_role("slider").first, finding(page)
    slider.focus()
    return seconds(lambda: slider.press(key), lambda: page.wait_for_function(FOUND, arg=[0, before], timeout=LIMIT))


def next_pair(page: Any, *, whole: bool = False) -> float:
    """The key for the next pair, until it stands there to be read. whole: until all of the page is of that pair."""
    before = page.evaluate(PAIR)
    return seconds(
        lambda: page.keyboard.press("n"), lambda: page.wait_for_function(OTHER_PAIR, arg=[before, whole], timeout=LIMIT)
    )


def switch_to_map(page: Any) -> float:
    """The Map page by the navigation, until its points are drawn."""
    link = page.locator("[data-testid='stSidebar'] a", has_text="Map").first
    took = seconds(link.click, lambda: stands(page, "Map", MARKS))
    settle(page)
    return took


def most_points(page: Any) -> float:
    """The map of the whole batch and MOST candidates, asked for by the slider, until as many are drawn."""
    slider = page.get_by_role("slider", name=re.compile("Candidates")).first
    slider.focus()
    slider.press("Home")
    settle(page)
    took = seconds(
        lambda: slider.press("End"),
        lambda: page.wait_for_function(
            "(most) => [...document.querySelectorAll('.js-plotly-plot')].some((one) => "
            "(one._fullData || []).reduce((sum, trace) => sum + (trace.x || []).length, 0) >= most)",
            arg=MOST,
            timeout=LIMIT,
        ),
    )
    settle(page)
    return took
