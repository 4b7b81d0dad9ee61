"""May this go out? What is decided, what would be left out, and the export."""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from curation.batch.answers import Answers
from curation.batch.presentation import Order
from curation.dashboard.places import save_upload
from curation.exchange.assignment import parse_annotators
from curation.exchange.receive import import_labels, label_report
from curation.exchange.send import export_batch, export_signed, export_trl
from curation.exchange.tools.base import TOOLS
from curation.insight.length_share import sentence_of_batch
from curation.pool.labels import people_only
from curation.review.findings import batch_warnings
from curation.review.queue import decision_words
from curation.review.signoff import Verdict, checklist, read_signature, sign_batch, verify_batch
from curation.review.store.chain import Event
from curation.settings import workspace
from pages._batches import batch_at, live_decisions
from pages._conflicts import show_conflicts
from pages._findings import show_findings
from pages._second_rater import show_second_raters
from pages._shared import header, reviewer
from pages._store import guarded, review_store
from pages._widgets import batch_choice, escaped

PAGE = {"section": "Batch", "rank": 2, "title": "Sign-off", "icon": ":material/verified:"}

ORDERS: dict[str, Order] = {
    "random (seeded)": "random",
    "both orders (every pair twice)": "both",
    "fixed (first response on the left)": "fixed",
}

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
ANSWERS: dict[str, Answers] = {
    "left, right, tie": "binary",
    "with strength (much, slightly, tie, both bad)": "graded",
}


def signing(folder: Path, verdict: Verdict | None, *, ready: bool, taken: list[str]) -> None:
    """The state of the signature, and the button that makes one."""
    if verdict is not None and verdict.batch_holds:
        st.success(
            f"Signed by {escaped(verdict.signed_by)} at {verdict.at[:16].replace('T', ' ')} UTC; nothing has changed since.",
            icon=":material/verified:",
        )
        for problem in verdict.sent:
            st.warning(escaped(problem), icon=":material/edit_document:")
        for note in verdict.notes:
            st.caption(escaped(note))
        return
    if verdict is not None and verdict.holds:
        st.warning(escaped(verdict.sentence()), icon=":material/key_off:")
        return
    if verdict is not None:
        st.error(
            "\n\n".join(["Not what was signed:", *(escaped(problem) for problem in verdict.problems[:8])]),
            icon=":material/gpp_bad:",
        )
    if verdict is None or verdict.void:
        st.caption(
            f"You sign as {escaped(reviewer())}. Who proposed a batch does not sign it, unless the dashboard was started with "
            "CURATION_SELF_SIGN=1."
        )
        if st.button("Sign and freeze", disabled=not ready, icon=":material/lock:", key="sign"):
            guarded(lambda: sign_batch(folder, who=reviewer(), acknowledged=taken, store=review_store()))
            st.rerun()


def labels_back(folder: Path) -> None:
    """Bring labels in, and what they say."""
    st.subheader("Labels back in")
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
    st.caption(
        f"The next batch goes on from these labels: `python -m curation solve ... --previous {folder}` buys none of them twice."
    )


def show_people(report: dict[str, Any]) -> None:
    """Everybody's figures."""
    everybody = report["quality"]["by_annotator"]
    if len(everybody) > 1:
        frame = pd.DataFrame([{name: one[key] for key, name in PEOPLE_COLUMNS.items()} for one in everybody])
        st.dataframe(frame, hide_index=True, width="stretch", key="label_people", column_config=PEOPLE_FORMATS)


def about(event: Event) -> str:
    """What an event was about, in a few words."""
    body = event.body
    if "text" in body:
        return f"pair {body.get('pair')}: {str(body['text'])[:80]}"
    rows = body.get("rows")
    if isinstance(rows, list):
        return f"{rows[0][1]} {rows[0][0]}" if len(rows) == 1 else f"{len(rows)} pairs: {rows[0][1]}"
    if "sha256" in body:
        return f"{body.get('format')} {Path(str(body.get('file'))).name}, sha256 {str(body['sha256'])[:12]}"
    return ""


header("Sign-off", "May this go out? Only approved pairs are exported; everything left out is counted.")
folder = batch_choice()
batch, _ = batch_at(folder)
store = review_store()
words = decision_words(live_decisions(batch.batch_id), batch.records)
counts = Counter(words.values())
columns = st.columns(5)
for column, (title, value) in zip(
    columns,
    {
        "Pairs": len(batch.records),
        "Approved": counts["approve"],
        "Rejected": counts["reject"],
        "Flagged": counts["flag"],
        "Undecided": counts["undecided"],
    }.items(),
    strict=True,
):
    column.metric(title, value)
