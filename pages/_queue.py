"""The queue beside the pair under review: filters, how far the review is, the table, and what others decide."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import streamlit as st

from curation.batch.folder import BatchFolder
from curation.review.queue import SORTS, STATES, Filter, next_pair
from pages import _review_state as keys
from pages._batches import live_decisions
from pages._guard import acting
from pages._review_state import review_state
from pages._shared import page_state, set_page_state
from pages._views import saved_views

SHOWN_ROWS = 200  # of the queue at once: a browser given fifty thousand answers late
SIGNS = {"approve": "✓", "reject": "✗", "flag": "⚑", "undecided": "·"}


@acting
def go_to(key: str | None) -> None:
    """Show another pair."""
    set_page_state("pair", key)


def tally(words: dict[str, str]) -> None:
    """How far the review is."""
    counts = Counter(words.values())
    done = len(words) - counts["undecided"]
    st.progress(done / max(len(words), 1), text=f"{done:,} of {len(words):,} decided")
    st.markdown(
        f"**{counts['approve']:,} approved** · {counts['reject']:,} rejected · {counts['flag']:,} flagged · {counts['undecided']:,} undecided"
    )


def queue_filter(batch: BatchFolder) -> Filter:
    """The filter controls."""
    saved_views()
    known = {record["pair_id"] for record in batch.records}
    only = [key for key in review_state().only if key in known]
    if only and st.button(
        f"Showing {len(only)} pairs {review_state().only_why}: show all", key="drop_map_queue", width="stretch"
    ):
        review_state().only = []
        st.rerun()
    states = st.multiselect("Decision", STATES, key=keys.STATES, placeholder="all")
    with st.expander("More filters"):
        strata = st.multiselect(
            "Stratum", sorted({r["stratum"] or "(none)" for r in batch.records}), key=keys.STRATA, placeholder="all"
        )
        names = sorted({name for r in batch.records for name in (r["generator_a"], r["generator_b"]) if name})
        generators = (
            []
            if st.session_state.get(keys.BLIND)
            else st.multiselect("Generator", names, key=keys.GENERATORS, placeholder="all")
        )
        words = st.text_input("Words in prompt or response", key=keys.WORDS)
    sort = st.selectbox("Order", list(SORTS), key=keys.SORT)
    return Filter(tuple(states), tuple(strata), tuple(generators), words, sort, tuple(only))


@st.fragment(run_every="3s")
@acting
def watch(batch_id: str, seen: int) -> None:
    """Show the page anew when somebody else has decided; not under an open dialog, which would close.

    seen: entries of the batch that the page knows.
    """
    if not review_state().dialog and sum(made.version for made in live_decisions(batch_id).values()) != seen:
        st.rerun()


def table(queue: pd.DataFrame, place: int, current: str | None) -> None:
    """The part of the queue around the current pair as a table; a click opens a pair."""
    start = place // SHOWN_ROWS * SHOWN_ROWS
    view = queue.iloc[start : start + SHOWN_ROWS].copy()
    if len(queue) > SHOWN_ROWS:
        end = start + len(view)
        with st.container(horizontal=True, vertical_alignment="center"):
            before = queue["pair_id"].iloc[max(start - SHOWN_ROWS, 0)]
            after = queue["pair_id"].iloc[min(end, len(queue) - 1)]
            st.button("‹", key="earlier_rows", on_click=go_to, args=(before,), disabled=not start)
            st.caption(f"{start + 1:,} to {end:,} of {len(queue):,}")
            st.button("›", key="later_rows", on_click=go_to, args=(after,), disabled=end >= len(queue))
    view["state"] = [SIGNS[word] for word in view["decision"]]
    event = st.dataframe(
        view[["state", "prompt"]],
        hide_index=True,
        width="stretch",
        height=360,
        on_select="rerun",
        selection_mode="single-row",
        key=f"queue_{hash(tuple(view['pair_id']))}_{hash(tuple(view['decision']))}",
        column_config={
            "state": st.column_config.TextColumn("", width=30),
            "prompt": st.column_config.TextColumn("Prompt", width="large"),
        },
    )
    rows = event["selection"]["rows"]
    picked = view["pair_id"].iloc[rows[0]] if rows else None
    if picked not in (None, current, review_state().picked):
        review_state().picked = picked
        set_page_state("pair", picked)
        st.rerun()


def kept_in_view(batch: BatchFolder, wanted: Filter, queue: list[str], words: dict[str, str]) -> str | None:
    """The pair to show: the one in view stays, even where somebody's decision takes it out of the filters, until this
    person moves on or filters anew; a key pressed now must not decide a pair that was put in its place."""
    current, asked = page_state("pair"), (batch.batch_id, wanted)
    same = review_state().asked == asked
    review_state().asked = asked
    if current in queue or (same and current in words):
        return current
    found = next_pair(queue, words, None)
    set_page_state("pair", found)
    return found
