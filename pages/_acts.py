"""Acts on the Review page beyond one decision: on everything a filter shows, and on from here with a new batch."""

from collections import Counter

import pandas as pd
import streamlit as st

from curation.batch.folder import BatchFolder
from curation.errors import CurationError
from curation.health.foregone import SIGNS
from curation.review.acts import label_costs, price_of
from curation.review.queue import QueueTable
from curation.review.store.decisions import Decision
from curation.review.topup import reject_and_replace, top_up
from pages._batches import kept, live_decisions
from pages._guard import acting
from pages._known import known_pairs
from pages._review_state import review_state, tell
from pages._shared import features_path, open_pool, prepared_pool, reviewer, set_page_state
from pages._store import guarded, review_store
from pages._widgets import escaped

KNOWN_REASON = "outcome known beforehand"
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
    if opened:
        review_state().dialog = True  # others' decisions do not close the dialog
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
    reason = st.selectbox("Reason", (*reasons, KNOWN_REASON), key="act_reason") if decision == "reject" else None
    decided = [key for key in keys if words[key] != "undecided"]
    include = bool(decided) and st.checkbox(f"Also the {len(decided):,} that are decided", key="act_decided")
    chosen = [key for key in keys if include or words[key] == "undecided"]
    if not chosen:
        st.caption("All of them are decided already.")
        return
    price = guarded(lambda: price_of(batch, decisions, chosen, decision, costs=label_costs(batch, open_pool().pool)))
    st.table(pd.DataFrame(price.rows(), columns=["what", "now", "after"]).set_index("what"))
    if decision != "reject":
        st.caption(
            "Undecided and flagged pairs count as kept in both columns, so only a rejected pair that is taken back in "
            "changes the price; what leaving these pairs out would cost is shown under Reject."
        )
    for who, count in sorted(price.overruled.items()):
        st.caption(f"{count:,} of them {escaped(who)} has decided otherwise; that stays in the history.")
    with st.container(horizontal=True):
        if st.button(f"{WORDS[decision]} {len(chosen):,} pairs", key="act_confirm", type="primary"):
            write_act(batch, chosen, decision, reason, versions_of(decisions, chosen))
            st.rerun()
        cancel()


def cancel() -> None:
    """The way out of a dialog that changes nothing."""
    if st.button("Cancel", key="cancel_dialog"):
        st.rerun()


def versions_of(decisions: dict[str, Decision], keys: list[str]) -> dict[str, int]:
    """The version of every pair as the person has seen it, 0 where it was undecided."""
    return {key: decisions[key].version if key in decisions else 0 for key in keys}


def known_button(batch: BatchFolder, every: QueueTable, words: dict[str, str], decisions: dict[str, Decision]) -> None:
    """The pairs whose outcome is known beforehand and that nobody has decided: reject them, or swap them for others."""
    left = [key for key in every.known if words[key] == "undecided"]
    if not left:
        return
    if st.button(f"Outcome known: {len(left):,}", key="known", icon=":material/report:",
                 width="stretch", help="Their labels would say what is known: one answer is empty, a stock phrase, a "
                 "word against a page, cut off at once, or both say the same."):  # fmt: skip
        review_state().dialog = True
        known_dialog(batch, every, left, decisions)


@st.dialog("Pairs whose outcome is known beforehand", width="large", on_dismiss="rerun")
@acting
def known_dialog(batch: BatchFolder, every: QueueTable, left: list[str], decisions: dict[str, Decision]) -> None:
    """What is known of how many pairs, what leaving them out costs, and the two ways to do it."""
    counts = Counter(every.known[key].sign for key in left)
    st.markdown(
        "\n".join(
            f"- **{count:,}**: {'both answers' if sign == 'alike' else 'one answer'} {SIGNS[sign]}"
            for sign, count in counts.most_common()
        )
    )
    price = guarded(lambda: price_of(batch, decisions, left, "reject", costs=label_costs(batch, open_pool().pool)))
    st.table(pd.DataFrame(price.rows(), columns=["what", "now", "if rejected"]).set_index("what"))
    st.caption(
        "Swapping rejects them and makes a new batch of the same size: every other pair stays, no pair of this kind comes "
        "in, and the design spends the labels on pairs that need a person."
    )
    with st.container(horizontal=True):
        swap = st.button(f"Swap {len(left):,} pairs", key="known_swap", type="primary")
        only = st.button(f"Only reject {len(left):,}", key="known_reject")
        cancel()
    if swap or only:
        written = write_act(batch, left, "reject", KNOWN_REASON, versions_of(decisions, left))
        if written and swap:
            fill_up(batch, undoable=True, others_stay=True)
        st.rerun()


def write_act(batch: BatchFolder, keys: list[str], decision: str, reason: str | None, versions: dict[str, int]) -> bool:
    """Write an act, whether it was; where somebody decided one of the pairs meanwhile nothing is, and they are named."""
    try:
        review_store().decide_many(
            kept(batch).batch_id, keys, decision, who=reviewer(), reason=reason, expected_versions=versions
        )
    except CurationError as error:
        if not own_earlier(batch, versions, decision):  # the second click of a double click
            tell(error)
        return False
    tell(f"{len(keys):,} pairs: {decision}. Undo takes all of them back.")
    return True


def own_earlier(batch: BatchFolder, versions: dict[str, int], decision: str) -> bool:
    """Whether all that stands since the versions seen is this very decision by this very person: pressed twice."""
    now, me = live_decisions(batch.batch_id), reviewer()
    later = [now[key] for key, seen in versions.items() if key in now and now[key].version != seen]
    return bool(later) and all(made.who == me and made.decision == decision for made in later)


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
        fill_up(batch)


def fill_up(batch: BatchFolder, *, undoable: bool = False, others_stay: bool = False) -> None:
    """Solve again with the decisions as they stand and show the new batch. undoable: undo goes back over it.
    others_stay: undecided pairs too, not only approved ones."""
    path, pool = features_path(), open_pool().pool
    with st.spinner("Solving with the decisions as pins and exclusions"):
        made = guarded(
            lambda: top_up(
                batch.path, pool, str(path), who=reviewer(), store=review_store(), prepared=prepared_pool(),
                closed=known_pairs(pool.fingerprint, pool), others_stay=others_stay,
            )
        )  # fmt: skip
    if undoable:
        review_state().came_from[made.batch.batch_id] = batch.batch_id
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


def own_last(decisions: dict[str, Decision]) -> int:
    """The newest entry of this person's among those that hold, 0 without one."""
    me = reviewer()
    return max((made.id for made in decisions.values() if made.who == me), default=0)


@acting
def undo(batch: BatchFolder, seen: int) -> None:
    """Take back this person's last action; where a replacement made this batch, go back to the one before.

    seen: `own_last` as the page showed it. A key that a slow page delivers twice takes back one action, not two.
    """
    if own_last(live_decisions(batch.batch_id)) != seen:
        return
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
