"""Long work in a process of its own: a job file in the workspace, a worker that writes progress, a page that reads it.

A job is one JSON file in `workspace/jobs/`, replaced whole at every change. The worker is
`python -m curation.jobs ID`, in its own process group, so that cancelling ends everything it started.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from curation.errors import CurationError
from curation.settings import workspace

State = Literal["running", "done", "failed", "cancelled"]
WRITE_EVERY = 0.25  # seconds
# kind -> module:function, called with (options, out, progress) in the worker; what it returns is the closing message
RUNNERS = {
    "features": "curation.jobs:run_features",
    "backtest": "curation.backtest:run_job",
    "synthetic": "curation.experiments.synthetic:run_job",
    "policy": "curation.experiments.policy:run_job",
}


@dataclass(frozen=True)
class Job:
    """One piece of long work. subject: what it is about (a pool's fingerprint). done, total: units of work; seconds:
    since they began; message: an error, a note, or what is being done."""

    job_id: str
    kind: str
    subject: str
    options: dict[str, Any]
    out: str
    state: State = "running"
    pid: int = 0
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    message: str = ""
    started: float = 0.0

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time left, None before there is a rate."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


def _folder() -> Path:
    return workspace() / "jobs"


def _write(job: Job) -> None:
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".{job.job_id}.{os.getpid()}"
    staging.write_text(json.dumps(asdict(job)), encoding="utf-8")
    staging.replace(folder / f"{job.job_id}.json")


def read_job(job_id: str) -> Job | None:
    """The job as it stands, None where it is unknown. A worker that died without a word counts as failed."""
    try:
        job = Job(**json.loads((_folder() / f"{job_id}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    if job.state == "running" and job.pid and not _alive(job.pid):
        again = json.loads((_folder() / f"{job_id}.json").read_text(encoding="utf-8"))
        if again["state"] == "running":
            job = replace(job, state="failed", message="The worker died; start again to go on from what it finished.")
            _write(job)
        else:
            job = Job(**again)
    return job


def _alive(pid: int) -> bool:
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:  # our own child, ended: take it off the list
            return False
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def latest_job(subject: str, kind: str = "features") -> Job | None:
    """The newest job of a kind on a subject."""
    jobs = [read_job(path.stem) for path in _folder().glob("*.json")]
    mine = [job for job in jobs if job is not None and (job.subject, job.kind) == (subject, kind)]
    return max(mine, key=lambda job: job.started, default=None)


def start_job(kind: str, subject: str, options: dict[str, Any], *, out: str = "") -> Job:
    """Start work of a kind of RUNNERS in a worker process. options: plain JSON values. out: what it will write."""
    job = Job(uuid.uuid4().hex[:12], kind, subject, options, out, started=time.time())
    _write(job)
    log = (_folder() / f"{job.job_id}.log").open("w", encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "curation.jobs", job.job_id],
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "CURATION_HOME": str(workspace().absolute())},
        cwd=Path(__file__).resolve().parent.parent,
    )
    log.close()
    job = replace(job, pid=process.pid)
    _write(job)
    return job


def start_features_job(
    pool_path: str | Path,
    pool_fingerprint: str,
    *,
    model: str,
    layer: int = -1,
    pooling: str = "last",
    seed: int = 0,
) -> Job:
    """Start extraction in a worker process; it resumes from finished shards of the same run."""
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in Path(model).name)[:60]
    out = workspace() / "features" / f"{pool_fingerprint}-{safe}-{pooling}{layer}.parquet"
    out.parent.mkdir(parents=True, exist_ok=True)
    options = {"pool": str(pool_path), "model": model, "layer": layer, "pooling": pooling, "seed": seed}
    return start_job("features", pool_fingerprint, options, out=str(out.absolute()))


def cancel_job(job_id: str) -> Job | None:
    """End a running job and everything it started; what it finished stays for a resume."""
    job = read_job(job_id)
    if job is None or job.state != "running":
        return job
    if job.pid:
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGTERM)
    job = replace(job, state="cancelled", message="Cancelled; start again to go on from the finished parts.")
    _write(job)
    return job


def run_job(job_id: str) -> None:
    """The worker: do the work and write progress; every end is written down."""
    found = read_job(job_id)
    if found is None:
        raise SystemExit(f"job {job_id} is unknown")
    job: Job = replace(found, pid=os.getpid())
    _write(job)
    last = 0.0

    def progress(done: int, total: int, seconds: float, note: str = "") -> None:
        nonlocal job, last
        job = replace(job, done=done, total=total, seconds=seconds, message=note)
        if done == total or time.monotonic() - last > WRITE_EVERY:
            last = time.monotonic()
            _write(job)

    try:
        module, _, name = RUNNERS[job.kind].partition(":")
        message = getattr(importlib.import_module(module), name)(job.options, job.out, progress)
    except (CurationError, OSError, MemoryError) as error:
        _write(replace(job, state="failed", message=str(error) or type(error).__name__))
        return
    _write(replace(job, state="done", message=message))


def run_features(options: dict[str, Any], out: str, progress: Any) -> str:
    """The worker of an extraction."""
    from curation.pipeline import load_pool, make_features

    def fitting(done: int, total: int, seconds: float) -> None:
        progress(0, 0, 0.0, f"Fitting the model: step {done:,} of {total:,}, {seconds:.0f} s so far")

    result = make_features(
        load_pool(options["pool"]).pool,
        out,
        model=options["model"],
        layer=options["layer"],
        pooling=options["pooling"],
        seed=options["seed"],
        resume=Path(out).exists() or Path(out + ".parts").exists(),
        progress=progress,
        fit_progress=fitting,
    )
    return " ".join(result["notes"])


if __name__ == "__main__":
    run_job(sys.argv[1])
