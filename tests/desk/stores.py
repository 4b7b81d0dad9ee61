"""Stores with a batch in them, and many hands on one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select

from curation.errors import CurationError
from curation.review.store.batches import NewBatch
from curation.review.store.store import Store, open_store
from curation.review.store.tables import PoolRow


@contextmanager
def stores(database: str, count: int) -> Iterator[list[Store]]:
    """Stores of as many people, each with connections of its own."""
    opened = [open_store(database) for _ in range(count)]
    try:
        yield opened
    finally:
        for store in opened:
            store.close()


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Results of acts that begin together; a CurationError counts as a result, anything else is raised."""
    gate, results = threading.Barrier(len(acts)), [None] * len(acts)

    def run(place: int) -> None:
        gate.wait()
        try:
            results[place] = acts[place]()
        except CurationError as error:
            results[place] = error
        except BaseException as error:
            results[place] = ("unexpected", error)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    broken = [result for result in results if isinstance(result, tuple) and result[:1] == ("unexpected",)]
    assert not broken, broken
    return results


def errors(results: list[Any]) -> list[str]:
    return [str(result) for result in results if isinstance(result, Exception)]


BATCH, POOL = "b" * 16, "p" * 16


def fill(store: Store, batch_id: str = BATCH) -> Store:
    store.record_pool(POOL, "pool", "/data/pool.jsonl")
    batch = NewBatch(
        batch_id,
        folder="/out/batch",
        pool_fingerprint=POOL,
        features_fingerprint="f" * 16,
        budget=40,
        settings={"ridge": 30.0, "max_labels_per_pair": float("inf"), "previous": ("x",)},
        objective=1.5,
        lower_bound=1.25,
        realised=1.75,
    )
    store.record_batch(batch, who="ana")
    return store


@pytest.fixture
def store(database: str):
    """On SQLite and on PostgreSQL: what holds on one holds on the other."""
    opened = fill(open_store(database))
    yield opened
    opened.close()


def pools(store: Store) -> list[tuple[str, str | None]]:
    """Name and file of the recorded pools, the first one recorded first."""
    query = select(PoolRow).order_by(PoolRow.fingerprint)
    return store._read(lambda session: [(row.name, row.path) for row in session.scalars(query)])
