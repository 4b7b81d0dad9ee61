"""One pair_id, one pair: ids that could be joined to the same text are refused where pools are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation.pool.schema import pair_id
from curation.run.prepare import load_pool

JOINED = ("a", "a\x1fb", "b", "c")  # "a|a" + "b" and "a" + "a|b" are one text once joined


def rows(kind: str) -> tuple[str, list[dict[str, Any]]]:
    """(name of a file, its rows), every reader's own place of an id holding U+001F."""
    good = [{"text": f"answer {k}", "response_id": f"r{k}"} for k in range(3)]
    if kind == "response_id":
        return "pool.jsonl", [
            {"prompt_id": "p", "prompt": "q", "responses": [{**good[0], "response_id": "a\x1fb"}, *good[1:]]}
        ]
    if kind == "prompt_id":
        return "pool.jsonl", [{"prompt_id": "p\x1fa", "prompt": "q", "responses": good}]
    if kind == "pairs":
        return "pool.jsonl", [{"prompt_id": "p", "prompt": "q", "responses": good, "pairs": [["r0", "r\x1f1"]]}]
    return "flat.csv", [
        {"prompt_id": "p", "prompt": "q", "response": f"answer {k}", "response_id": f"r\x1f{k}"} for k in range(3)
    ]


@pytest.mark.parametrize("kind", ["response_id", "prompt_id", "pairs", "flat"])
def test_an_id_that_holds_the_separator_is_rejected_by_every_reader_with_its_line(kind: str, tmp_path: Path) -> None:
    name, bad = rows(kind)
    fine = {"prompt_id": "q", "prompt": "q", "responses": [{"text": "x"}, {"text": "y"}]}
    path = tmp_path / name
    if name.endswith("csv"):
        head = list(bad[0])
        other = [{"prompt_id": "z", "prompt": "w", "response": f"other {k}", "response_id": f"r{k}"} for k in range(2)]
        path.write_text(
            "\n".join([",".join(head), *(",".join(row[key] for key in head) for row in [*bad, *other])]) + "\n"
        )
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in [*bad, fine]))
    found = load_pool(path)
    assert found.rejects
    assert all("U+001F" in reject.reason for reject in found.rejects)
    assert len(found.pool.prompts) == 1


def test_without_the_separator_different_pairs_never_join_to_one_text() -> None:
    assert pair_id("p", "a", "a\x1fb") == pair_id("p", "a\x1fa", "b")  # why it is refused
    plain = [key.replace("\x1f", "|") for key in JOINED]
    ids = {(a, b): pair_id("p", a, b) for a in plain for b in plain}
    assert len(set(ids.values())) == len(ids)


def test_a_text_may_hold_it(tmp_path: Path) -> None:
    row = {"prompt_id": "p", "prompt": "q \x1f", "responses": [{"text": "x \x1f y"}, {"text": "z"}]}
    (tmp_path / "pool.jsonl").write_text(json.dumps(row) + "\n")
    assert load_pool(tmp_path / "pool.jsonl").rejects == ()
