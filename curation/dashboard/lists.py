"""Pins and exclusions as pages add to them: a list that grows by picked pairs is a new file."""

from __future__ import annotations

from collections.abc import Sequence

from curation.pool.pair_lists import LocalPair, pair_list_csv, pairs_by_id
from curation.pool.schema import Pool


def longer_list(kept: Sequence[LocalPair], picked: Sequence[str], pool: Pool) -> str:
    """A list of pairs as CSV: those of a list that is in use, and others by their ids. Ids of no pair are left out."""
    return pair_list_csv(_names(sorted({*kept, *pairs_by_id(pool, set(picked)).values()}), pool))


def shorter_list(kept: Sequence[LocalPair], picked: Sequence[str], pool: Pool) -> str | None:
    """A list of pairs as CSV without those of some ids; None where nothing is left of it."""
    left = sorted(set(kept) - set(pairs_by_id(pool, set(picked)).values()))
    return pair_list_csv(_names(left, pool)) if left else None


def _names(pairs: Sequence[LocalPair], pool: Pool) -> list[tuple[str, str, str]]:
    named = []
    for x, i, j in pairs:
        entry = pool.prompts[x]
        named.append((entry.prompt_id, entry.responses[i].response_id, entry.responses[j].response_id))
    return named
