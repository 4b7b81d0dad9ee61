"""Live decisions: what is read in parts is what the store holds, whoever wrote it and in whatever order it was seen."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

from sqlalchemy import delete

from curation.errors import StoreError
from curation.review.store.live import LiveDecisions
from curation.review.store.store import Store
from curation.review.store.tables import DecisionRow
from tests.desk.stores import BATCH

KEYS = [f"{n:016x}" for n in range(12)]


def test_it_is_the_store_after_every_step_of_a_random_review(store: Store) -> None:
    chance = random.Random(0)
    live, late = LiveDecisions(store, BATCH), LiveDecisions(store, BATCH)
    for step in range(60):
        who = chance.choice(["ana", "bea"])
        kind = chance.random()
        if kind < 0.6:
            store.decide(BATCH, chance.choice(KEYS), chance.choice(["approve", "flag", "clear"]), who=who)
        elif kind < 0.8:
            store.decide_many(BATCH, chance.sample(KEYS, 4), "approve", who=who)
        else:
            with suppress(StoreError):  # somebody else decided one of the pairs since: nothing was written
                store.undo_action(BATCH, who=who)
        assert live.now() == store.decisions(BATCH), step
        if step % 17 == 0:
            assert late.now() == store.decisions(BATCH)
    assert late.now() == live.now() == store.decisions(BATCH)


def test_only_what_is_new_is_read(store: Store, monkeypatch: Any) -> None:
    live = LiveDecisions(store, BATCH)
    store.decide_many(BATCH, KEYS, "approve", who="ana")
    live.now()
    seen: list[int] = []
    read = store.decisions_after

    def counted(batch_id: str, entry: int) -> Any:
        found = read(batch_id, entry)
        seen.append(len(found[0]))
        return found

    monkeypatch.setattr(store, "decisions_after", counted)
    live.now()
    store.decide(BATCH, KEYS[0], "flag", who="ana")
    live.now()
    assert seen == [0, 1]


def test_an_entry_that_appears_late_with_a_lower_number_is_not_missed(store: Store) -> None:
    """As PostgreSQL shows it when the transaction that took the lower number ends later."""
    store.decide(BATCH, KEYS[0], "approve", who="ana")
    store.decide(BATCH, KEYS[1], "approve", who="bea")
    with store._engine.begin() as connection:
        held = connection.execute(DecisionRow.__table__.select().order_by(DecisionRow.id)).mappings().first()
        assert held is not None
        connection.execute(delete(DecisionRow).where(DecisionRow.id == held["id"]))
    live = LiveDecisions(store, BATCH)
    assert set(live.now()) == {KEYS[1]}
    with store._engine.begin() as connection:
        connection.execute(DecisionRow.__table__.insert().values(**held))
    assert live.now() == store.decisions(BATCH)
    assert set(live.now()) == {KEYS[0], KEYS[1]}
