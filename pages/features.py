"""How is it represented? The features file in use, the space, the reference policy; or make features now."""

from pathlib import Path

import numpy as np
import streamlit as st

from curation.batch.records import reference_effective
from curation.charts.features import effective, explained, gains, norms
from curation.dashboard.jobs import Job, latest_job, start_features_job
from curation.dashboard.places import list_features, save_upload
from curation.health.checkup import design_sensitivity, feature_health
from curation.health.finding import Finding
from curation.health.sensitivity import Sensitivity
from curation.pool.pair_lists import LocalPair
from curation.representation.fisher.base import FISHERS
from curation.run.results import Solved
from pages._controls import Controls, held, taken
from pages._findings import show_findings
from pages._guard import acting
from pages._jobs import job_panel
from pages._shared import (
    change_view,
    constraints,
    current_view,
    features_path,
    header,
    open_pool,
    prepared_pool,
    reviewer,
    solved_key,
    solved_view,
)
from pages._store import guarded, review_store
from pages._widgets import chart, escaped

PAGE = {"section": "Pool", "rank": 2, "title": "Features", "icon": ":material/grain:"}


def choose() -> None:
    """The features file: found ones, or one attached."""
    view, opened = current_view(), open_pool()
    found = [str(path.resolve()) for path in list_features(opened.path, opened.pool.fingerprint)]
    if view.features and view.features not in found:
        found.append(view.features)
    left, right = st.columns([1.3, 1])
    if found:
        present = str(features_path())
        if present not in found:
            found.append(present)
        left.selectbox(
            "Features file", found, format_func=lambda path: Path(path).name, key=held("features", present),
            on_change=taken, args=("features", lambda path: {"features": path}),
        )  # fmt: skip
    else:
        left.info("No features file belongs to this pool yet. Make one below, or attach one.", icon=":material/grain:")
    right.file_uploader(
        "Attach a features file (Parquet)", type="parquet", key="features_upload", on_change=_attached
    )  # fmt: skip


@acting
def _attached() -> None:
    """Keep an attached file and take it into use."""
    file = st.session_state["features_upload"]
    if file is not None:
        path = save_upload(file.name, file.getvalue(), who=reviewer(), store=review_store())
        change_view(features=str(path))


def extraction() -> None:
    """Make features in a worker process, with progress."""
    opened = open_pool()
    job = latest_job(opened.pool.fingerprint)
    with st.expander(
        "Make features with a model", expanded=features_path() is None or (job is not None and job.state == "running")
    ):
        st.caption(
            "`fit` trains a small model on this pool's own text (about a minute, no download). Otherwise the name or folder of any "
            "model that transformers can load: best the one you will train."
        )
        model_column, pooling_column, layer_column, start_column = st.columns([2, 1, 1, 1], vertical_alignment="bottom")
        model = model_column.text_input("Model", "fit", key="job_model")
        pooling = pooling_column.selectbox("Pooling", ["mean", "last"], key="job_pooling")
        layer = layer_column.number_input("Layer", -200, 200, -1, key="job_layer")
        running = job is not None and job.state == "running"
        if start_column.button(
            "Start or resume", disabled=running or not model.strip(), type="primary", width="stretch"
        ):
            guarded(
                lambda: start_features_job(
                    opened.path,
                    opened.pool.fingerprint,
                    model=model.strip(),
                    layer=int(layer),
                    pooling=pooling,
                    who=reviewer(),
                    store=review_store(),
                )
            )
            st.session_state["job_seen"] = None
            st.rerun()
        into_use(job_panel("features", opened.pool.fingerprint, "responses"))


def into_use(job: Job | None) -> None:
    """A file that has just been finished is taken into use, once."""
    if job is not None and job.state == "done" and st.session_state.get("job_seen") != job.job_id:
        st.session_state["job_seen"] = job.job_id
        if job.started > st.session_state.setdefault("job_session", job.started) - 1:
            change_view(features=str(Path(job.out).resolve()))
            st.rerun()


def space_controls() -> None:
    """Settings of the space and of the Fisher matrix."""
    controls = Controls(current_view(), "features")
    columns = st.columns([1, 1, 1, 1, 1], vertical_alignment="bottom")
    controls.draw("dim", columns[0])
    controls.draw("pca", columns[1])
    fisher = controls.draw("fisher", columns[2])
    controls.draw("normalize", columns[3])
    controls.draw("length", columns[4])
    if FISHERS[fisher].tempered:
        left, right = st.columns([1, 3], vertical_alignment="bottom")
        controls.draw("temperature", left)
        controls.draw("per_token", right)
    else:
        controls.leave("temperature", "per_token")
    controls.rest()


