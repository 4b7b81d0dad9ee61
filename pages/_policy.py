"""The policy part of the Evidence page: real DPO training on chosen pairs, from the files the experiments wrote."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from curation.charts.policy import frontier, win_rates
from curation.dashboard.jobs import Job, latest_job, start_job
from curation.experiments.policy import Kind, place, read_result, usual_data
from pages._jobs import job_panel
from pages._shared import reviewer
from pages._store import guarded, review_store
from pages._widgets import chart, escaped

KINDS: tuple[Kind, Kind] = ("imdb", "hh")
WORDS = {
    "imdb": "Movie reviews: a small reference, its own candidates, a sentiment classifier as the annotator, DPO at several beta.",
    "hh": "Dialogues with known preferences: DPO on half of the labels, judged on prompts nobody trained on.",
}


def start(kind: Kind, data: Path) -> Job:
    """Start the small experiment."""
    return start_job(
        "policy", kind, {"kind": kind, "data": str(data.absolute())}, out=str(place(kind).absolute()),
        who=reviewer(), store=review_store(),
    )  # fmt: skip


def stored() -> bool:
    """Whether either experiment has left a result."""
    return any(read_result(place(kind)) is not None for kind in KINDS)


def section() -> None:
    """Stored results of both experiments, and the buttons that make the small ones."""
    st.header("Policy experiments")
    st.caption(
        "Real DPO training with TRL. The small scale takes minutes on a CPU: its models are tiny, so it shows that the whole "
        "chain works and rarely more. Published sizes take a GPU and are run from the command line; the manual says how."
    )
    for kind in KINDS:
        st.markdown(f"**{kind.upper()}**")
        st.caption(WORDS[kind])
        data = usual_data(kind)
        job = latest_job(kind, "policy")
        running = job is not None and job.state == "running"
        if data is not None and st.button(
            "Run the small experiment", key=f"run_policy_{kind}", disabled=running, icon=":material/play_arrow:"
        ):
            guarded(partial(start, kind, data))
            st.rerun()
        result = read_result(place(kind))
        job_panel("policy", kind, "stages", told=result is not None)
        if result is None:
            lacking = "" if data is not None else " Its data are not in the folders this dashboard may open."
            st.info(f"Not run in this workspace yet.{lacking}", icon=":material/hourglass_empty:")
        elif kind == "imdb":
            shown_imdb(result)
        else:
            shown_hh(result)


def shown_imdb(result: dict[str, Any]) -> None:
    """Frontiers of both curations."""
    kinds = [kind for kind in ("prompt", "response") if any(p["curation"] == kind for p in result["points"])]
    for column, kind in zip(st.columns(len(kinds)), kinds, strict=True):
        with column:
            labels = max(p["labels"] for p in result["points"] if p["curation"] == kind)
            st.caption(f"{kind.capitalize()} selection, up to {labels:,} labels")
            chart(frontier(result, kind), key=f"frontier_{kind}")
    _model_line(result)
    _told(result)
    with st.expander("Table"):
        keep = ["curation", "rule", "beta", "seed", "reward", "reward_error", "kl", "kl_error", "labels"]
        st.dataframe(pd.DataFrame(result["points"])[keep], hide_index=True, width="stretch")


def shown_hh(result: dict[str, Any]) -> None:
    """Win rates against the reference and against uniform."""
    rivals = [name for name in ("reference", "uniform") if any(p["against"] == name for p in result["points"])]
    for column, against in zip(st.columns(len(rivals)), rivals, strict=True):
        with column:
            st.caption(f"Against {'the SFT reference' if against == 'reference' else 'the policy of uniform labels'}")
            chart(win_rates(result, against), key=f"wins_{against}")
    _model_line(result)
    sure = result["judge_accuracy"]
    st.caption(
        f"Judge: {escaped(result['judge'])}"
        + (f", right on {sure:.0%} of held-out pairs" if isinstance(sure, float) and sure == sure else "")
        + ". Ties count a half; bars are two standard errors over matches."
    )
    _told(result)
    with st.expander("Table"):
        st.dataframe(pd.DataFrame(result["points"]), hide_index=True, width="stretch")


def _model_line(result: dict[str, Any]) -> None:
    settings = result["settings"]
    name = (
        settings["model"]
        or f"a GPT-2 made here ({settings['small']['layers']} layers, width {settings['small']['width']})"
    )
    data = Path(settings["data"]).name if "data" in settings else result["pool"]
    st.caption(
        f"Model: {escaped(str(name))}; data: {escaped(str(data))}; {result['seconds']:.0f} s on {result['device']}."
    )


def _told(result: dict[str, Any]) -> None:
    for sentence in result["sentences"]:
        st.caption(escaped(sentence))
