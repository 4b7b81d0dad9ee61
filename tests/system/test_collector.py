"""The cycle collector is held back while a pool is read, and never left off."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

from curation.errors import PoolError
from curation.pool.readers import read
from curation.pool.readers.canonical import Canonical
from curation.system.collector import collector_paused
from tests.desk.pools import demo_pool


def test_it_runs_again_when_the_last_who_asked_is_done() -> None:
    assert gc.isenabled()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with collector_paused():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with collector_paused():
        thread.start()
        assert inside.wait(30)
        assert not gc.isenabled()
    assert not gc.isenabled(), "the other thread still makes objects"
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_who_had_it_off_keeps_it_off() -> None:
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_reading_holds_it_back_and_gives_it_back_after_an_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    honest = Canonical.read

    def watched(*given: object) -> None:
        seen.append(gc.isenabled())
        honest(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Canonical, "read", watched)
    read.read_pool(demo_pool())
    (tmp_path / "bad.jsonl").write_text('{"prompt": "q", "responses": [{"text": "a"}]}\n')
    with pytest.raises(PoolError):
        read.read_pool(tmp_path / "bad.jsonl")
    assert seen == [False, False]
    assert gc.isenabled()