def figures() -> None:
    """Explained variance, norms, concentration of the reference policy."""
    prepared = prepared_pool()
    space, table, p = prepared.space, prepared.table, prepared.probabilities
    columns = st.columns(4)
    columns[0].metric("Features", f"{table.matrix.shape[1]}", help="Width of the hidden states in the file.")
    columns[1].metric(
        "Dimensions used", f"{space.dim}", help="PCA components plus the length coordinate: what the design works in."
    )
    columns[2].metric(
        "Variance of pairs kept",
        f"{space.explained_pairs:.1%}",
        help="Share of the summed squared differences between the answers of a prompt that these dimensions keep. What "
        "they leave out, no label of this design is chosen for.",
    )
    columns[3].metric(
        "Effective candidates",
        f"{np.median(p.effective):.2f}",
        help="How many candidates of a prompt the policy of the Fisher matrix has in view: exp of its entropy, in the "
        "median prompt. 1: it sees one candidate, so no pair matters.",
    )
    told = {
        k: v
        for k, v in table.metadata.items()
        if k in ("model", "revision", "layer", "pooling", "template", "dtype", "heldout_loss")
    }
    st.caption(
        " · ".join(f"{escaped(k)} {escaped(str(v))}" for k, v in told.items())
        or "The file does not say which model made it."
    )
    for note in (*space.notes, *table.notes, *filter(None, [p.warning()])):
        st.warning(escaped(note), icon=":material/info:")
    left, right = st.columns(2)
    with left:
        st.header("Explained variance")
        chart(explained(space.explained_variance_ratio), key="explained")
        st.caption(
            "Of the responses"
            + (
                ", centred within their prompt."
                if space.settings.pca == "within"
                else ", as they are: prompts included."
            )
        )
    with right:
        st.header("Norms")
        chart(
            norms(np.linalg.norm(table.matrix.astype(np.float64), axis=1), np.linalg.norm(prepared.phi, axis=1)),
            key="norms",
        )
        st.caption("A long tail in the design's space means a few odd responses would draw many labels.")
    st.header("Reference policy")
    policies = {f"Fisher's policy ({p.kind})": p.effective}
    measured = reference_effective(prepared)
    if measured is not None:
        policies["reference itself (softmax of its log-probabilities)"] = measured
    chart(effective(policies, int(prepared.geometry.sizes.max())), key="effective")
    st.caption(f"Fisher {p.kind}: {escaped(p.reason)}")
    if measured is not None and float(np.median(measured)) < 2:
        weighing = " or ".join(kind.name for kind in FISHERS if kind.needs_logprobs)
        st.info(
            "The reference's summed log-probabilities put nearly all mass on one candidate of a prompt, as they do for long texts; "
            f"they are shown beside every pair, but weigh no direction unless Fisher is set to {weighing}.",
            icon=":material/info:",
        )


@st.cache_resource(max_entries=8, show_spinner="Looking for trouble in the features")
def _health(
    key: tuple[object, ...], _solved: Solved, _pinned: list[LocalPair], _excluded: list[LocalPair]
) -> list[Finding]:
    return feature_health(_solved.prepared, _solved.settings, pinned=_pinned, excluded=_excluded, design=_solved.design)


@st.cache_resource(max_entries=8, show_spinner=False)
def _sensitivity(
    key: tuple[object, ...], _solved: Solved, _pinned: list[LocalPair], _excluded: list[LocalPair]
) -> Sensitivity:
    bar = st.progress(0.0, text="Solving the design under other choices")

    def tell(done: int, total: int) -> None:
        bar.progress(done / total, text=f"Design {done} of {total} solved")

    try:
        return design_sensitivity(
            _solved.prepared,
            _solved.settings,
            pinned=_pinned,
            excluded=_excluded,
            progress=tell,
        )
    finally:
        bar.empty()


def health() -> None:
    """Findings about the features and the present design, and what the design hangs on."""
    st.header("Would waste labels")
    solved = solved_view()
    pinned, excluded = guarded(lambda: constraints(current_view(), open_pool().pool))
    key = (solved_key(solved),)
    findings = guarded(lambda: _health(key, solved, pinned, excluded))
    show_findings(
        findings, key="features", clean="Nothing in the features, or in the design on them, would waste labels."
    )
    st.caption(
        f"Of the design as set now: {solved.settings.budget:g} labels. The texts' own findings are on the Pool page."
    )
    st.header("What the design hangs on")
    st.caption(
        "Nobody can check ridge, dimensions and Fisher matrix on unlabelled texts. This solves the design under other choices of "
        "each and values every design under every criterion."
    )
    if st.button("Measure", key="sensitivity_button", icon=":material/balance:"):
        st.session_state["sensitivity"] = key
    if st.session_state.get("sensitivity") == key:
        measured = guarded(lambda: _sensitivity(key, solved, pinned, excluded))
        chart(gains(measured.names, measured.gained), key="sensitivity_chart")
        st.caption(measured.sentence())


header("Features", "How is it represented? Hidden states of a reference model, turned into the design's coordinates.")
finding = st.container()
choose()
extraction()
if features_path() is not None:
    finding.markdown(f"**{prepared_pool().space.sentence()}**")
    space_controls()
    figures()
    health()
    st.page_link("pages/design.py", label="Next: design", icon=":material/arrow_forward:")
