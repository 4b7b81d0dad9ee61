"""The Sign-off page of the demo pool in a simulated browser, every pair of its batch approved."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from curation.batch.folder import BatchFolder, read_batch
from curation.review.store.store import Store, open_store

APP = Path(__file__).parents[2] / "app.py"


def approved_sign_off(home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[AppTest, Store, BatchFolder]:
    """The page before its next run, the workspace's store, and the batch of twelve labels."""
    monkeypatch.setenv("CURATION_HOME", str(home))
    monkeypatch.setenv("CURATION_ALLOW_REMOTE", "1")  # the simulated browser has no address
    monkeypatch.delenv("DATABASE_URL", raising=False)
    page = AppTest.from_file(str(APP), default_timeout=300)
    page.query_params["budget"] = "12"
    page.run().switch_page("pages/signoff.py").run()
    page.button(key="keep_batch").click().run()
    opened = open_store()
    (stored,) = opened.batches()
    batch = read_batch(stored.folder)
    opened.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="ana")
    return page, opened, batch
