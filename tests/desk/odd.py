"""A world of files to be changed, and what becomes of a command that reads them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.errors import CurationError
from tests.fuzz.world import make

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    kept = dict(os.environ)
    yield make(tmp_path_factory.mktemp("odd"))
    os.environ.clear()
    os.environ |= kept


def ended(call: Callable[[], object]) -> str | None:
    """The sentence that a call ended in, None where it went through."""
    try:
        call()
    except CurationError as error:
        return str(error)
    return None
