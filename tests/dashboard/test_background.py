"""Work beside the pages: the newest wish first, nothing that nobody looks at, nothing while somebody waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from curation.dashboard.background import Background
from curation.errors import DesignError

SECONDS = 60.0


def until(read: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not read():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


def test_the_last_wish_is_done_first_and_all_are_done() -> None:
    thread, done = Background(pause=0.0), []
    with thread.held():
        works = [thread.wish(n, lambda n=n: iter(done.append(n) or ()), doing="x") for n in range(3)]
        assert not any(work.done for work in works)
    until(lambda: all(work.done for work in works))
    assert done == [2, 1, 0]
    assert thread.wish(1, lambda: iter(done.append(9) or ()), doing="x").done, "what is done is not done again"
    assert done == [2, 1, 0]


def test_what_nobody_wishes_for_any_more_is_left_and_taken_up_again() -> None:
    thread, steps, gate = Background(pause=0.0, patience=0.2), [], threading.Semaphore(0)

    def counting() -> Iterator[int]:
        for n in range(100):
            gate.acquire()
            steps.append(n)
            yield n

    work = thread.wish("a", counting, doing="x")
    gate.release()
    until(lambda: steps == [0])
    time.sleep(0.4)  # longer than the patience
    gate.release()
    until(lambda: thread._thread is None)
    assert steps == [0, 1]
    assert not work.done
    for _ in range(98):
        gate.release()

    def wished() -> bool:
        return thread.wish("a", counting, doing="x").done

    until(wished)
    assert steps == list(range(100)), "it goes on where it was left"


def test_no_step_begins_while_somebody_waits_for_something_else() -> None:
    thread, steps = Background(pause=0.0), []

    def counting() -> Iterator[int]:
        while True:
            steps.append(time.monotonic())
            yield 0

    thread.wish("a", counting, doing="x")
    until(lambda: len(steps) > 3)
    with thread.held():
        time.sleep(0.05)  # the step that was being done ends
        before = len(steps)
        time.sleep(0.1)
        assert len(steps) == before
    until(lambda: len(steps) > before)


@pytest.mark.parametrize(
    ("error", "words"), [(DesignError("budget 9 is too much."), "budget 9"), (KeyError("x"), "Key")]
)
def test_what_goes_wrong_is_told_in_a_sentence(error: Exception, words: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    thread = Background(pause=0.0)

    def failing() -> Iterator[int]:
        yield 1
        raise error

    work = thread.wish("a", failing, doing="trying")
    until(lambda: work.done)
    assert words in work.error


def test_work_begins_only_after_a_wish_has_stood_for_a_while() -> None:
    thread, done = Background(pause=0.2), []
    began = time.monotonic()
    work = thread.wish("a", lambda: iter(done.append(time.monotonic() - began) or ()), doing="x")
    until(lambda: work.done)
    assert done[0] >= 0.2
