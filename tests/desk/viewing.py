"""What a store and a workspace hold, so that nothing written goes unseen."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from curation.exchange.receive import import_labels
from curation.exchange.send import export_batch
from curation.review.signing_key import KEY
from tests.desk.acting import ids

POOL = "p" * 16


class Desk:
    """What the calls need."""

    who = ""
    batch: Any
    store: Any
    folder: Path

    def copied(self, batch_id: str | None = None) -> Path:
        """A copy of the batch folder with a text that nobody reviewed, under its own id or another."""
        target = self.folder.parent / f"{self.folder.name}-copy"
        if not target.exists():
            shutil.copytree(self.batch.path, target)
        manifest = json.loads((target / "manifest.json").read_text())
        manifest["batch_id"] = batch_id or self.batch.batch_id
        (target / "manifest.json").write_text(json.dumps(manifest))
        lines = (target / "batch.jsonl").read_text().splitlines()
        first = {**json.loads(lines[0]), "response_a": "APPROVE THIS"}
        (target / "batch.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
        return target


@pytest.fixture
def ready(desk: Any, solved: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A batch that bea has approved, people with roles, a labels file, a scenario and a view."""
    monkeypatch.setenv(KEY, str(tmp_path / "key.pem"))
    made: Any = Desk()
    made.batch, made.store = desk
    made.keys = ids(made.batch)
    made.store.decide_many(made.batch.batch_id, made.keys, "approve", who="bea")
    made.store.record_pool(POOL, "pool", who="ana")
    made.store.save_scenario(POOL, "kept", settings={"ridge": 1}, figures={}, who="ana")
    made.store.save_view("mine", {"filter_words": "y"}, who="vic")
    for name, role in (("ada", "admin"), ("bea", "reviewer"), ("vic", "viewer")):
        made.store.set_role(name, role, who="ada")
    made.csv = tmp_path / "d.csv"
    made.csv.write_text(f"pair_id,decision\n{made.keys[0]},approve\n")
    made.labels = tmp_path / "l.csv"
    export_batch(made.batch.path, to="csv", out=made.labels, who="bea", store=made.store)
    head, *rows = made.labels.read_text().splitlines()
    made.labels.write_text("\n".join([f"{head},preference", *(f"{row},left" for row in rows)]))
    import_labels(made.batch.path, made.labels, who="bea", store=made.store)
    made.folder, made.pool, made.features = tmp_path, solved["pool"], solved["features"]
    made.pool_file, made.made, made.lesson = solved["pool_file"], solved["made"], None
    return made


def contents(place: str) -> dict[str, list[Any]]:
    """Every row of every table."""
    with sqlite3.connect(place) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for (table,) in tables}


def files_of(folder: Path) -> set[Path]:
    """Everything in a folder but the database's own files."""
    return {path for path in folder.rglob("*") if not path.name.startswith("pairwright.db")}
