"""kill -9 at fifty random moments: files are whole or absent, the store agrees with its log, work can be done again."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.batch.folder import SIGNATURE, read_batch, read_criterion, read_selected
from curation.batch.records import save_batch
from curation.exchange.receive import import_labels
from curation.exchange.send import export_signed
from curation.review.register import record_batch
from curation.review.signing_key import KEY
from curation.review.signoff import sign_batch, verify_batch
from curation.review.store.store import open_store
from curation.run.prepare import load_pool, prepare
from curation.run.solve import solve
from curation.settings import DesignSettings, SpaceSettings
from tests.desk.pools import demo_pool

pytestmark = pytest.mark.slow
ROUNDS = 10


class Desk:
    """A folder in which a batch is solved, decided, signed, exported and labelled; each step can be run again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.batch = folder / "batch"
        self.database = f"sqlite:///{folder / 'review.db'}"
        pool = load_pool(demo_pool()).pool
        self.prepared = prepare(pool, demo_pool().parent / "demo.features.parquet", space=SpaceSettings(), device="cpu")

    def solve(self) -> None:
        save_batch(solve(self.prepared, DesignSettings(budget=30)), self.batch, force=True)

    def decide(self) -> None:
        store = open_store(self.database)
        batch = read_batch(self.batch)
        record_batch(store, batch, who="ana")
        for record in batch.records:
            store.decide(batch.batch_id, record["pair_id"], "approve", who="bea")
        store.close()

    def sign(self) -> None:
        (self.batch / SIGNATURE).unlink(missing_ok=True)
        store = open_store(self.database)
        sign_batch(self.batch, who="cat", acknowledged=["cut_off", "foregone"], store=store)
        store.close()

    def export(self) -> None:
        store = open_store(self.database)
        export_signed(self.batch, to="label-studio", out=self.folder / "tasks.json", force=True, who="cat", store=store)
        store.close()

    def bring_back(self) -> None:
        store = open_store(self.database)
        import_labels(self.batch, self.folder / "answers.json", who="ana", store=store)
        store.close()

    def check(self) -> None:
        """What must hold at any moment."""
        if self.batch.exists():
            batch = read_batch(self.batch)
            assert len(read_selected(self.batch).pair_ids) == len(batch.records)
            assert read_criterion(self.batch) is not None
            if (self.batch / SIGNATURE).exists():
                json.loads((self.batch / SIGNATURE).read_text())
        tasks = self.folder / "tasks.json"
        if tasks.exists():
            assert len(json.loads(tasks.read_text())) == 30
        if (self.folder / "review.db").exists() and self.batch.exists():
            store = open_store(self.database)
            batch_id = read_batch(self.batch).batch_id
            assert store.check_log(batch_id) == []
            held = store.labels(batch_id)
            assert len(held) in (0, 30)
            store.close()


def killed(step: Callable[[], None], seconds: float) -> bool:
    """Run a step in a process of its own and kill it after a while; whether it was killed."""
    child = multiprocessing.get_context("fork").Process(target=step)
    child.start()
    child.join(seconds)
    if child.is_alive():
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
    return child.exitcode == -signal.SIGKILL


def test_fifty_kills_leave_every_file_whole_and_the_store_consistent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, str(tmp_path / "keys" / "key.pem"))
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    desk, rng, kills = Desk(tmp_path), random.Random(0), 0
    for name in ("solve", "decide", "sign", "export", "bring_back"):
        step: Callable[[], None] = getattr(desk, name)
        if name == "bring_back":
            _answers(desk)
        started = time.perf_counter()
        step()
        duration = time.perf_counter() - started
        for _ in range(ROUNDS):
            cut = killed(step, rng.uniform(0.0, duration))
            kills += cut
            duration *= 1.0 if cut else 0.8  # the first run, which was measured, may have been the slowest
            desk.check()
        step()
        desk.check()
    assert kills >= 25
    store = open_store(desk.database)
    assert verify_batch(desk.batch, store=store).holds
    assert len(store.labels(read_batch(desk.batch).batch_id)) == 30
    store.close()


def _answers(desk: Desk) -> None:
    tasks: list[dict[str, Any]] = json.loads((desk.folder / "tasks.json").read_text())
    for n, task in enumerate(tasks):
        result = [{"type": "choices", "value": {"choices": ["left"]}}]
        task["annotations"] = [{"id": n, "completed_by": 1, "result": result, "was_cancelled": False}]
    (desk.folder / "answers.json").write_text(json.dumps(tasks))
