"""What is signed, who may sign it, and the state of the signature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from curation.backtest.worth import tested_words
from curation.batch.folder import REPORT, BatchFolder
from curation.errors import CurationError
from curation.review.checklist import Check
from curation.review.may_sign import hindrance
from curation.review.outline import Outline, outline
from curation.review.report import Signing, report_page
from curation.review.signoff import Verdict, read_signature, sign_batch, verify_batch
from curation.review.store.decisions import Decision
from pages._guard import acting
from pages._shared import reviewer
from pages._store import guarded, review_store
from pages._widgets import escaped

ROWS = 500  # of the list of pairs


def what_is_signed(batch: BatchFolder, decisions: dict[str, Decision]) -> Outline:
    """Labels, cost, hours, how pairs were approved, strata, generators, and the list of pairs."""
    told = guarded(lambda: outline(batch, review_store()))
    st.header("What is signed")
    if not told.approved:
        st.caption("Nothing is approved yet, so there is nothing to say of it.")
        return told
    st.markdown(escaped(f"{told.sentence()} {told.manner.sentence()}"))
    seconds_column, hours_column, cost_column = st.columns([1, 1, 2], vertical_alignment="bottom")
    seconds = seconds_column.number_input(
        "Seconds a label", 1, 36_000, max(1, round(told.pace.seconds)), key=f"pace_{batch.batch_id}",
        help=f"{told.pace.words().capitalize()}. Change it to see other hours.",
    )  # fmt: skip
    hours_column.metric("Hours of annotators", f"{told.hours(float(seconds)):,.1f}")
    cost_column.caption(escaped(f"Seconds a label: {told.pace.words()}."))
    left, right = st.columns(2)
    for column, title, found in ((left, "stratum", told.strata), (right, "generator", told.generators)):
        frame = pd.DataFrame({title: list(found), "labels": list(found.values())})
        frame["share"] = frame["labels"] / max(told.labels, 1)
        column.dataframe(
            frame, hide_index=True, width="stretch", height=min(220, 38 + 35 * len(frame)), key=f"signed_{title}",
            column_config={"share": st.column_config.NumberColumn(format="percent")},
        )  # fmt: skip
    with st.expander(f"The {len(told.approved):,} pairs, and who approved them", icon=":material/list:"):
        st.dataframe(pair_rows(told, decisions), hide_index=True, width="stretch", height=320, key="signed_pairs")
        if len(told.approved) > ROWS:
            st.caption(f"The first {ROWS:,} of {len(told.approved):,}; the batch's records hold all of them.")
    return told


def pair_rows(told: Outline, decisions: dict[str, Decision]) -> pd.DataFrame:
    """The approved pairs, a row each."""
    rows = []
    for record in told.approved[:ROWS]:
        made = decisions.get(record["pair_id"])
        rows.append(
            {
                "pair_id": record["pair_id"],
                "prompt_id": record["prompt_id"],
                "stratum": record["stratum"] or "(none)",
                "labels": record["copies"],
                "approved by": "" if made is None else made.who,
                "when (UTC)": "" if made is None else f"{made.at:%Y-%m-%d %H:%M}",
            }
        )
    return pd.DataFrame(rows)


def verdict_of(folder: Path, batch_id: str) -> Verdict | None:
    """What the signature is worth now, None for an unsigned batch; with the signer's key where one was typed in."""
    signature = guarded(lambda: read_signature(folder))
    if signature is None:
        return None
    typed = str(st.session_state.get(key_field(batch_id)) or "").strip()
    if typed:
        try:
            return verify_batch(folder, store=review_store(), trusted=typed, signature=signature)
        except CurationError as error:
            st.warning(escaped(str(error)), icon=":material/key_off:")
    return guarded(lambda: verify_batch(folder, store=review_store(), signature=signature))


def key_field(batch_id: str) -> str:
    """The field for the signer's public key."""
    return f"public_key_{batch_id}"


def trusted_key(batch_id: str) -> str | None:
    """The public key that was typed in for a batch."""
    return str(st.session_state.get(key_field(batch_id)) or "").strip() or None


