"""Long work in a process of its own: a job file in the workspace, a worker that writes progress, a page that reads it.

A job is one JSON file in `workspace/jobs/`, replaced whole at every change. The worker is
`python -m curation.dashboard.jobs ID`, in its own process group, so that cancelling ends everything it started.
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
from typing import IO, Any, Literal

from pydantic import TypeAdapter, ValidationError

from curation.errors import CurationError
from curation.review.store.roles import COMMAND_LINE
from curation.review.store.store import Store, open_store
from curation.settings import workspace
from curation.system.files import out_of_memory, parse_json, read_text
from curation.system.processes import is_running, mark_of

State = Literal["running", "done", "failed", "cancelled"]
WRITE_EVERY = 0.25  # seconds
FILE_MOST = 1 << 20  # bytes of a job file
BEGINS_WITHIN = 60.0  # seconds from the job file to its process
# kind -> module:function, called with (options, out, progress) in the worker; what it returns is the closing message
RUNNERS = {
    "features": "curation.dashboard.jobs:run_features",
    "backtest": "curation.backtest.run:run_job",
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
    unit: str = ""  # what is counted just now, where it is not what the job as a whole counts
    started: float = 0.0
    process: str = ""  # what tells the process from another of the same number

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time left, None before there is a rate."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


def lasting(seconds: float) -> str:
    """A time to wait in words: 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _folder() -> Path:
    return workspace() / "jobs"


def _write(job: Job) -> None:
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".{job.job_id}.{os.getpid()}"
    staging.write_text(json.dumps(asdict(job)), encoding="utf-8")
    staging.replace(folder / f"{job.job_id}.json")


class JobError(CurationError):
    """A job file is not one, or its process cannot be started."""


def read_job(job_id: str) -> Job | None:
    """The job as it stands, None where it is unknown or its file is none. A worker that died without a word counts as
    failed."""
    job = _kept(job_id)
    if job is None or job.state != "running" or _alive(job):
        return job
    again = _kept(job_id)
    if again is not None and again.state == "running":
        again = replace(again, state="failed", message="The worker died; start again to go on from what it finished.")
        _write(again)
    return again


def _kept(job_id: str) -> Job | None:
    """What the job file says; None where there is none, or it holds something else."""
    path = _folder() / f"{job_id}.json"
    try:
        text = read_text(path, most=FILE_MOST, error=JobError, remedy="remove it")
        job = _JOB.validate_python(parse_json(text, place=str(path), error=JobError, remedy="remove it"))
    except (JobError, ValidationError):
        return None
    numbers = (job.seconds, job.started, job.done, job.total, job.pid)
    sound = job.job_id == job_id and all(0 <= number < 2**53 for number in numbers)
    return job if sound else None


_JOB = TypeAdapter(Job)


def _alive(job: Job) -> bool:
    """Whether the job's own process runs: another may have its number by now."""
    if not job.pid:  # its file is written before its process begins
        return time.time() - job.started < BEGINS_WITHIN
    try:
        if os.waitpid(job.pid, os.WNOHANG)[0] == job.pid:  # our own child, ended: take it off the list
            return False
    except (ChildProcessError, OverflowError):
        pass
    return is_running(job.pid, mark=job.process, words=("curation.dashboard.jobs", job.job_id))


def latest_job(subject: str, kind: str = "features") -> Job | None:
    """The newest job of a kind on a subject."""
    jobs = [read_job(path.stem) for path in _folder().glob("*.json")]
    mine = [job for job in jobs if job is not None and (job.subject, job.kind) == (subject, kind)]
    return max(mine, key=lambda job: job.started, default=None)


