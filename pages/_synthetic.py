"""The synthetic part of the Evidence page: what the criterion does where the truth is known."""

from functools import partial

import pandas as pd
import streamlit as st

from curation.charts.synthetic import NAMES, gap_curves
from curation.dashboard.jobs import Job, latest_job, start_job
from curation.experiments.synthetic import DESIGNS, Curves, Kind, place, read
from pages._jobs import job_panel
from pages._shared import reviewer
from pages._store import guarded, review_store
from pages._widgets import chart

KINDS: tuple[Kind, Kind] = ("tabular", "contextual")
WORDS = {
    "tabular": "One prompt, 20 answers with rewards of their own, a very uneven reference.",
    "contextual": "25 prompts with 8 answers each, rewards linear in ten features that all prompts share.",
}


def start(kind: Kind) -> Job:
    """Start an experiment of 200 seeds."""
    return start_job(
        "synthetic", kind, {"kind": kind, "seeds": 200}, out=str(place(kind).absolute()),
        who=reviewer(), store=review_store(),
    )  # fmt: skip


def stored() -> bool:
    """Whether either experiment has left a result."""
    return any(read(place(kind)) is not None for kind in KINDS)


def section() -> None:
    """Stored results of both experiments, and the buttons that make them."""
    st.header("Synthetic ground truth")
    st.caption(
        "Rewards are known here, so the policy that labels lead to can be compared with the best one. Four ways to choose the "
        "comparisons, the same estimate for all; bands are two standard errors."
    )
    for column, kind in zip(st.columns(2), KINDS, strict=True):
        with column:
            st.markdown(f"**{kind.capitalize()}**")
            st.caption(WORDS[kind])
            curves = read(place(kind))
            if curves is None:
                st.info("Not run in this workspace yet.", icon=":material/hourglass_empty:")
            else:
                shown(curves, kind)
            job = latest_job(kind, "synthetic")
            running = job is not None and job.state == "running"
            if st.button("Run 200 seeds", key=f"run_{kind}", disabled=running, icon=":material/play_arrow:"):
                guarded(partial(start, kind))
                st.rerun()
            job_panel("synthetic", kind, "seeds", told=curves is not None)


def shown(curves: Curves, kind: str) -> None:
    """Curves, sentences and table of a result."""
    chart(gap_curves(curves), key=f"curves_{kind}")
    for sentence in curves.sentences():
        st.caption(sentence)
    with st.expander("Table"):
        rows = [
            {
                "labels": n,
                **{NAMES[name]: f"{curves.mean(name)[k]:.3g} ± {curves.error(name)[k]:.1g}" for name in DESIGNS},
            }
            for k, n in enumerate(curves.settings.labels)
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
