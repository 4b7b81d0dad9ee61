"""A SQLite file that is taken away or exchanged under an open store: nothing is acknowledged that would be lost."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from curation.errors import StoreError
from curation.review.store.store import open_store
from tests.desk.stores import BATCH, fill


@pytest.mark.parametrize("harm", ["removed", "replaced by a copy", "folder removed", "moved away"])
def test_a_database_that_is_removed_or_replaced_is_noticed_before_a_decision_is_acknowledged(
    harm: str, tmp_path: Path
) -> None:
    folder = tmp_path / "db"
    file = folder / "review.db"
    store = open_store(f"sqlite:///{file}")
    fill(store)
    store.decide(BATCH, "p1", "approve", who="ana")
    if harm == "removed":
        file.unlink()
    elif harm == "replaced by a copy":
        shutil.copy(file, folder / "copy.db")
        (folder / "copy.db").replace(file)
    elif harm == "folder removed":
        shutil.rmtree(folder)
    else:
        file.rename(folder / "elsewhere.db")
    told: list[str] = []

    def decide() -> None:
        try:
            store.decide(BATCH, "p2", "approve", who="ana")
        except StoreError as error:
            told.append(str(error))

    decide()
    thread = threading.Thread(target=decide)  # a connection of its own, which SQLite would make a new file for
    thread.start()
    thread.join()
    assert len(told) == 2
    assert all("removed or replaced" in words for words in told)
    assert file.exists() == (harm == "replaced by a copy")
    if harm == "moved away":
        (folder / "elsewhere.db").rename(file)
        store.decide(BATCH, "p2", "approve", who="ana")
        assert set(store.decisions(BATCH)) == {"p1", "p2"}
    store.close()
