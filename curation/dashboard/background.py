"""Work that a page goes on without: one thread, the newest wish first, and nothing that nobody looks at any more.

A page wishes for a piece of work in every run in which it would show its result; what has not been wished for lately
is left where it is, so that a person who moves a slider on leaves no queue behind. A piece of work is an iterator: what
its steps yield is what is known so far, and after each of them the thread looks up. While a page
solves something that somebody waits for (`held`), no step begins. Nothing here knows of pages or sessions.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from curation.system.bug_log import sentence

PATIENCE = 15.0  # seconds after which work that nobody wished for again is left
PAUSE = 0.7  # seconds that a wish must stand before its work begins: whoever moves a slider passes many designs
KEPT = 24  # pieces of work that are remembered


class Work:
    """One piece of work: what its steps have yielded, whether it is done, and the sentence of what went wrong."""

    def __init__(self, steps: Callable[[], Iterator[object]], *, doing: str, pause: float) -> None:
        self._steps = steps
        self._begun: Iterator[object] | None = None
        self._doing = doing
        self.begins = time.monotonic() + pause
        self.wished = time.monotonic()
        self.found: list[Any] = []
        self.done = False
        self.error = ""

    def step(self) -> None:
        """One step further."""
        try:
            if self._begun is None:
                self._begun = self._steps()
            self.found.append(next(self._begun))
        except StopIteration:
            self.done = True
        except Exception as error:  # it belongs on the page that wished for this, in words
            self.error, self.done = sentence(error, doing=self._doing), True


class Background:
    """Pieces of work by key, and the thread that does them, which ends when nothing is left to do."""

    def __init__(self, *, patience: float = PATIENCE, pause: float = PAUSE) -> None:
        self._patience, self._pause = patience, pause
        self._work: OrderedDict[Hashable, Work] = OrderedDict()  # the newest wish last
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._holding = 0
        self._free = threading.Condition(self._lock)
        self._ended = False
        atexit.register(self.end)  # a thread inside torch would abort the process as it ends

    def wish(self, key: Hashable, steps: Callable[[], Iterator[object]], *, doing: str) -> Work:
        """The work of that key, begun by and by unless it is done. doing: what it is, for the sentence of an error."""
        with self._lock:
            work = self._work.get(key)
            if work is None:
                work = self._work[key] = Work(steps, doing=doing, pause=self._pause)
                while len(self._work) > KEPT:
                    self._work.popitem(last=False)
            work.wished = time.monotonic()
            self._work.move_to_end(key)
            if not work.done and self._thread is None:
                self._thread = threading.Thread(target=self._run, name="beside the pages", daemon=True)
                self._thread.start()
            return work

    @contextmanager
    def held(self) -> Iterator[None]:
        """While somebody waits for something else."""
        with self._lock:
            self._holding += 1
        try:
            yield
        finally:
            with self._free:
                self._holding -= 1
                self._free.notify_all()

    def wait(self) -> None:
        """Until nobody waits for anything else: for steps that take long."""
        with self._free:
            while self._holding and not self._ended:
                self._free.wait()

    def end(self) -> None:
        """Begin nothing more, and wait for the step that is going on."""
        with self._free:
            self._ended, thread = True, self._thread
            self._free.notify_all()
        if thread is not None:
            thread.join()

    def _next(self) -> tuple[Work | None, float]:
        """The work to go on with, or None and the seconds until there may be some (below 0: there is none)."""
        now, least = time.monotonic(), -1.0
        for work in reversed(self._work.values()):
            if work.done or now - work.wished > self._patience:
                continue
            if work.begins <= now:
                return work, 0.0
            least = work.begins - now if least < 0 else min(least, work.begins - now)
        return None, least

    def _run(self) -> None:
        while True:
            self.wait()
            with self._lock:
                work, seconds = self._next()
                if self._ended or (work is None and seconds < 0):
                    self._thread = None
                    return
            if work is None:
                time.sleep(seconds)
            else:
                work.step()
