"""Exclusions made on the pages: pairs that go into the list which the design leaves out, kept in the workspace."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from curation.dashboard.places import LIST_ENDINGS, allowed_path, save_upload
from curation.pool.pair_lists import named_pair, pair_list_csv, read_pair_list
from curation.pool.schema import Pool
from curation.review.store.store import Store

NamedPair = tuple[str, str, str]  # prompt_id, response_a_id, response_b_id


def excluded_in(pool: Pool, name: str) -> set[NamedPair]:
    """What a view's exclusions name. name: of the list, "" without one. Raises PoolError."""
    if not name:
        return set()
    return {named_pair(pool, pair) for pair in read_pair_list(allowed_path(name, LIST_ENDINGS), pool)}


def exclude_more(pool: Pool, name: str, pairs: Iterable[NamedPair], *, who: str, store: Store) -> Path:
    """A new list: the exclusions of the list `name` and these pairs. The old list stays as it is.

    Raises StoreError for who may not, PoolError where the old list cannot be read or the new one not kept.
    """
    together = sorted(excluded_in(pool, name) | set(pairs))
    return save_upload("exclusions.csv", pair_list_csv(together).encode("utf-8"), who=who, store=store)
