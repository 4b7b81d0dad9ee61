"""Long work in a real process: progress, success, failure in words, cancelling, a worker that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from curation.dashboard.jobs import Job, _write, cancel_job, latest_job, read_job, start_features_job
from curation.pool.readers.read import read_pool
from curation.representation.features_file import read_features
from curation.system.processes import is_running, mark_of
from tests.desk.tiny_models import save_model


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


def wait(job_id: str, seconds: float = 400) -> Job:
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
    ended = wait(job.job_id)
    assert ended.state == "failed"
    assert "start again" in ended.message


def test_rate_and_time_left_follow_from_progress(pool):
    job = Job("abc", "features", "f", {}, "out", done=30, total=90, seconds=10.0)
    assert job.rate == pytest.approx(3.0)
    assert job.seconds_left == pytest.approx(20.0)
    assert Job("abc", "features", "f", {}, "out").seconds_left is None
    ended = replace(job, state="done")
    _write(ended)
    assert asdict(read_job("abc")) == asdict(ended)
    assert read_job("unknown") is None


def _stranger() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)


@pytest.mark.parametrize("process", ["", "same", "another boot:1"])
def test_a_stale_job_never_signals_a_process_that_is_not_its_own(pool, process):
    stranger = _stranger()
    try:
        mark = mark_of(stranger.pid) if process == "same" else process
        assert mark_of(stranger.pid)
        _write(Job("abc", "features", "f", {}, "out", pid=stranger.pid, started=time.time(), process=mark))
        found = read_job("abc")
        assert found is not None
        assert found.state == "failed", "it no longer counts as running, so that another can start"
        _write(Job("abc", "features", "f", {}, "out", pid=stranger.pid, started=time.time(), process=mark))
        ended = cancel_job("abc")
        assert ended is not None
        assert ended.state == "failed"
        time.sleep(0.2)
        assert stranger.poll() is None, "it lives"
    finally:
        stranger.kill()
        stranger.wait()


def test_a_worker_is_told_from_a_later_process_of_its_number(pool):
    opened = read_pool(pool).pool
    job = start_features_job(pool, opened.fingerprint, model="fit")
    try:
        assert is_running(job.pid, mark=job.process, words=("curation.dashboard.jobs", job.job_id))
        assert not is_running(job.pid, mark="another boot:1", words=("curation.dashboard.jobs", job.job_id))
        assert not is_running(job.pid, mark=job.process, words=("curation.dashboard.jobs", "another-job"))
    finally:
        cancel_job(job.job_id)
        os.waitpid(job.pid, 0)


ODD = {"job_id": "odd", "kind": "features", "subject": "f", "options": {}, "out": "o", "state": "running", "pid": 1}
ODD_FILES = [
    "", "null", "[]", "5", '"x"', "[" * 100_000, '{"a":' * 5000, "{}", "\x00", "9" * 5000,
    *(json.dumps({**ODD, "state": "done", **change}) for change in (
        {"pid": -1}, {"pid": "x"}, {"pid": None}, {"pid": 10**30}, {"pid": [1]}, {"options": 5}, {"state": "odd"},
        {"started": float("nan")}, {"started": "x"}, {"started": float("inf")}, {"seconds": -1}, {"message": {}},
        {"job_id": "../../x"}, {"job_id": "another"}, {"done": 0.5}, {"total": None}, {"kind": 5}, {"subject": []},
    )),
]  # fmt: skip


@pytest.mark.parametrize("content", ODD_FILES, ids=range(len(ODD_FILES)))
def test_an_odd_job_file_is_no_job_and_no_error(pool, content):
    folder = Path(os.environ["CURATION_HOME"]) / "jobs"
    _write(Job("good", "features", "f", {}, "out", state="done", started=5.0))
    (folder / "odd.json").write_bytes(content.encode())
    assert read_job("odd") is None
    found = latest_job("f")
    assert found is not None
    assert found.job_id == "good"


def test_job_files_that_are_no_files_are_passed_by(pool):
    folder = Path(os.environ["CURATION_HOME"]) / "jobs"
    folder.mkdir(parents=True)
    (folder / "folder.json").mkdir()
    (folder / "zero.json").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.json")
    (folder / "latin.json").write_bytes(b'{"job_id": "\xff"}')
    assert latest_job("f") is None


def test_a_job_of_an_earlier_version_is_still_read_and_one_without_a_process_ends(pool):
    kept = asdict(Job("old", "features", "f", {}, "out", state="done", started=1.0))
    del kept["process"]
    folder = Path(os.environ["CURATION_HOME"]) / "jobs"
    folder.mkdir(parents=True)
    (folder / "old.json").write_text(json.dumps(kept))
    found = read_job("old")
    assert found is not None
    assert found.state == "done"
    _write(Job("none", "features", "f", {}, "out", started=time.time() - 3600))
    none = read_job("none")
    assert none is not None
    assert none.state == "failed"


def test_fitting_counts_its_steps_so_that_the_page_can_tell_the_time_left(pool, monkeypatch, tmp_path):
    from curation.dashboard import jobs
    from curation.run import prepare

    def made(pool, out, *, progress, fit_progress, **options):
        fit_progress(300, 600, 60.0)
        seen.append(jobs.read_job("job"))
        progress(12, 18, 2.0)
        return {"notes": []}

    seen: list[Job | None] = []
    monkeypatch.setattr(prepare, "make_features", made)
    monkeypatch.setattr(jobs, "WRITE_EVERY", -1.0)
    options = {"pool": str(pool), "model": "fit", "layer": -1, "pooling": "last", "seed": 0}
    _write(Job("job", "features", "x", options, str(tmp_path / "out.parquet"), started=time.time()))
    jobs.run_job("job")
    fitting, ended = seen[0], read_job("job")
    assert fitting is not None
    assert (fitting.done, fitting.total, fitting.unit, fitting.seconds_left) == (300, 600, "steps", 60.0)
    assert ended is not None
    assert (ended.done, ended.total, ended.unit, ended.state) == (12, 18, "", "done")
