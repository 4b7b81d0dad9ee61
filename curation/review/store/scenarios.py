"""The store's part for scenarios: design settings with their figures, kept under a name to stand side by side."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from curation.errors import StoreError
from curation.review.store.records import Scenario, as_json
from curation.review.store.roles import COMMAND_LINE
from curation.review.store.tables import ScenarioRow
from curation.review.store.transactions import Transactions, known_pool


class ScenarioStore(Transactions):
    """Methods of `Store` on scenarios."""

    def save_scenario(
        self,
        pool_fingerprint: str,
        name: str,
        *,
        settings: Mapping[str, Any],
        figures: Mapping[str, Any],
        replace: bool = False,
        who: str = COMMAND_LINE,
    ) -> Scenario:
        """Keep settings and figures under a name. Raises StoreError for a name in use, unless `replace`."""
        name = name.strip()
        if not name:
            raise StoreError("a scenario needs a name; it is empty.")

        def work(session: Session, who: str) -> Scenario:
            known_pool(session, pool_fingerprint)
            row = session.scalars(_of(pool_fingerprint).where(ScenarioRow.name == name)).one_or_none()
            if row is not None and not replace:
                raise StoreError(f"a scenario named {name!r} exists for this pool; choose another name or replace it.")
            if row is None:
                row = ScenarioRow(pool_fingerprint=pool_fingerprint, name=name)
                session.add(row)
            row.settings, row.figures, row.created_at = as_json(settings), as_json(figures), datetime.now(UTC)
            session.flush()
            return _scenario(row)

        return self._act(who, "reviewer", work)

    def scenarios(self, pool_fingerprint: str) -> list[Scenario]:
        """The scenarios of a pool, oldest first."""
        query = _of(pool_fingerprint)
        return self._read(lambda session: [_scenario(row) for row in session.scalars(query)])

    def delete_scenario(self, pool_fingerprint: str, name: str, *, who: str = COMMAND_LINE) -> bool:
        """Remove a scenario; whether there was one."""
        query = delete(ScenarioRow).where(ScenarioRow.pool_fingerprint == pool_fingerprint, ScenarioRow.name == name)

        def work(session: Session, who: str) -> bool:
            return bool(session.connection().execute(query).rowcount)

        return self._act(who, "reviewer", work)


def _of(pool_fingerprint: str) -> Select[ScenarioRow]:
    return select(ScenarioRow).where(ScenarioRow.pool_fingerprint == pool_fingerprint).order_by(ScenarioRow.id)


def _scenario(row: ScenarioRow) -> Scenario:
    return Scenario(row.name, row.pool_fingerprint, row.settings, row.figures, row.created_at)
