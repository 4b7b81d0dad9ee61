"""The decisions of a batch as they stand, kept up to date by reading only what is new.

Entries are never changed or removed, so what was read stays true. Where entries became visible out of order (another
transaction ended later than one with higher numbers), their count says so and everything is read again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from curation.review.store.decisions import Decision

if TYPE_CHECKING:
    from curation.review.store.store import Store


class LiveDecisions:
    """One batch of one store. Safe to share between sessions."""

    def __init__(self, store: Store, batch_id: str) -> None:
        self._store, self._batch_id = store, batch_id
        self._lock = threading.Lock()
        self._held: dict[str, Decision] = {}
        self._last, self._count = 0, 0

    def now(self) -> dict[str, Decision]:
        """pair_id -> the decision that holds. The dictionary is the caller's."""
        with self._lock:
            new, total = self._store.decisions_after(self._batch_id, self._last)
            if self._count + len(new) != total:
                self._held, self._last, self._count = {}, 0, 0
                new, total = self._store.decisions_after(self._batch_id, 0)
            for entry in new:
                known = self._held.get(entry.pair_id)
                if known is None or known.version < entry.version:
                    self._held[entry.pair_id] = entry
                self._last = max(self._last, entry.id)
            self._count = total
            return dict(self._held)
