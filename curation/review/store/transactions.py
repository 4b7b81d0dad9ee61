"""How the store reads and writes: every method of it is one short transaction, and every act asks for a role in it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.store import anchor, chain, roles
from curation.review.store.failures import DATABASE_ERRORS, in_words, passing
from curation.review.store.tables import BatchRow, PoolRow

T = TypeVar("T")
ATTEMPTS = 8


class Transactions:
    """A database and the two ways to it, which every part of `Store` builds on."""

    def __init__(self, engine: Engine, place: str) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self.place = place

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    def _read(self, work: Callable[[Session], T]) -> T:
        try:
            with Session(self._engine, expire_on_commit=False) as session:
                return work(session)
        except DATABASE_ERRORS as error:
            raise in_words(error, self.place) from error

    def _act(self, who: str, role: roles.Role, work: Callable[[Session, str], T]) -> T:
        """The one way to write: in a transaction of its own, asks whether `who` has `role`, then does the work.

        work: is given the session and the name under which the person acts. Writers of a server database take turns
        from before the first read, so that what an act rests on still holds when it is written. Where the database
        ends a transaction for another's sake it is done again. The new end of the log is then remembered outside the
        database. Raises StoreError for who may not.
        """

        def asked(session: Session) -> T:
            chain.take_turns(session)
            return work(session, roles.require(session, who, role))

        for attempt in range(ATTEMPTS):
            try:
                with Session(self._writer, expire_on_commit=False) as session, session.begin():
                    done = asked(session)
                    head = anchor.head_of(session, self.place)
                anchor.keep(head)
                return done
            except DATABASE_ERRORS as error:
                if attempt == ATTEMPTS - 1 or not passing(error):
                    raise in_words(error, self.place) from error
                time.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")


def known_pool(session: Session, fingerprint: str) -> None:
    """Raise StoreError for a pool that was never opened."""
    if session.get(PoolRow, fingerprint) is None:
        raise StoreError(f"pool {fingerprint} is not in the review store; open the pool first.")


def known_batch(session: Session, batch_id: str) -> BatchRow:
    """The row of a recorded batch. Raises StoreError for one that nobody has recorded."""
    row = session.get(BatchRow, batch_id)
    if row is None:
        raise StoreError(f"batch {batch_id} is not in the review store; open the batch folder first.")
    return row
