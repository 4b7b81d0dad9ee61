"""Acts on the Review page beyond one decision: on everything a filter shows, and on from here with a new batch."""

import pandas as pd
import streamlit as st

from curation.batch.folder import BatchFolder
from curation.errors import CurationError
from curation.review.acts import label_costs, price_of
from curation.review.store.decisions import Decision
from curation.review.topup import reject_and_replace, top_up
from pages._batches import kept
from pages._guard import acting
from pages._review_state import review_state, tell
from pages._shared import features_path, open_pool, prepared_pool, reviewer, set_page_state
from pages._store import guarded, review_store
from pages._widgets import escaped

WORDS = {"approve": "Approve", "reject": "Reject", "flag": "Flag"}


def act_on_shown(
    batch: BatchFolder,
    keys: list[str],
    words: dict[str, str],
    decisions: dict[str, Decision],
    reasons: tuple[str, ...],
) -> None:
    """One decision for every pair the filters show: what it changes is shown first, one undo takes it back."""
    opened = st.button(f"Act on the {len(keys):,} shown", key="act", width="stretch", disabled=not keys)
    review_state().dialog = opened  # others' decisions do not close the dialog
    if opened:
        act_dialog(batch, keys, words, decisions, reasons)


@st.dialog("One decision for everything shown", width="large", on_dismiss="rerun")
@acting
def act_dialog(
    batch: BatchFolder,
    keys: list[str],
    words: dict[str, str],
    decisions: dict[str, Decision],
    reasons: tuple[str, ...],
) -> None:
    """Choose, see the price, write. decisions: as the person has seen them, whatever others decide meanwhile."""
    decision = st.radio("Decision", list(WORDS), format_func=WORDS.__getitem__, horizontal=True, key="act_decision")
    reason = st.selectbox("Reason", reasons, key="act_reason") if decision == "reject" else None
    decided = [key for key in keys if words[key] != "undecided"]
    include = bool(decided) and st.checkbox(f"Also the {len(decided):,} that are decided", key="act_decided")
    chosen = [key for key in keys if include or words[key] == "undecided"]
    if not chosen:
        st.caption("All of them are decided already.")
        return
    price = guarded(lambda: price_of(batch, decisions, chosen, decision, costs=label_costs(batch, open_pool().pool)))
    st.table(pd.DataFrame(price.rows(), columns=["what", "now", "after"]).set_index("what"))
    for who, count in sorted(price.overruled.items()):
        st.caption(f"{count:,} of them {escaped(who)} has decided otherwise; that stays in the history.")
    if st.button(f"{WORDS[decision]} {len(chosen):,} pairs", key="act_confirm", type="primary"):
        versions = {key: decisions[key].version if key in decisions else 0 for key in chosen}
        write_act(batch, chosen, decision, reason, versions)
        st.rerun()


def write_act(batch: BatchFolder, keys: list[str], decision: str, reason: str | None, versions: dict[str, int]) -> None:
    """Write an act; where somebody decided one of the pairs meanwhile nothing is written and they are named."""
    try:
        review_store().decide_many(
            kept(batch).batch_id, keys, decision, who=reviewer(), reason=reason, expected_versions=versions
        )
        tell(f"{len(keys):,} pairs: {decision}. Undo takes all of them back.")
    except CurationError as error:
        tell(error)


def replace_button(batch: BatchFolder, pair_id: str, local: tuple[int, int, int], version: int) -> None:
    """Reject this pair and go on with a batch that holds its best replacement."""
    if st.button("Reject and take this one instead", key="replace", icon=":material/swap_horiz:"):
        path = features_path()
        with st.spinner("Making the batch that goes on"):
            made = guarded(
                lambda: reject_and_replace(
                    kept(batch).path, open_pool().pool, str(path), pair_id, local, who=reviewer(), store=review_store(),
                    expected_version=version, prepared=prepared_pool(),
                )
            )  # fmt: skip
        review_state().came_from[made.batch.batch_id] = batch.batch_id
        go_on(made.batch.batch_id, f"{made.sentence()} Undo goes back.")


def top_up_button(batch: BatchFolder, words: dict[str, str]) -> None:
    """Fill what rejections have left, with approved pairs kept."""
    rejected = sum(word == "reject" for word in words.values())
    if not rejected:
        return
    if st.button(f"Fill up after {rejected:,} rejections", key="top_up", icon=":material/add_circle:", width="stretch",
                 help="A new batch of the same size: approved pairs stay with their decisions, rejected ones are out, "
                 "the design spends their labels anew."):  # fmt: skip
        path = features_path()
        with st.spinner("Solving with the decisions as pins and exclusions"):
            made = guarded(
                lambda: top_up(
                    batch.path, open_pool().pool, str(path), who=reviewer(), store=review_store(),
                    prepared=prepared_pool(),
                )
            )  # fmt: skip
        go_on(made.batch.batch_id, made.sentence())


def go_on(batch_id: str, message: str) -> None:
    """Show another batch of this pool."""
    show_batch(batch_id, None)
    tell(message)
    st.rerun()


def show_batch(batch_id: str, pair: str | None) -> None:
    """The batch and pair of the next run."""
    set_page_state("batch", batch_id)
    set_page_state("pair", pair)


@acting
def undo(batch: BatchFolder) -> None:
    """Take back this person's last action; where a replacement made this batch, go back to the one before."""
    try:
        back, place = review_store().undo_action(batch.batch_id, who=reviewer()), batch.batch_id
        if not back:
            place = review_state().came_from.pop(batch.batch_id, place)
            back = review_store().undo_action(place, who=reviewer()) if place != batch.batch_id else []
    except CurationError as error:
        tell(error)
        return
    count = f"{len(back):,} decision{'s' if len(back) > 1 else ''}"
    tell(f"Taken back: {count}." if back else "There is nothing of yours to take back.")
    if back:
        show_batch(place, back[-1].pair_id)
