"""The command line in process, and the small solves that its tests start from."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from curation.cli.app import main
from curation.pool.readers.read import read_pool
from curation.representation.features_file import write_features
from tests.desk.pools import real_pool

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


RULES = {"uniform", "first_pair", "farthest", "farthest_fisher", "reference_weighted", "d_optimal", "greedy"}


def run_process(*arguments: object, home: Path, status: int = 0) -> tuple[dict, str]:
    """`run` as an analyst does: `python -m curation` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "curation", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "CURATION_HOME": str(home), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    return _told(arguments, done.returncode, done.stdout, done.stderr, status)


@pytest.fixture(scope="module")
def dev() -> tuple[Path, Path]:
    pool = real_pool("answers_dev.jsonl.gz")
    return pool, pool.with_name("answers_dev.features.parquet")


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """Ten prompts of four written answers with features of their own."""
    pool = tmp_path / "small.jsonl"
    rng = np.random.default_rng(0)
    with pool.open("w", encoding="utf-8") as handle:
        for x in range(10):
            texts = [f"answer {x} {k} " + "word " * int(rng.integers(1, 9)) for k in range(4)]
            row = {"prompt_id": f"p{x}", "prompt": f"question {x}", "responses": [{"text": t} for t in texts]}
            handle.write(json.dumps(row) + "\n")
    features = tmp_path / "small.features.parquet"
    ids = read_pool(pool).pool.ids()
    write_features(features, ids, rng.standard_normal((len(ids), 6)).astype("float32"))
    return pool, features