st.subheader("Checklist")
approved = [key for key, word in words.items() if word == "approve"]
warnings = guarded(lambda: batch_warnings(batch, approved))
if approved:
    show_findings(warnings, key="signoff", clean="No health finding on the approved pairs.")
taken = [
    finding.key
    for finding in warnings
    if st.checkbox(
        f"I have read this and take it: {escaped(finding.title)}", key=f"take_{batch.batch_id}_{finding.key}"
    )
]
checks = guarded(lambda: checklist(batch, store, acknowledged=taken))
for check in checks:
    icon = ":material/check_circle:" if check.holds else ":material/radio_button_unchecked:"
    need = "" if check.holds or not check.required else " · needed before signing"
    st.markdown(f"{icon} **{check.name}** · {check.figure}{need}")
st.caption(sentence_of_batch(batch.manifest, batch.records))
st.caption(
    "Rejected and undecided pairs leave the batch: the design planned for all of them, so a batch with many rejections is "
    "worth less than the plan."
)
signature = guarded(lambda: read_signature(folder))
verdict = guarded(lambda: verify_batch(folder, store=store)) if signature is not None else None
signing(folder, verdict, ready=all(check.holds for check in checks if check.required), taken=taken)
st.subheader("Export the approved pairs")
left, middle, asked, right = st.columns([1, 1.3, 1.5, 1], vertical_alignment="bottom")
tools = {tool.title: tool for tool in TOOLS}
tool = tools[left.selectbox("Format", list(tools), key="export_format")]
order = middle.selectbox("Which response stands on the left", list(ORDERS), key="export_order")
answers = ANSWERS[
    asked.selectbox(
        "What annotators answer",
        list(ANSWERS),
        key="export_answers",
        help="With strength, annotators also say how much better, or that both are bad. Every row carries the choice, and "
        "labels are read accordingly.",
    )
]
people = st.text_input(
    "Annotators, if rows are to be given out (ana, ben=40, cem)",
    key="export_annotators",
    help="Names, with a number of rows at most after =. Every row goes to one of them, evenly, and nobody sees a pair twice.",
)
signed = verdict is not None and verdict.batch_holds
if right.button(
    "Export" if signed else "Export as unsigned",
    type="primary",
    disabled=not counts["approve"],
    key="export",
    width="stretch",
):
    marks = f"{'' if answers == 'binary' else '-graded'}{'' if signed else '-unsigned'}"
    target = workspace() / "exports" / f"{batch.batch_id}-{tool.name}{marks}.{tool.suffix}"
    guarded(lambda: store.require(reviewer(), "reviewer"))
    target.parent.mkdir(parents=True, exist_ok=True)
    send = export_signed if signed else export_batch
    given = guarded(lambda: parse_annotators(people) if people.strip() else ())
    result = guarded(
        lambda: send(
            folder, to=tool.name, out=target, order=ORDERS[order], answers=answers, force=True, annotators=given, who=reviewer(),
            store=store,
        )
    )  # fmt: skip
    st.session_state["export_result"] = (batch.batch_id, result)
if not signed:
    st.caption("The batch is not signed, or no longer what was signed: every exported row says so.")
if not counts["approve"]:
    st.info("No pair is approved yet, so there is nothing to export.", icon=":material/info:")
    st.page_link("pages/review.py", label="Review pairs", icon=":material/arrow_forward:")
done = st.session_state.get("export_result")
if done and done[0] == batch.batch_id:
    result = done[1]
    gone = ", ".join(f"{count} {reason}" for reason, count in result["left_out"].items() if count) or "nothing"
    st.success(
        f"{result['rows']} rows ({result['pairs']} pairs) written. Left out: {gone}.", icon=":material/task_alt:"
    )
    for note in result["notes"]:
        st.warning(escaped(note), icon=":material/text_snippet:")
    files = [result["out"], *result["also_written"]]
    slots = st.columns(min(len(files), 4))
    for n, path in enumerate(files):
        slots[n % 4].download_button(
            Path(path).name,
            Path(path).read_bytes(),
            file_name=Path(path).name,
            key=f"download_{n}",
            icon=":material/download:",
            width="stretch",
        )
labels_back(folder)
st.subheader("Trail")
trail = guarded(lambda: store.events(batch.batch_id))
if trail:
    frame = pd.DataFrame(
        [
            {
                "event": e.id,
                "when (UTC)": e.at[:19].replace("T", " "),
                "who": e.who,
                "what": e.kind,
                "about": about(e),
                "hash": e.hash[:12],
            }
            for e in reversed(trail[-500:])
        ]
    )
    st.dataframe(frame, hide_index=True, width="stretch")
    st.caption(
        "Each event's hash covers the event before it; a signature covers the last. `verify` recomputes all of them."
    )
else:
    st.caption(f"Nothing has been decided or exported for batch {escaped(batch.batch_id)} yet.")
