"""The store's part for comments: they live in the audit log alone, where nobody can change or drop one unseen."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.store import chain
from curation.review.store.tables import EventRow
from curation.review.store.transactions import Transactions, known_batch

LONGEST = 4_000  # characters


@dataclass(frozen=True)
class Comment:
    """What somebody said about a pair. at: UTC, ISO 8601."""

    pair_id: str
    text: str
    who: str
    at: str


class CommentStore(Transactions):
    """Methods of `Store` on comments."""

    def comment(self, batch_id: str, pair_id: str, text: str, *, who: str) -> Comment:
        """Say something about a pair without deciding it. Raises StoreError for an empty or very long text."""
        said = text.strip()
        if not said or len(said) > LONGEST:
            raise StoreError(f"a comment has 1 to {LONGEST:,} characters, this one has {len(said):,}; change it.")

        def work(session: Session, who: str) -> Comment:
            known_batch(session, batch_id)
            body = {"pair": pair_id, "text": said}
            event = chain.append(session, "comment", who=who, batch_id=batch_id, body=body)
            return Comment(pair_id, said, who, event.at)

        return self._act(who, "reviewer", work)

    def comments(self, batch_id: str) -> dict[str, list[Comment]]:
        """pair_id -> what was said about it, oldest first."""
        query = select(EventRow).where(EventRow.batch_id == batch_id, EventRow.kind == "comment").order_by(EventRow.id)

        def work(session: Session) -> dict[str, list[Comment]]:
            found: dict[str, list[Comment]] = {}
            for row in session.scalars(query):
                body = json.loads(row.body)
                found.setdefault(body["pair"], []).append(Comment(body["pair"], body["text"], row.who, row.at))
            return found

        return self._read(work)
