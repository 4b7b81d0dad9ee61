"""Exclusions made on a page: they add to those that are there, whoever may not decide makes none."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.dashboard.exclusions import exclude_more, excluded_in
from curation.errors import CurationError, StoreError
from curation.pool.schema import Pool, Prompt, Response
from curation.review.store.store import open_store

POOL = Pool(tuple(Prompt(f"p,{x}", "q", tuple(Response(f"r{k}", f"{x}{k}") for k in range(3))) for x in range(2)))


def test_pairs_are_added_to_the_exclusions_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    store = open_store()
    assert excluded_in(POOL, "") == set()
    first = exclude_more(POOL, "", [("p,0", "r0", "r1")], who="ana", store=store)
    before = first.read_bytes()
    both = exclude_more(POOL, str(first), {("p,1", "r1", "r2"), ("p,0", "r0", "r1")}, who="ana", store=store)
    assert excluded_in(POOL, str(both)) == {("p,0", "r0", "r1"), ("p,1", "r1", "r2")}
    assert first.read_bytes() == before
    with pytest.raises(CurationError, match="outside the folders"):
        exclude_more(POOL, "/etc/passwd", [], who="ana", store=store)
    store.set_role("ada", "admin", who="ada")
    store.set_role("vic", "viewer", who="ada")
    with pytest.raises(StoreError):
        exclude_more(POOL, str(both), [("p,1", "r0", "r1")], who="vic", store=store)
    store.close()
