"""`python -m tests.speed [--repeats 12] [--prompts 805] [--candidates 19]`: the table of docs/performance.md."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.desk.browser import FLAGS, executable
from tests.desk.waiting import answering, ended, free_port, playwright, settle
from tests.speed import acts
from tests.speed.pool import CANDIDATES, PROMPTS, write_pool

ROOT = Path(__file__).resolve().parents[2]
PAUSE = 5_000  # milliseconds that somebody looks at a design before they change it again


@contextmanager
def served(script: Path, home: Path) -> Iterator[str]:
    """A Streamlit script on a free port."""
    port, log = free_port(), home / f"{script.stem}.log"
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    environment = {**os.environ, "CURATION_HOME": str(home)}
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            answering(process, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            ended(process)


def measured(repeats: int, prompts: int, candidates: int) -> dict[str, list[float]]:
    """Seconds of every act, by name; the empty page's rerun first."""
    chromium = executable()
    if chromium is None:
        sys.exit("no Chromium: run `python tests/desk/browser.py --install`, or name one in CHROMIUM.")
    with tempfile.TemporaryDirectory(prefix="pairwright-speed-") as folder, playwright.sync_playwright() as driver:
        home = Path(folder)
        pool = write_pool(home / "pools", prompts=prompts, candidates=candidates)
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS, timeout=180_000)
        with served(ROOT / "app.py", home) as app, served(Path(__file__).with_name("empty.py"), home) as bare:
            return _acts(browser, app, bare, f"pool={pool}", repeats)


def _acts(browser: object, app: str, bare: str, query: str, repeats: int) -> dict[str, list[float]]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})  # type: ignore[attr-defined]
    empty, page = context.new_page(), context.new_page()
    empty.goto(bare, timeout=acts.LIMIT)
    settle(empty)
    print("opening every page once", file=sys.stderr)
    page.bring_to_front()
    page.goto(f"{app}/design?{query}", timeout=acts.LIMIT)
    settle(page)
    found: dict[str, list[float]] = {}

    def told(name: str, took: float) -> None:
        empty.bring_to_front()  # a tab that is not in front is slowed down
        found.setdefault("empty page, rerun", []).append(acts.empty_rerun(empty))
        page.bring_to_front()
        found.setdefault(name, []).append(took)
        print(f"{name}: {took:.2f} s", file=sys.stderr, flush=True)

    told("map page, first", acts.switch_to_map(page))
    told(f"map of the batch and {acts.MOST:,}, first", acts.most_points(page))
    for title in acts.PAGES:
        acts.switch(page, title)
    for _ in range(repeats):
        told("first page, Pool", acts.first_page(browser, f"{app}/?{query}", "Pool", acts.PAGES["Pool"]))
        told("first page, Design", acts.first_page(browser, f"{app}/design?{query}", "Design", acts.PAGES["Design"]))
    for _ in range(max(repeats // 3, 2)):
        for title in acts.PAGES:
            told("page switch", acts.switch(page, title))
        told("map, switch back", acts.switch_to_map(page))
        told(f"map of the batch and {acts.MOST:,}, again", acts.most_points(page))
    acts.switch(page, "Design")
    for turn in range(repeats):
        page.wait_for_timeout(PAUSE)
        told("budget, one step", acts.more_labels(page))
        settle(page)
        page.wait_for_timeout(PAUSE)
        told("ridge, one step", acts.other_ridge(page, "ArrowRight" if turn % 4 < 2 else "ArrowLeft"))
        settle(page)
    for turn in range(max(repeats // 2, 2)):
        told("budget, typed", acts.other_budget(page, 301 + 7 * turn))
        settle(page)
    acts.switch(page, "Review")
    for _ in range(repeats):
        told("review, next pair", acts.next_pair(page))
        settle(page)
        told("review, next pair with all beside it", acts.next_pair(page, whole=True))
        settle(page)
    return found


def table(found: dict[str, list[float]]) -> list[str]:
    """Median and p95 of every act, and both as multiples of the empty page's rerun."""
    bare = np.array(found["empty page, rerun"])
    lines = ["| act | n | median s | p95 s | median / empty | p95 / empty p95 |", "|---|---|---|---|---|---|"]
    for name, values in found.items():
        middle, high = np.median(values), np.percentile(values, 95)
        lines.append(
            f"| {name} | {len(values)} | {middle:.2f} | {high:.2f} | {middle / np.median(bare):.1f} "
            f"| {high / np.percentile(bare, 95):.1f} |"
        )
    return lines


def main() -> None:
    """Measure, and print the table; `--json` the seconds."""
    asked = argparse.ArgumentParser(prog="python -m tests.speed", description=__doc__)
    asked.add_argument("--repeats", type=int, default=12)
    asked.add_argument("--prompts", type=int, default=PROMPTS)
    asked.add_argument("--candidates", type=int, default=CANDIDATES)
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args()
    found = measured(given.repeats, given.prompts, given.candidates)
    print(json.dumps(found) if given.json else "\n".join(table(found)))


if __name__ == "__main__":
    main()