def show_state(verdict: Verdict, batch_id: str) -> None:
    """What the signature is worth, in words."""
    when = f"{verdict.at[:16].replace('T', ' ')} UTC"
    if verdict.batch_holds:
        st.success(
            f"Signed by {escaped(verdict.signed_by)} at {when}; nothing has changed since.", icon=":material/verified:"
        )
        for problem in verdict.sent:
            st.warning(escaped(problem), icon=":material/edit_document:")
        for note in verdict.notes:
            st.caption(escaped(note))
        if trusted_key(batch_id):
            ask_for_key(batch_id)
        return
    if verdict.only_another_key or verdict.holds:
        own = "the key of this dashboard" if verdict.foreign else "a key that is known here: there is none"
        st.warning(
            f"Signed by {escaped(verdict.signed_by)} at {when}, and nothing has changed since; but not with {own}. The "
            f"signature's public key is `{verdict.public_key}`. If {escaped(verdict.signed_by)} tells you, by another way "
            "than this page, that this key is theirs, put it in below: the batch then counts as signed for you.",
            icon=":material/key:",
        )
        ask_for_key(batch_id)
        return
    st.error(
        "\n\n".join(["Not what was signed:", *(escaped(problem) for problem in verdict.problems[:8])]),
        icon=":material/gpp_bad:",
    )


def ask_for_key(batch_id: str) -> None:
    """The field for the signer's public key."""
    st.text_input("Public key of the signer, as they told you (64 hex digits)", key=key_field(batch_id))


def sign_panel(folder: Path, batch: BatchFolder, told: Outline, checks: Sequence[Check], taken: list[str]) -> None:
    """Confirm and sign; where this person may not, the reason stands beside the button."""
    store = review_store()
    reason = guarded(lambda: hindrance(batch, store, reviewer(), checks))
    sure = st.checkbox(
        f"I sign {len(told.approved):,} pairs ({told.labels:,} labels) as {escaped(reviewer())}. {escaped(told.manner.sentence())} "
        "Nothing of the batch can be changed afterwards.",
        key=f"sure_{batch.batch_id}_{len(told.approved)}",
        disabled=reason is not None,
    )
    st.button(
        "Sign and freeze", disabled=reason is not None or not sure, icon=":material/lock:", key="sign", type="primary",
        on_click=sign_now, args=(folder, batch, taken),
    )  # fmt: skip
    if reason is not None:
        st.caption(escaped(reason))
    refused = st.session_state.pop("sign_refused", None)
    if refused:
        st.error(escaped(refused), icon=":material/error:")


@acting
def sign_now(folder: Path, batch: BatchFolder, taken: list[str]) -> None:
    """Sign; a refusal is told, and the page goes on."""
    try:
        tested = tested_words(batch.manifest)
        sign_batch(folder, who=reviewer(), acknowledged=taken, tested=tested, store=review_store())
    except CurationError as error:
        st.session_state["sign_refused"] = str(error)


def report_download(
    folder: Path, batch: BatchFolder, told: Outline, checks: Sequence[Check], taken: list[str], verdict: Verdict | None
) -> None:
    """The report as it was signed; before that, a draft."""
    name, path = f"sign-off-{batch.batch_id}.html", folder / REPORT
    signed = verdict is not None and not verdict.void and path.is_file()
    if not signed and not told.approved:
        return

    store = review_store()

    def content() -> bytes:  # made when it is asked for, outside the page's run
        if signed:
            return path.read_bytes()
        events = store.events(batch.batch_id)
        head = events[-1].hash if events else None
        tested = tested_words(batch.manifest)
        return report_page(
            batch, Signing(told, checks, store.decided(batch.batch_id)[1], head, None, tuple(taken), tested)
        )

    st.download_button(
        "Report" if signed else "Report (draft, unsigned)", content, name, mime="text/html", key="report",
        icon=":material/description:", on_click="ignore",
        help="One HTML file with everything above, ten sample pairs, hashes and how to verify; prints to PDF.",
    )  # fmt: skip
