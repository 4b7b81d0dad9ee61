"""The store's part for comments: they live in the audit log alone, where nobody can change or drop one unseen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.store import chain, roles
from curation.review.store.tables import BatchRow, EventRow

LONGEST = 4_000  # characters


@dataclass(frozen=True)
class Comment:
    """What somebody said about a pair. at: UTC, ISO 8601."""

    pair_id: str
    text: str
    who: str
    at: str


class CommentStore:
    """Methods of `Store` on comments."""

    _act: Callable[[str, roles.Role, Callable[[Session, str], Any]], Any]
    _read: Callable[[Callable[[Session], Any]], Any]

    def comment(self, batch_id: str, pair_id: str, text: str, *, who: str) -> Comment:
        """Say something about a pair without deciding it. Raises StoreError for an empty or very long text."""
        said = text.strip()
        if not said or len(said) > LONGEST:
            raise StoreError(f"a comment has 1 to {LONGEST:,} characters, this one has {len(said):,}; change it.")

        def work(session: Session, who: str) -> Comment:
            if session.get(BatchRow, batch_id) is None:
                raise StoreError(f"batch {batch_id} is not in the review store; open the batch folder first.")
            body = {"pair": pair_id, "text": said}
            event = chain.append(session, "comment", who=who, batch_id=batch_id, body=body)
            return Comment(pair_id, said, who, event.at)

        return cast(Comment, self._act(who, "reviewer", work))

    def comments(self, batch_id: str) -> dict[str, list[Comment]]:
        """pair_id -> what was said about it, oldest first."""
        query = select(EventRow).where(EventRow.batch_id == batch_id, EventRow.kind == "comment").order_by(EventRow.id)

        def work(session: Session) -> dict[str, list[Comment]]:
            found: dict[str, list[Comment]] = {}
            for row in session.scalars(query):
                body = json.loads(row.body)
                found.setdefault(body["pair"], []).append(Comment(body["pair"], body["text"], row.who, row.at))
            return found

        return cast(dict[str, list[Comment]], self._read(work))
