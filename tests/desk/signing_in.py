"""A dashboard that asks who is there, beside a real OpenID provider."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curation.review.store.store import open_store
from tests.desk.waiting import answering, ended

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def dashboard(home: Path, port: int, *options: str, **environment: str) -> Iterator[str]:
    """The real app on a port; ends with the block."""
    clean = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    with (home / f"server-{port}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), *options],
            cwd=ROOT,
            env={**clean, "CURATION_MAP_WORKER": "0", "CURATION_HOME": str(home), **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            answering(process, f"http://127.0.0.1:{port}", home / f"server-{port}.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            ended(process)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A workspace with an administrator and a reviewer."""
    folder = tmp_path_factory.mktemp("signed")
    store = open_store(f"sqlite:///{folder / 'pairwright.db'}")
    store.set_role("ada@example.org", "admin", who="ada@example.org")
    store.set_role("rae@example.org", "reviewer", who="ada@example.org")
    store.close()
    return folder
