"""Somebody who may only look: every call of the service layer that would change a batch refuses, and nothing is written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.errors import CurationError, StoreError
from curation.handback import import_labels
from curation.handover import decide_from_file, export_batch
from curation.review.decisions import new_decision
from curation.signing import KEY
from curation.signoff import export_signed, sign_batch
from curation.topup import reject_and_replace, top_up
from tests.test_acts import desk, ids, solved  # noqa: F401

CALLS: dict[str, Callable[[Any], Any]] = {
    "decide": lambda d: d.store.decide(d.batch.batch_id, d.keys[0], "approve", who=d.who),
    "decide_many": lambda d: d.store.decide_many(d.batch.batch_id, d.keys, "approve", who=d.who),
    "record_decisions": lambda d: d.store.record_decisions(
        d.batch.batch_id, [new_decision(d.keys[0], "approve", None, None)], who=d.who
    ),
    "undo": lambda d: d.store.undo(d.batch.batch_id, who=d.who),
    "undo_action": lambda d: d.store.undo_action(d.batch.batch_id, who=d.who),
    "decide_from_file": lambda d: decide_from_file(d.batch.path, d.csv, who=d.who, store=d.store),
    "comment": lambda d: d.store.comment(d.batch.batch_id, d.keys[0], "fine", who=d.who),
    "sign": lambda d: sign_batch(d.batch.path, who=d.who, store=d.store),
    "record_signature": lambda d: d.store.record_signature(d.batch.batch_id, who=d.who, body={}, second_person=False),
    "export": lambda d: export_batch(d.batch.path, to="jsonl", out=d.folder / "o.jsonl", who=d.who, store=d.store),
    "export_signed": lambda d: export_signed(d.batch.path, to="csv", out=d.folder / "o.csv", who=d.who, store=d.store),
    "import_labels": lambda d: import_labels(d.batch.path, d.labels, who=d.who, store=d.store),
    "top_up": lambda d: top_up(d.batch.path, d.pool, d.features, who=d.who, store=d.store),
    "reject_and_replace": lambda d: reject_and_replace(
        d.batch.path, d.pool, d.features, d.keys[0], (0, 0, 1), who=d.who, store=d.store
    ),
    "set_role": lambda d: d.store.set_role(d.who, "admin", who=d.who),
}


class Desk:
    """What the calls need."""


@pytest.fixture
def ready(desk: Any, solved: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    """A batch that bea has approved, people with roles, a labels file."""
    monkeypatch.setenv(KEY, str(tmp_path / "key.pem"))
    made = Desk()
    made.batch, made.store = desk  # type: ignore[attr-defined]
    made.keys = ids(made.batch)  # type: ignore[attr-defined]
    made.store.decide_many(made.batch.batch_id, made.keys, "approve", who="bea")  # type: ignore[attr-defined]
    for name, role in (("ada", "admin"), ("bea", "reviewer"), ("vic", "viewer")):
        made.store.set_role(name, role, who="ada")  # type: ignore[attr-defined]
    made.csv = tmp_path / "d.csv"  # type: ignore[attr-defined]
    made.csv.write_text(f"pair_id,decision\n{made.keys[0]},approve\n")  # type: ignore[attr-defined]
    made.labels = tmp_path / "l.jsonl"  # type: ignore[attr-defined]
    record = made.batch.records[0]  # type: ignore[attr-defined]
    made.labels.write_text(  # type: ignore[attr-defined]
        json.dumps({"batch_id": made.batch.batch_id, "pair_id": record["pair_id"], "preference": "tie"}) + "\n"  # type: ignore[attr-defined]
    )
    made.folder, made.pool, made.features = tmp_path, solved["pool"], solved["features"]  # type: ignore[attr-defined]
    return made


def contents(place: str) -> list[Any]:
    with sqlite3.connect(place) as connection:
        return [
            connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
            for table in ("decisions", "events", "exports", "imports", "labels", "people")
        ]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("who", ["vic", "nobody named"])
def test_no_call_lets_a_viewer_or_a_stranger_change_anything(ready: Any, name: str, who: str) -> None:
    ready.who = who
    before = contents(ready.store.place)
    files = {path for path in ready.folder.rglob("*") if path.is_file()}
    with pytest.raises(CurationError):
        CALLS[name](ready)
    assert contents(ready.store.place) == before
    new = {path for path in ready.folder.rglob("*") if path.is_file()} - files
    assert not [path for path in new if path.suffix in (".jsonl", ".csv") or path.name == "signature.json"], new


def test_comments_are_kept_in_order_and_a_changed_one_is_found(ready: Any) -> None:
    store, batch = ready.store, ready.batch
    store.comment(batch.batch_id, ready.keys[0], " looks odd ", who="bea")
    store.comment(batch.batch_id, ready.keys[0], "agreed", who="ada")
    store.comment(batch.batch_id, ready.keys[1], "<b>fine</b>", who="bea")
    said = store.comments(batch.batch_id)
    assert [(c.who, c.text) for c in said[ready.keys[0]]] == [("bea", "looks odd"), ("ada", "agreed")]
    assert said[ready.keys[1]][0].text == "<b>fine</b>"
    with pytest.raises(StoreError, match="1 to 4,000 characters"):
        store.comment(batch.batch_id, ready.keys[0], "   ", who="bea")
    with sqlite3.connect(store.place) as connection:
        connection.execute("UPDATE events SET body = replace(body, 'agreed', 'refused') WHERE kind = 'comment'")
    assert store.check_log(batch.batch_id), "the log no longer holds"
