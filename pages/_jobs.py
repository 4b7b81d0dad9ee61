"""Long work on a page: progress with rate and time left, cancel, and how the last run ended."""

import streamlit as st

from curation.dashboard.jobs import Job, cancel_job, lasting, latest_job
from curation.dashboard.wording import on_a_page
from pages._guard import acting
from pages._shared import reviewer
from pages._store import guarded, review_store
from pages._widgets import escaped


def job_panel(kind: str, subject: str, noun: str, *, told: bool = False) -> Job | None:
    """Progress of a running job, or how the last one ended. noun: what is counted. told: its result is on the page, so
    that it ended well needs no words. Returns the latest job."""
    job = latest_job(subject, kind)
    if job is None:
        return None
    if job.state == "running":
        _watch(kind, subject, noun)
    elif job.state == "done":
        if not told:
            st.success(f"Finished. {escaped(job.message)}", icon=":material/task_alt:")
    elif job.state == "failed":
        st.error(escaped(on_a_page(job.message)), icon=":material/error:")
    else:
        st.info(escaped(job.message), icon=":material/info:")
    return job


@st.fragment(run_every="1s")
@acting
def _watch(kind: str, subject: str, noun: str) -> None:
    job = latest_job(subject, kind)
    if job is None or job.state != "running":
        st.rerun()
        return
    share = job.done / job.total if job.total else 0.0
    words = job.message or "Starting"
    if job.total:
        left = "" if job.seconds_left is None else f", about {lasting(job.seconds_left)} left"
        words = f"{job.done:,} of {job.total:,} {job.unit or noun}, {job.rate:,.1f} a second{left}"
        words += f". {job.message}" if job.message else ""
    st.progress(min(share, 1.0), text=escaped(words))
    if st.button("Cancel", key=f"cancel_{kind}_{subject}"):
        guarded(lambda: cancel_job(job.job_id, who=reviewer(), store=review_store()))
        st.rerun()
