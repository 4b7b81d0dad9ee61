"""Twenty reviewers at once, each in a process: no decision is lost, none is written twice, the audit log stays whole."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import StoreError
from curation.review.store.store import open_store
from tests.desk.stores import BATCH, fill

pytestmark = pytest.mark.slow
REVIEWERS, EACH, SHARED = 20, 200, 50


def review(database: str, number: int, gate: Any, out: str) -> None:
    """Decide EACH pairs: SHARED that everybody wants, with the version that was seen, then others."""
    store = open_store(database)
    store.decisions(BATCH)
    gate.wait()
    made, conflicts, seconds = [], 0, []
    for n in range(EACH):
        shared = n < SHARED
        pair = f"{n:016x}" if shared else f"{number:08x}{n:08x}"
        started = time.perf_counter()
        try:
            decision = store.decide(BATCH, pair, "approve", who=f"r{number}", expected_version=0)
            made.append([decision.pair_id, decision.version])
        except StoreError as error:
            if not shared or "was decided (approve) by r" not in str(error):
                raise
            conflicts += 1
        seconds.append(time.perf_counter() - started)
    store.close()
    Path(out).write_text(json.dumps({"made": made, "conflicts": conflicts, "seconds": seconds}))


def test_twenty_reviewers_at_once_lose_nothing_and_see_each_others_decisions(database: str, tmp_path: Path) -> None:
    fill(open_store(database)).close()
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(REVIEWERS)
    outs = [str(tmp_path / f"r{n}.json") for n in range(REVIEWERS)]
    people = [spawn.Process(target=review, args=(database, n, gate, outs[n])) for n in range(REVIEWERS)]
    for person in people:
        person.start()
    for person in people:
        person.join(1200)
        assert person.exitcode == 0
    told = [json.loads(Path(out).read_text()) for out in outs]
    store = open_store(database)
    history = store.history(BATCH)
    written = Counter((row.pair_id, row.version) for row in history)
    assert max(written.values()) == 1
    assert written == Counter(tuple(row) for part in told for row in part["made"])
    assert len(history) == SHARED + REVIEWERS * (EACH - SHARED)
    assert sum(part["conflicts"] for part in told) == SHARED * (REVIEWERS - 1)
    assert store.check_log(BATCH) == []
    assert len(store.events(BATCH)) == len(history) + 1
    store.close()
    seconds = np.concatenate([part["seconds"] for part in told])
    print(
        f"\n{database.split(':')[0]}: median {np.median(seconds) * 1e3:.0f} ms, p95 {np.quantile(seconds, 0.95) * 1e3:.0f} ms"
    )
