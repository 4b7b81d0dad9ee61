"""Resumable stages: each leaves a whole folder or none, and is skipped when what it depends on has not changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DONE = "stage.json"  # written last: its presence says that a stage is whole


class Stages:
    """The stages of one experiment in one folder. told: called with a stage's name when its work begins."""

    def __init__(self, folder: Path, told: Callable[[str], None] = lambda name: None) -> None:
        self.folder = folder
        self.told = told
        self.made: list[str] = []  # not skipped
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, depends: Any, make: Callable[[Path], None]) -> Path:
        """The folder of a stage, made by `make(folder)` unless it is there for the same `depends` (JSON)."""
        target = self.folder / name
        key = key_of([name, depends])
        if stage_key(target) == key:
            return target
        self.told(name)
        staging = self.folder / f".{name}.{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        started = time.perf_counter()
        try:
            make(staging)
            (staging / DONE).write_text(json.dumps({"key": key, "seconds": time.perf_counter() - started}))
            shutil.rmtree(target, ignore_errors=True)
            staging.replace(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self.made.append(name)
        return target


def key_of(depends: Any) -> str:
    """A hash of anything JSON can say."""
    return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()[:16]


def stage_key(folder: Path) -> str | None:
    """The key a finished stage was made for, else None."""
    try:
        return str(json.loads((folder / DONE).read_text())["key"])
    except (OSError, ValueError, KeyError):
        return None


def save_json(path: Path, value: Any) -> None:
    """One JSON file, whole or not at all."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    staging.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    staging.replace(path)


def load_json(path: Path) -> Any:
    """What `save_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
