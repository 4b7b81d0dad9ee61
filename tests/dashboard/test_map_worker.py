"""The process that makes maps: the same map as without it, and maps all the same when it is gone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from curation.dashboard.map_worker import SWITCH, MapWorker
from curation.insight.embedding import embed


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[MapWorker]:
    monkeypatch.delenv(SWITCH, raising=False)
    made = MapWorker()
    yield made
    made.stop()


@pytest.mark.slow
def test_a_map_is_the_same_from_the_process_and_from_here(worker: MapWorker) -> None:
    z = np.random.default_rng(0).standard_normal((60, 5))
    here = embed(z)
    worker.start()
    worker.start()  # the second does nothing
    process = worker._process
    assert process is not None
    assert np.array_equal(worker.embed(z), here)
    assert worker._process is process
    process.kill()
    process.wait()
    assert np.array_equal(worker.embed(z), here)


def test_no_process_is_started_where_it_is_left_out(worker: MapWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    worker.start()
    assert worker._process is None
