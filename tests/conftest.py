"""Settings of every test run, and the databases that the store's tests run on."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.desk import postgres
from tests.desk.endpoint import endpoint

__all__ = ["database", "endpoint", "new_database", "postgres_server"]

# No test signs with the key of who runs it, or leaves anything beside it.
os.environ.setdefault("CURATION_SIGNING_KEY", str(Path(tempfile.mkdtemp(prefix="pairwright-key-")) / "key.pem"))
torch.set_num_threads(1)  # the problems are small, and the machine is shared


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL server of this session's own."""
    if postgres.programs() is None:
        pytest.skip("no PostgreSQL server is installed")
    with postgres.cluster() as address:
        yield address


def new_database(server: str) -> str:
    """The address of a new, empty database on a server."""
    from sqlalchemy import create_engine, text

    name = f"t{uuid.uuid4().hex[:12]}"
    engine = create_engine(
        f"{server}/postgres".replace("postgresql://", "postgresql+pg8000://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database: of a SQLite file, then of a PostgreSQL server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'review.db'}"
    return new_database(request.getfixturevalue("postgres_server"))
