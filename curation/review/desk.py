"""How somebody left the review of a batch: filters, order, blind mode. Kept per person and batch, as a view unnamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curation.review.store.store import Store

MARK = "\u2063"  # begins the name of what is kept of a desk; no keyboard writes it, no list shows it


def keep_desk(store: Store, batch_id: str, desk: Mapping[str, Any], *, who: str) -> None:
    """Keep how this person's desk stands. Raises StoreError for who may not decide."""
    store.save_view(f"{MARK}{batch_id}", desk, who=who)


def kept_desk(store: Store, batch_id: str, *, who: str) -> dict[str, Any] | None:
    """How this person left the batch; None where she has not been at it."""
    return store.views(who).get(f"{MARK}{batch_id}")


def named_views(store: Store, *, who: str) -> dict[str, dict[str, Any]]:
    """name -> filter of the views that this person has named."""
    return {name: view for name, view in store.views(who).items() if not name.startswith(MARK)}