def start_job(
    kind: str,
    subject: str,
    options: dict[str, Any],
    *,
    out: str = "",
    who: str = COMMAND_LINE,
    store: Store | None = None,
) -> Job:
    """Start work of a kind of RUNNERS in a worker process. options: plain JSON values. out: what it will write.

    Raises StoreError for who may not.
    """
    (store or open_store()).require(who, "reviewer")
    job = Job(uuid.uuid4().hex[:12], kind, subject, options, out, started=time.time())
    _write(job)
    log = (_folder() / f"{job.job_id}.log").open("w", encoding="utf-8")
    try:
        process = _worker(job, log)
    except OSError as error:
        _write(replace(job, state="failed", message=f"No worker could be started: {error.strerror or error}."))
        raise JobError(
            f"no worker could be started ({error.strerror or error}); close something and try again."
        ) from None
    finally:
        log.close()
    job = replace(job, pid=process.pid, process=mark_of(process.pid))
    _write(job)
    return job


def _worker(job: Job, log: IO[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "curation.dashboard.jobs", job.job_id],
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "CURATION_HOME": str(workspace().absolute())},
        cwd=Path(__file__).resolve().parents[2],  # where the package is found
    )


def start_features_job(
    pool_path: str | Path,
    pool_fingerprint: str,
    *,
    model: str,
    layer: int = -1,
    pooling: str = "mean",
    seed: int = 0,
    who: str = COMMAND_LINE,
    store: Store | None = None,
) -> Job:
    """Start extraction in a worker process; it resumes from finished shards of the same run."""
    opened = store or open_store()
    opened.require(who, "reviewer")
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in Path(model).name)[:60]
    out = workspace() / "features" / f"{pool_fingerprint}-{safe}-{pooling}{layer}.parquet"
    out.parent.mkdir(parents=True, exist_ok=True)
    options = {"pool": str(pool_path), "model": model, "layer": layer, "pooling": pooling, "seed": seed}
    return start_job("features", pool_fingerprint, options, out=str(out.absolute()), who=who, store=opened)


def cancel_job(job_id: str, *, who: str = COMMAND_LINE, store: Store | None = None) -> Job | None:
    """End a running job and everything it started; what it finished stays for a resume. Raises StoreError."""
    (store or open_store()).require(who, "reviewer")
    job = read_job(job_id)
    if job is None or job.state != "running":
        return job
    if job.pid and _alive(job):
        with suppress(ProcessLookupError):
            if os.getpgid(job.pid) == job.pid:  # the worker leads its group; the group of another is not touched
                os.killpg(job.pid, signal.SIGTERM)
    job = replace(job, state="cancelled", message="Cancelled; start again to go on from the finished parts.")
    _write(job)
    return job


def run_job(job_id: str) -> None:
    """The worker: do the work and write progress; every end is written down."""
    found = read_job(job_id)
    if found is None:
        raise SystemExit(f"job {job_id} is unknown")
    job: Job = replace(found, pid=os.getpid(), process=mark_of(os.getpid()))
    _write(job)
    last = 0.0

    def progress(done: int, total: int, seconds: float, note: str = "", *, unit: str = "") -> None:
        nonlocal job, last
        job = replace(job, done=done, total=total, seconds=seconds, message=note, unit=unit)
        if done == total or time.monotonic() - last > WRITE_EVERY:
            last = time.monotonic()
            _write(job)

    try:
        module, _, name = RUNNERS[job.kind].partition(":")
        message = getattr(importlib.import_module(module), name)(job.options, job.out, progress)
    except MemoryError:
        _write(replace(job, state="failed", message=f"It ended because {out_of_memory('this work')}"))
        return
    except (CurationError, OSError) as error:
        _write(replace(job, state="failed", message=str(error) or type(error).__name__))
        return
    _write(replace(job, state="done", message=message))


def run_features(options: dict[str, Any], out: str, progress: Any) -> str:
    """The worker of an extraction."""
    from curation.run.prepare import load_pool, make_features

    def fitting(done: int, total: int, seconds: float) -> None:
        progress(done, total, seconds, "Fitting the model; the responses are read with it afterwards.", unit="steps")

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
