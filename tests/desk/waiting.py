"""Waiting in the browser tests: for what a page or a store must come to show, never for a time that should be enough.

Streamlit draws a page from top to bottom and a click begins its run a moment later, so that what is asserted at once
holds on a fast machine only. `settle` waits for the end of the run that the last act asked for, `reads` for words on
the page, `until` for any other value. All limits are generous: they cost nothing where nothing is wrong.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")
SECONDS = 120.0  # for one thing to show
MAIN, SIDEBAR, ALERT = "[data-testid='stMain']", "[data-testid='stSidebar']", "[data-testid='stAlertContentError']"
CALM, EVERY = 4, 0.25  # looks in a row that find the page at rest; seconds between them
UNANSWERED = 20.0  # seconds after which a request that began no run counts as dropped

# Listens to the page's own channel to the server: `asked` is true from the moment it asks for a run (field 11 of
# streamlit's BackMsg) until a run that began after it (field 4 of ForwardMsg) has ended (field 6; 2 where it only gives
# way to another run). The script's state alone says "not running" between a click and the beginning of its run, and
# between a run and the one it gives way to. Returns what still keeps the page busy, or "".
LOOK = """
(patience) => {
  if (!window.pairwrightWatch) {
    const watch = window.pairwrightWatch = {asked: false, begun: false, at: 0, heard: new WeakSet()};
    const fields = (bytes) => {
      const found = new Map();
      let at = 0;
      const number = () => {
        let value = 0, scale = 1, byte;
        do { byte = bytes[at++]; value += (byte & 127) * scale; scale *= 128; } while (byte & 128);
        return value;
      };
      while (at < bytes.length) {
        const tag = number(), kind = tag % 8, field = Math.floor(tag / 8);
        found.set(field, kind === 0 || kind === 2 ? number() : null);
        if (kind === 2) at += found.get(field);
        else if (kind !== 0) at += kind === 1 ? 8 : 4;
      }
      return found;
    };
    const ask = () => { watch.asked = true; watch.begun = false; watch.at = performance.now(); };
    const hear = (found) => {
      if (found.has(4)) watch.begun = watch.asked;
      if (found.get(6) === 2) ask();
      else if (found.has(6) && watch.begun) watch.asked = watch.begun = false;
    };
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
      if (data instanceof Uint8Array && fields(data).has(11)) ask();
      return send.call(this, data);
    };
    const data = Object.getOwnPropertyDescriptor(MessageEvent.prototype, 'data');
    Object.defineProperty(MessageEvent.prototype, 'data', {...data, get() {
      const got = data.get.call(this);
      if (this.target instanceof WebSocket && got instanceof ArrayBuffer && !watch.heard.has(this)) {
        watch.heard.add(this);
        hear(fields(new Uint8Array(got)));
      }
      return got;
    }});
  }
  const app = document.querySelector("[data-testid='stApp']");
  if (!app) return 'no app';
  const state = app.dataset.testScriptState;
  if (state !== 'notRunning') return 'script ' + state;
  if (app.dataset.testConnectionState !== 'CONNECTED') return 'connection ' + app.dataset.testConnectionState;
  const watch = window.pairwrightWatch;
  if (watch.asked && performance.now() - watch.at < patience * 1000) return 'asked for a run';
  const busy = document.querySelector(
    "[data-testid='stStatusWidget'], [data-testid='stSpinner'], [data-testid='stSkeleton'], [data-testid='stAppSkeleton']");
  return busy ? busy.dataset.testid : '';
}
"""


def settle(page: Any, *, timeout: float = 300) -> None:
    """Wait until the app has run to the end of what it was last asked for. timeout: seconds."""
    page.set_default_timeout(SECONDS * 1000)
    page.set_default_navigation_timeout(SECONDS * 1000)
    page.wait_for_selector("[data-testid='stApp']", timeout=timeout * 1000)
    deadline, calm, busy = time.monotonic() + timeout, 0, ""
    while calm < CALM:
        assert time.monotonic() < deadline, f"the page did not come to rest: {busy}"
        try:
            busy = page.evaluate(LOOK, UNANSWERED)
        except playwright.Error as error:  # the page went elsewhere in between
            busy = str(error)
        calm = 0 if busy else calm + 1
        page.wait_for_timeout(EVERY * 1000)


def reads(page: Any, *words: str | re.Pattern[str], where: str = MAIN, seconds: float = SECONDS) -> None:
    """Wait until a part of the page shows all of these words."""
    for wanted in words:
        playwright.expect(page.locator(where).first).to_contain_text(
            wanted, use_inner_text=True, timeout=seconds * 1000
        )


def until(read: Callable[[], Any], wanted: Any, *, page: Any = None, seconds: float = SECONDS) -> None:
    """Wait until something reads as wanted; fails with what it read last. page: one whose events it depends on."""
    deadline = time.monotonic() + seconds
    while (last := read()) != wanted and time.monotonic() < deadline:
        if page is None:
            time.sleep(0.1)
        else:
            page.wait_for_timeout(100)
    assert last == wanted


_ports = count(20_000 + 1000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) + os.getpid() % 500)


def free_port() -> int:
    """A port that nobody else is given: below those the system hands out, in a part of this worker's own."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports do not end")


def answering(process: subprocess.Popen[Any], address: str, log: Path, *, seconds: float = 300) -> None:
    """Wait until a Streamlit server answers; fails with its log where it ends, or does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=10).close()
            return
        except OSError:
            assert process.poll() is None, f"the server ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"no answer in {seconds:.0f} s: {log.read_text()[-2000:]}"
            time.sleep(0.25)


def ended(process: subprocess.Popen[Any]) -> None:
    """End a server, by force where it takes too long."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def keep_batch(page: Any) -> None:
    """Keep the batch in view, where it was only looked at so far."""
    button = page.locator(".st-key-keep_batch button:visible").first
    if button.count():
        button.click()
        settle(page)
