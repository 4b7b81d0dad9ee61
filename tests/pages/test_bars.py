"""From a bar to the queue, and from the queue to the map, the prompt's other answers and its other pairs, in Chromium."""

from __future__ import annotations

import re

import pytest

from tests.desk.dashboards import check, playwright, visit
from tests.desk.waiting import reads, settle, until

pytestmark = pytest.mark.slow

# Where the middle of the largest bar is drawn: of the trace of that name in the figure of that key.
BAR = """([key, name]) => {
  const plot = document.querySelector(`.st-key-${key} .js-plotly-plot`);
  const at = plot._fullData.findIndex((trace) => trace.type === 'bar' && (!name || trace.name === name));
  plot.scrollIntoView({block: 'center'});
  const paths = [...plot.querySelectorAll('.barlayer .trace')[at].querySelectorAll('path')];
  const boxes = paths.map((path) => path.getBoundingClientRect());
  const big = boxes.reduce((best, box) => box.width * box.height > best.width * best.height ? box : best);
  return {x: big.left + big.width / 2, y: big.top + big.height * 0.6};
}"""


@pytest.mark.parametrize(
    ("name", "figure", "trace", "what"),
    [
        ("weights", "generators", "in the design", "with generator"),
        ("weights", "length_difference", "all pairs", "with a length difference of"),
        ("design", "strata", "this batch", "of stratum"),
    ],
)
def test_a_bar_leads_to_its_pairs_in_review(browser, address, name, figure, trace, what):
    context, page, _ = visit(browser, address, name, "budget=24", 1440)
    try:
        check(page, name)
        reads(page, "Click a bar to review its pairs")
        place = page.evaluate(BAR, [figure, trace])
        page.mouse.move(place["x"], place["y"])
        page.mouse.click(place["x"], place["y"])
        button = page.get_by_role("button", name=re.compile(f"Review the .*pairs? {what}")).first
        button.wait_for()
        settle(page)
        told = button.inner_text()
        count = re.search(r"Review the (?:(\d+) pairs|pair)", told).group(1) or "1"
        button.click()
        settle(page)
        shown = f"Showing {count} pairs {what}{told.split(what)[1]}: show all"
        reads(page, shown, f"{count} pairs in the queue")
        page.get_by_role("button", name=shown).click()
        settle(page)
        reads(page, re.compile("2[0-4] pairs in the queue"))
    finally:
        context.close()


def test_a_pair_leads_to_its_point_its_prompts_answers_and_its_prompts_pairs(browser, address):
    context, page, _ = visit(browser, address, "review", "budget=300&spread=none&ridge=1", 1440)
    try:
        until(lambda: "pair=" in page.url, True, page=page)
        pair = re.search(r"pair=([0-9a-f]+)", page.url).group(1)
        page.get_by_text("Other candidates of this prompt").click()
        reads(page, re.compile(r"Candidate|characters"))
        settle(page)
        same = page.get_by_role("button", name=re.compile(r"All [\d,]+ pairs of this prompt"))
        for _ in range(30):  # the first pair whose prompt has others in this batch
            if same.count():
                break
            page.locator("h1").first.click()
            page.keyboard.press("n")
            settle(page)
        count = re.search(r"All ([\d,]+) pairs", same.first.inner_text()).group(1)
        pair = re.search(r"pair=([0-9a-f]+)", page.url).group(1)
        same.first.click()
        settle(page)
        reads(page, f"{count} pairs in the queue")
        page.get_by_role("link", name=re.compile("Its point on the map")).first.click()
        playwright.expect(page.locator("h1")).to_have_text("Map", timeout=120_000)
        settle(page)
        reads(page, f"Pair {pair}")
        rings = "() => document.querySelector('.js-plotly-plot')._fullData.map((trace) => trace.name)"
        until(lambda: f"pair {pair}" in page.evaluate(rings), True)
    finally:
        context.close()
