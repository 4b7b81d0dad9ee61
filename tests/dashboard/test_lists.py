"""Pins and exclusions that grow by picked pairs: every list is one that the reader takes."""

from __future__ import annotations

import json
from pathlib import Path

from curation.dashboard.lists import longer_list, shorter_list
from curation.pool.pair_lists import read_pair_list
from curation.pool.readers.read import read_pool
from curation.pool.schema import pair_id


def test_a_list_grows_and_shrinks_by_picked_pairs(tmp_path: Path) -> None:
    rows = [
        {
            "prompt_id": f"p{x}",
            "prompt": "q",
            "responses": [{"response_id": f"r{k}", "text": f"{x},{k}"} for k in range(3)],
        }
        for x in range(3)
    ]
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pool = read_pool(tmp_path / "pool.jsonl").pool
    picked = [pair_id("p0", "r0", "r1"), pair_id("p2", "r1", "r2"), "0" * 16]

    def read(text: str) -> list[tuple[int, int, int]]:
        (tmp_path / "list.csv").write_text(text)
        return read_pair_list(tmp_path / "list.csv", pool)

    grown = read(longer_list([(1, 0, 2)], picked, pool))
    assert grown == [(0, 0, 1), (1, 0, 2), (2, 1, 2)]
    left = shorter_list(grown, picked, pool)
    assert left is not None
    assert read(left) == [(1, 0, 2)]
    assert shorter_list([(0, 0, 1)], picked, pool) is None
