"""The command line in process, and the small solves that its tests start from."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from pathlib import Path
from unittest import mock

from curation.cli.app import main

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object, home: Path, status: int = 0) -> tuple[dict, str]:
    """Run a command in this process; returns its JSON (or {}) and stderr. Checks the exit status."""
    out, told = io.StringIO(), io.StringIO()
    own = {"CURATION_HOME": str(home)}
    with mock.patch.dict(os.environ, own), contextlib.chdir(ROOT), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
            ended = main([*map(str, arguments)])
    return _told(arguments, ended, out.getvalue(), told.getvalue(), status)


def _told(arguments: tuple[object, ...], ended: int, out: str, told: str, status: int) -> tuple[dict, str]:
    assert ended == status, told
    assert "Traceback" not in told
    return (json.loads(out) if "--json" in arguments and out else {}), told


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "batch.jsonl").read_text(encoding="utf-8").splitlines()]


def solve(pool: Path, features: Path, out: Path, *more: object, home: Path, budget: int = 175, via=run) -> dict:
    return via("solve", pool, "--features", features, "--budget", budget, "--out", out, "--json", *more, home=home)[0]
