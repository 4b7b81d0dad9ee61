"""May this go out? What is decided, what would be left out, and the export."""

from collections import Counter

import pandas as pd
import streamlit as st

from curation.batch import read_batch
from curation.handover import export_batch
from curation.queue import decision_words
from curation.settings import workspace
from pages._shared import guarded, header, review_store, reviewer
from pages._widgets import batch_choice, escaped

FORMATS = {
    "Label Studio": ("label-studio", "json"),
    "Argilla": ("argilla", "json"),
    "CSV": ("csv", "csv"),
    "Parquet": ("parquet", "parquet"),
    "JSON Lines": ("jsonl", "jsonl"),
}
ORDERS = {
    "random (seeded)": "random",
    "both orders (every pair twice)": "both",
    "fixed (first response on the left)": "fixed",
}

header("Sign-off", "May this go out? Only approved pairs are exported; everything left out is counted.")
folder = batch_choice()
batch = guarded(lambda: read_batch(folder))
store = review_store()
words = decision_words(guarded(lambda: store.decisions(batch.batch_id)), batch.records)
counts = Counter(words.values())
st.warning(
    "Unsigned. Signing (a second person, a frozen batch, a verifiable trail) is not part of this version: every export is "
    "marked as unsigned, in the file itself.",
    icon=":material/lock_open:",
)
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
manifest = batch.manifest
st.subheader("Checklist")
checks = [
    ("All pairs decided", counts["undecided"] == 0, f"{counts['undecided']} undecided"),
    ("No pair flagged", counts["flag"] == 0, f"{counts['flag']} flagged"),
    (
        "Certificate holds",
        manifest["stopped"] == "certificate",
        f"gap {manifest['gap']:.1e}, open {manifest['open']:.1e}",
    ),
    ("Batch near the best possible", manifest["efficiency"] >= 0.8, f"efficiency {manifest['efficiency']:.1%}"),
    ("Signed by a second person", False, "not part of this version"),
]
for title, holds, figure in checks:
    st.markdown(f"{':material/check_circle:' if holds else ':material/radio_button_unchecked:'} **{title}** · {figure}")
st.caption(
    "Rejected and undecided pairs leave the batch: the design planned for all of them, so a batch with many rejections is "
    "worth less than the figures above say."
)
st.subheader("Export the approved pairs")
left, middle, right = st.columns([1, 1.4, 1], vertical_alignment="bottom")
kind = left.selectbox("Format", list(FORMATS), key="export_format")
order = middle.selectbox("Which response stands on the left", list(ORDERS), key="export_order")
if right.button("Export as unsigned", type="primary", disabled=not counts["approve"], key="export", width="stretch"):
    to, suffix = FORMATS[kind]
    target = workspace() / "exports" / f"{batch.batch_id}-{to}-unsigned.{suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    result = guarded(
        lambda: export_batch(
            folder, to=to, out=target, order=ORDERS[order], unsigned=True, force=True, who=reviewer(), store=store
        )
    )
    st.session_state["export_result"] = (batch.batch_id, result)
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
    files = [result["out"], *result["also_written"]]
    for n, (slot, path) in enumerate(zip(st.columns(len(files)), files, strict=True)):
        from pathlib import Path

        slot.download_button(
            Path(path).name,
            Path(path).read_bytes(),
            file_name=Path(path).name,
            key=f"download_{n}",
            icon=":material/download:",
            width="stretch",
        )
st.subheader("Trail")
history = guarded(lambda: store.history(batch.batch_id))
exports = guarded(lambda: store.exports(batch.batch_id))
trail = [
    {
        "when (UTC)": f"{h.at:%Y-%m-%d %H:%M:%S}",
        "who": h.who,
        "what": h.decision,
        "pair or file": h.pair_id,
        "reason": h.reason or "",
    }
    for h in history
] + [
    {
        "when (UTC)": f"{e.at:%Y-%m-%d %H:%M:%S}",
        "who": e.who,
        "what": f"export {e.format}",
        "pair or file": f"sha256 {e.sha256[:12]}",
        "reason": f"{e.rows} rows",
    }
    for e in exports
]
if trail:
    frame = pd.DataFrame(trail).sort_values("when (UTC)", ascending=False)
    st.dataframe(frame.head(500), hide_index=True, width="stretch")
else:
    st.caption(f"Nothing has been decided or exported for batch {escaped(batch.batch_id)} yet.")
