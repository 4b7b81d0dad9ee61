"""The store's part for saved views: a name for a filter and an order, each person's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.store.records import as_json
from curation.review.store.tables import ViewRow
from curation.review.store.transactions import Transactions


class ViewStore(Transactions):
    """Methods of `Store` on saved views."""

    def save_view(self, name: str, wanted: Mapping[str, Any], *, who: str) -> None:
        """Keep a filter under a name, in place of an earlier one of this person's. Raises StoreError without a name."""
        name = name.strip()
        if not name:
            raise StoreError("a view needs a name; it is empty.")

        def work(session: Session, who: str) -> None:
            session.execute(delete(ViewRow).where(ViewRow.who == who, ViewRow.name == name))
            session.add(ViewRow(name=name, who=who, filter=as_json(wanted)))

        self._act(who, "reviewer", work)

    def views(self, who: str) -> dict[str, dict[str, Any]]:
        """name -> filter of this person's views, by name."""
        query = select(ViewRow).where(ViewRow.who == who).order_by(ViewRow.name)
        found = self._read(lambda session: {row.name: dict(row.filter) for row in session.scalars(query)})
        return found

    def delete_view(self, name: str, *, who: str) -> bool:
        """Remove a view; whether there was one."""

        def work(session: Session, who: str) -> bool:
            query = delete(ViewRow).where(ViewRow.who == who, ViewRow.name == name)
            return bool(session.connection().execute(query).rowcount)

        return self._act(who, "reviewer", work)
