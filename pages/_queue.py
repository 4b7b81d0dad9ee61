"""The queue beside the pair under review: filters, how far the review is, the table, and what others decide."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import streamlit as st

from curation.batch.folder import BatchFolder
from curation.review.queue import SORTS, STATES, Filter, QueueTable, next_pair
from pages import _review_state as keys
from pages._batches import live_decisions
from pages._guard import acting
from pages._review_state import only_of, review_state
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
    st.caption(
        f"**{counts['approve']:,} approved** · {counts['reject']:,} rejected · {counts['flag']:,} flagged · {counts['undecided']:,} undecided"
    )


def queue_filter(batch: BatchFolder, every: QueueTable) -> Filter:
    """The filter controls, in a popover of which the label says how many are set."""
    strata = sorted({r["stratum"] or "(none)" for r in batch.records})
    names = sorted({name for r in batch.records for name in (r["generator_a"], r["generator_b"]) if name})
    for key, options in ((keys.STATES, list(STATES)), (keys.STRATA, strata), (keys.GENERATORS, names)):
        only_of(key, options)
    if st.session_state.get(keys.SORT) not in (None, *SORTS):
        st.session_state.pop(keys.SORT)
    known = {record["pair_id"] for record in batch.records}
    only = [key for key in review_state().only if key in known]
    blind = bool(st.session_state.get(keys.BLIND))
    used = [keys.STATES, keys.STRATA, keys.WORDS, keys.KNOWN, *([] if blind else [keys.GENERATORS])]
    count = sum(bool(st.session_state.get(key)) for key in used)
    with st.container(horizontal=True, gap="xsmall"):
        with st.popover(f"Filter · {count}" if count else "Filter", icon=":material/filter_list:", key="filters"):
            states = st.multiselect("Decision", STATES, key=keys.STATES, placeholder="all")
            chosen = st.multiselect("Stratum", strata, key=keys.STRATA, placeholder="all")
            generators = (
                [] if blind else st.multiselect("Generator", names, key=keys.GENERATORS, placeholder="all")
            )  # fmt: skip
            words = st.text_input("Words in prompt or answers, a pair id or a prompt id", key=keys.WORDS)
            foregone = bool(every.known) and st.checkbox(
                f"Only the {len(every.known):,} with an outcome known beforehand", key=keys.KNOWN
            )
            if count:
                st.button("Clear the filters", key="clear_filters", on_click=clear_filters)
        saved_views()
    sort = st.selectbox("Order", list(SORTS), key=keys.SORT, label_visibility="collapsed")
    if only and st.button(
        f"Showing {len(only)} pairs {review_state().only_why}: show all", key="drop_map_queue", width="stretch"
    ):
        review_state().only = []
        st.rerun()
    return Filter(tuple(states), tuple(chosen), tuple(generators), words, sort, tuple(only), foregone)


@acting
def clear_filters() -> None:
    """Show every pair again; the order stays."""
    for key in keys.FILTERS:
        if key != keys.SORT:
            st.session_state.pop(key, None)
            st.session_state[key] = "" if key == keys.WORDS else False if key == keys.KNOWN else []


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
    view["drop_cost"] *= 100
    marks = zip(view["decision"], view["known"], strict=True)
    view["state"] = [SIGNS[word] + ("!" if known else "") for word, known in marks]
    event = st.dataframe(
        view[["state", "prompt", "drop_cost", "score", "stratum", "prompt_id", "pair_id"]],
        hide_index=True,
        width="stretch",
        height=300,
        on_select="rerun",
        selection_mode="single-row",
        key=f"queue_{hash(tuple(view['pair_id']))}_{hash(tuple(view['decision']))}",
        column_config={
            "state": st.column_config.TextColumn("", width=30),
            "prompt": st.column_config.TextColumn("Prompt", width=95),
            "drop_cost": st.column_config.NumberColumn(
                "Price", width=62, format="%.2f %%", help="Rise of the criterion if this label is left out."
            ),
            "score": st.column_config.NumberColumn(
                "Score", format="%.2f", help="What it teaches, over the design's average label."
            ),
            "stratum": "Stratum",
            "prompt_id": "Prompt id",
            "pair_id": "Pair",
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
