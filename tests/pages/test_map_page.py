"""The map in a real Chromium: a click shows a pair, a lasso lists many, and both outlive a reload."""

from __future__ import annotations

import re

import pytest

from tests.desk.dashboards import check, playwright, visit
from tests.desk.waiting import reads, settle, until

pytestmark = pytest.mark.slow

# Where the first pair of the batch is drawn, its id, and the plot's corner and size, in pixels.
PLACE = """() => {
  const plot = document.querySelector('.js-plotly-plot'), box = plot.getBoundingClientRect();
  const {xaxis, yaxis, clickmode, dragmode} = plot._fullLayout;
  const batch = plot._fullData.find((trace) => trace.name === 'in the batch');
  return {x: box.left + xaxis._offset + xaxis.d2p(batch.x[0]), y: box.top + yaxis._offset + yaxis.d2p(batch.y[0]),
          pair: batch.customdata[0], left: box.left + xaxis._offset, top: box.top + yaxis._offset,
          width: xaxis._length, height: yaxis._length, dragmode, clickmode};
}"""


def drawn(page, dragmode: str):
    """Where things are, once the figure takes this kind of drag."""
    until(lambda: page.evaluate(PLACE)["dragmode"], dragmode)
    return page.evaluate(PLACE)


def test_a_click_shows_a_pair_and_a_lasso_lists_many_after_a_reload_too(browser, address):
    context, page, _ = visit(browser, address, "map", "budget=24", 1440)
    try:
        check(page, "map")
        place = drawn(page, "pan")
        page.mouse.move(place["x"], place["y"])
        page.mouse.click(place["x"], place["y"])
        reads(page, f"Pair {place['pair']}", "In the batch: without it")
        playwright.expect(page).to_have_url(re.compile(f"pair={place['pair']}"), timeout=60_000)
        settle(page)
        page.reload()
        settle(page)
        reads(page, f"Pair {place['pair']}")
        rings = "() => document.querySelector('.js-plotly-plot')._fullData.map((trace) => trace.name)"
        until(lambda: f"pair {place['pair']}" in page.evaluate(rings), True)

        page.get_by_text("draws a lasso").click()
        settle(page)
        place = drawn(page, "lasso")
        corners = [(0.05, 0.05), (0.95, 0.05), (0.95, 0.95), (0.05, 0.95), (0.05, 0.05)]
        for n, (x, y) in enumerate(corners):
            page.mouse.move(place["left"] + x * place["width"], place["top"] + y * place["height"], steps=6)
            if n == 0:
                page.mouse.down()
        page.mouse.up()
        told = re.compile(r"[\d,]+ pairs picked, \d+ of them in the batch")
        reads(page, told)
        settle(page)
        words = page.get_by_text(told).first.inner_text()
        page.reload()
        settle(page)
        reads(page, words)
        page.locator(".st-key-map_review button").click()
        settle(page)
        reads(page, f"{words.split(', ')[1].split()[0]} pairs in the queue")
    finally:
        context.close()


def test_a_direction_of_the_chart_leads_to_its_pairs_in_review(browser, address):
    context, page, _ = visit(browser, address, "coverage", "budget=24&direction=3", 1440)
    try:
        check(page, "coverage")
        button = page.locator(".st-key-direction_review button")
        count = button.inner_text().split("the ")[1].split()[0]
        button.click()
        settle(page)
        reads(page, f"{count} pairs that serve direction 3", f"{count} pairs in the queue")
    finally:
        context.close()
