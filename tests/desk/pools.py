"""Where the tests find pools: the bundled demo, and real ones in the folders of CURATION_POOLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.settings import pool_folders

ROOT = Path(__file__).resolve().parents[2]


def real_pool(name: str) -> Path:
    """A real pool by file name; the test is skipped, with the reason, where there is none."""
    for folder in pool_folders():
        path = (folder if folder.is_absolute() else ROOT / folder) / name
        if path.is_file():
            return path.resolve()
    pytest.skip(f"{name} is in no folder of CURATION_POOLS")


def demo_pool() -> Path:
    """The bundled demo pool."""
    return ROOT / "data" / "demo.jsonl.gz"
