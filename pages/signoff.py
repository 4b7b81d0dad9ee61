"""May this go out? What is decided, what would be left out, and the export."""

from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from curation.batch.answers import Answers
from curation.batch.presentation import Order
from curation.exchange.assignment import parse_annotators
from curation.exchange.send import export_batch, export_signed
from curation.exchange.tools.base import TOOLS
from curation.insight.length_share import sentence_of_batch
from curation.review.findings import batch_warnings
from curation.review.queue import decision_words
from curation.review.signoff import Verdict, checklist
from curation.review.store.chain import Event
from curation.settings import workspace
from pages._batches import batch_at, live_decisions, only_looked_at
from pages._findings import show_findings
from pages._labels_back import labels_back
from pages._learnt import next_batch
from pages._shared import header, reviewer
from pages._signing import report_download, show_state, sign_panel, trusted_key, verdict_of, what_is_signed
from pages._store import guarded, review_store
from pages._widgets import batch_choice, escaped

PAGE = {"section": "Batch", "rank": 2, "title": "Sign-off", "icon": ":material/verified:"}

ORDERS: dict[str, Order] = {
    "random (seeded)": "random",
    "both orders (every pair twice)": "both",
    "fixed (first response on the left)": "fixed",
}

ANSWERS: dict[str, Answers] = {
    "left, right, tie": "binary",
    "with strength (much, slightly, tie, both bad)": "graded",
}


def finding(counts: Counter[str], verdict: Verdict | None) -> str:
    """How far the batch is, in a sentence."""
    if verdict is not None and verdict.batch_holds:
        return f"Signed by {escaped(verdict.signed_by)}: {counts['approve']:,} pairs may go out."
    if verdict is not None and not verdict.void:
        known = (
            "by a key that is not known here"
            if verdict.only_another_key or verdict.holds
            else "but something has changed"
        )
        return f"Signed {known}: see the signature below."
    open_ones = [
        f"{counts[word]:,} {told}" for word, told in (("undecided", "undecided"), ("flag", "flagged")) if counts[word]
    ]
    if open_ones:
        return f"Not yet: {' and '.join(open_ones)} of {sum(counts.values()):,} pairs."
    if not counts["approve"]:
        return "Not yet: every pair is rejected."
    again = " again, for decisions have changed since it was signed" if verdict is not None else ""
    return (
        f"Every pair is decided: {counts['approve']:,} may go out once somebody who did not propose them signs{again}."
    )


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
decisions = live_decisions(batch.batch_id)
words = decision_words(decisions, batch.records)
counts = Counter(words.values())
verdict = verdict_of(folder, batch.batch_id)
st.markdown(f"**{finding(counts, verdict)}**")
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
st.caption(sentence_of_batch(batch.manifest, batch.records))
if only_looked_at(batch):
    st.info("Nobody has decided on this batch yet: review its pairs first.", icon=":material/info:")
    st.page_link("pages/review.py", label="Review pairs", icon=":material/arrow_forward:")
    st.stop()
told = what_is_signed(batch, decisions)
st.header("Checklist")
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
    st.markdown(f"{icon} **{check.name}** · {escaped(check.shown)}{need}")
st.caption(
    "Rejected and undecided pairs leave the batch: the design planned for all of them, so a batch with many rejections is "
    "worth less than the plan."
)
report_download(folder, batch, told, checks, taken, verdict)
st.header("Signature")
if verdict is not None:
    show_state(verdict, batch.batch_id)
if verdict is None or verdict.void:
    sign_panel(folder, batch, told, checks, taken)
st.header("Export the approved pairs")
signed = verdict is not None and verdict.batch_holds
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
    send = partial(export_signed, trusted=trusted_key(batch.batch_id)) if signed else export_batch
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
labels_back(folder, batch)
next_batch(batch, signed=signed)
st.header("Trail")
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
