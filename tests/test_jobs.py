"""Long work in a real process: progress, success, failure in words, cancelling, a worker that dies."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from curation.jobs import Job, _write, cancel_job, latest_job, read_job, start_features_job
from curation.pool.readers import read_pool
from curation.representation.features_file import read_features
from tests.tiny_models import save_model


@pytest.fixture
def pool(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "workspace"))
    path = tmp_path / "pool.jsonl"
    rows = [
        {"prompt": f"question {x}", "responses": [{"text": f"answer {x} {k} " + "and more " * k} for k in range(3)]}
        for x in range(6)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def wait(job_id: str, seconds: float = 90) -> Job:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job = read_job(job_id)
        assert job is not None
        if job.state != "running":
            return job
        time.sleep(0.2)
    raise AssertionError("the job did not end")


@pytest.mark.slow
def test_a_job_writes_the_features_file_and_counts_its_responses(pool, tmp_path):
    model = save_model(tmp_path / "model", "gpt2")
    opened = read_pool(pool).pool
    job = wait(start_features_job(pool, opened.fingerprint, model=str(model)).job_id)
    assert job.state == "done", job.message
    assert job.done == job.total == opened.n_responses
    table = read_features(job.out, opened.ids(), pool_fingerprint=opened.fingerprint)
    assert len(table.matrix) == opened.n_responses
    assert latest_job(opened.fingerprint) == job


@pytest.mark.slow
def test_a_model_that_is_not_there_fails_in_words(pool):
    opened = read_pool(pool).pool
    job = wait(start_features_job(pool, opened.fingerprint, model="./no-such-model").job_id)
    assert job.state == "failed"
    assert "no-such-model" in job.message
    assert not Path(job.out).exists()


def test_cancelling_ends_the_worker(pool):
    opened = read_pool(pool).pool
    job = start_features_job(pool, opened.fingerprint, model="fit")
    ended = cancel_job(job.job_id)
    assert ended is not None
    assert ended.state == "cancelled"
    _, status = os.waitpid(job.pid, 0)
    assert os.WIFSIGNALED(status)
    again = read_job(job.job_id)
    assert again is not None
    assert again.state == "cancelled"


def test_a_worker_that_was_killed_counts_as_failed(pool):
    opened = read_pool(pool).pool
    job = start_features_job(pool, opened.fingerprint, model="fit")
    os.kill(job.pid, signal.SIGKILL)
    ended = wait(job.job_id, 20)
    assert ended.state == "failed"
    assert "start again" in ended.message


def test_rate_and_time_left_follow_from_progress(pool):
    job = Job("abc", "features", "f", {}, "out", done=30, total=90, seconds=10.0)
    assert job.rate == pytest.approx(3.0)
    assert job.seconds_left == pytest.approx(20.0)
    assert Job("abc", "features", "f", {}, "out").seconds_left is None
    _write(job)
    assert asdict(read_job("abc")) == asdict(job)
    assert read_job("unknown") is None
