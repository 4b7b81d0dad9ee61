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

from curation.errors import OutputError
from curation.system.outputs import alive

DONE = "stage.json"  # written last: its presence says that a stage is whole
UNFINISHED = ".unfinished"  # after a stage's name: where it keeps how far it is


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
        found = stage_key(target)
        if found == key:
            return target
        if found is None and target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise OutputError(
                f"{target} exists and is not a finished stage of an experiment, so it is not replaced; choose another "
                "--out, or move it away."
            )
        self.told(name)
        _sweep(self.folder, name)
        staging = self.folder / f".{name}.{os.getpid()}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        started = time.perf_counter()
        try:
            make(staging)
            (staging / DONE).write_text(json.dumps({"key": key, "seconds": time.perf_counter() - started}))
            old = self.folder / f".{name}.old-{os.getpid()}"
            if target.exists():
                target.rename(old)
            staging.replace(target)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self.made.append(name)
        shutil.rmtree(self.folder / f"{name}{UNFINISHED}", ignore_errors=True)
        return target

    def unfinished(self, name: str, depends: Any) -> Path:
        """A folder where a stage keeps how far it is; gone when it is done, or found with other `depends`."""
        target = self.folder / f"{name}{UNFINISHED}"
        mine = target / key_of([name, depends])
        if target.is_dir() and not mine.is_dir():
            shutil.rmtree(target)
        if stage_key(self.folder / name) != mine.name:
            mine.mkdir(parents=True, exist_ok=True)
        return mine


def _sweep(folder: Path, name: str) -> None:
    """Remove what runs of a stage have left whose process is gone."""
    for path in folder.glob(f".{name}.*"):
        number = path.name.removeprefix(f".{name}.").removeprefix("old-")
        if number.isdecimal() and path.is_dir() and not path.is_symlink() and not alive(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def key_of(depends: Any) -> str:
    """A hash of anything JSON can say."""
    return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()[:16]


def stage_key(folder: Path) -> str | None:
    """The key a finished stage was made for, else None."""
    try:
        return str(json.loads((folder / DONE).read_text())["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_json(path: Path, value: Any) -> None:
    """One JSON file, whole or not at all."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    staging.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    staging.replace(path)


def load_json(path: Path) -> Any:
    """What `save_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
