"""Labels back in: a file from the annotation tool, what its labels say, and training rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from curation.batch.folder import BatchFolder
from curation.dashboard.places import save_upload
from curation.exchange.receive import import_labels, label_report
from curation.exchange.send import export_trl
from curation.pool.labels import people_only
from curation.settings import workspace
from pages._conflicts import show_conflicts
from pages._second_rater import show_second_raters
from pages._shared import reviewer
from pages._store import guarded, review_store
from pages._widgets import escaped

PEOPLE_COLUMNS = {
    "annotator": "annotator",
    "answers": "answers",
    "left_share": "left wins",
    "tie_rate": "ties",
    "skip_rate": "skips",
    "seconds": "median s",
    "with_others": "as others",
    "with_herself": "as before",
}
PEOPLE_FORMATS = {
    **{
        name: st.column_config.NumberColumn(format="percent")
        for name in ("left wins", "ties", "skips", "as others", "as before")
    },
    "median s": st.column_config.NumberColumn(format="%.0f"),
}


def labels_back(folder: Path, batch: BatchFolder) -> None:
    """Bring labels in, and what they say."""
    st.header("Labels back in")
    whose = st.text_input(
        "Annotator",
        key="labels_annotator",
        help="Whose the answers are that name nobody; fill it in before you choose the file.",
    )
    file = st.file_uploader(
        "What the annotation tool exported (JSON, JSON Lines, CSV, Parquet, Excel)", key="labels_upload"
    )
    if file is not None and st.session_state.get("labels_seen") != file.file_id:
        path = guarded(lambda: save_upload(file.name, file.getvalue(), who=reviewer(), store=review_store()))
        told = guarded(
            lambda: import_labels(folder, path, annotator=whose.strip() or None, who=reviewer(), store=review_store())
        )
        st.session_state["labels_seen"] = file.file_id
        st.session_state["labels_told"] = (batch.batch_id, told)
    kept = st.session_state.get("labels_told")
    if kept and kept[0] == batch.batch_id:
        counts = kept[1]
        st.success(
            f"{counts['labels']} labels: {counts['new']} new, {counts['replaced']} replaced, {counts['same']} known. "
            f"{counts['cancelled']} cancelled, {counts['duplicates']} duplicates, {counts['unknown']} of unknown pairs.",
            icon=":material/task_alt:",
        )
        for place in (*counts["unknown_examples"], *counts["notes"]):
            st.caption(escaped(place))
        if counts["asked"] == "graded":
            st.caption(
                f"{counts['graded']} with strength, {counts['both_bad']} of them both bad; {counts['without_strength']} without "
                "the strength that was asked for."
            )
        if counts["unclear"]:
            st.warning(
                f"{counts['unclear']} answers contradict themselves or name no side, and were left out.",
                icon=":material/help:",
            )
        for place in (*counts["without_strength_examples"], *counts["unclear_examples"]):
            st.caption(escaped(place))
    if not people_only(guarded(lambda: review_store().labels(batch.batch_id))):
        st.caption("No labels have come back for this batch yet.")
        return
    report = guarded(lambda: label_report(batch, review_store()))
    for sentence in report["sentences"]:
        st.markdown(escaped(sentence))
    if steps := report["quality"]["steps"]:
        st.dataframe(
            pd.DataFrame([{name.replace("_", " "): count for name, count in steps.items()}]),
            hide_index=True,
            width="stretch",
            key="label_steps",
        )
    show_people(report)
    show_conflicts(folder, batch, report)
    show_second_raters(report, batch)
    if st.button("Make TRL training rows", key="trl", icon=":material/model_training:"):
        target = workspace() / "exports" / f"{batch.batch_id}-trl.jsonl"
        guarded(lambda: review_store().require(reviewer(), "reviewer"))
        target.parent.mkdir(parents=True, exist_ok=True)
        st.session_state["trl_result"] = guarded(
            lambda: export_trl(folder, target, force=True, who=reviewer(), store=review_store())
        )
    made = st.session_state.get("trl_result")
    if made and made["batch_id"] == batch.batch_id:
        left = ", ".join(f"{count} {reason}" for reason, count in made["left_out"].items() if count) or "nothing"
        st.caption(f"{made['rows']} rows; left out: {left}.")
        st.download_button("Download", Path(made["out"]).read_bytes(), Path(made["out"]).name, key="trl_download")


def show_people(report: dict[str, Any]) -> None:
    """Everybody's figures."""
    everybody = report["quality"]["by_annotator"]
    if len(everybody) > 1:
        frame = pd.DataFrame([{name: one[key] for key, name in PEOPLE_COLUMNS.items()} for one in everybody])
        st.dataframe(frame, hide_index=True, width="stretch", key="label_people", column_config=PEOPLE_FORMATS)
