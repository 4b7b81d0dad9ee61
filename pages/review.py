"""Why this pair? Side-by-side review: every decision is written at once."""

from collections import Counter

import pandas as pd
import streamlit as st

from curation.batch.folder import BatchFolder, Record
from curation.batch.guidelines import guidelines_of
from curation.errors import CurationError
from curation.insight.text_diff import sentence_diff, similarity
from curation.pool.schema import prompt_text
from curation.review.queue import SORTS, STATES, Filter, decision_words, next_pair
from curation.review.store.decisions import Decision
from pages._acts import act_on_shown, replace_button, top_up_button, undo
from pages._batches import batch_at, live_decisions
from pages._comments import comments
from pages._guard import acting
from pages._shared import header, page_state, reviewer, set_page_state
from pages._store import guarded, review_store
from pages._views import saved_views
from pages._widgets import batch_choice, escaped, replacement_for, show_text

PAGE = {"section": "Batch", "rank": 1, "title": "Review", "icon": ":material/fact_check:"}

REASONS = (
    "near-duplicate responses",
    "both unusable",
    "off topic or broken prompt",
    "unsafe to show",
    "too hard to judge",
    "other",
)
SHOWN_ROWS = 200  # of the queue at once: a browser given fifty thousand answers late
SIGNS = {"approve": "✓", "reject": "✗", "flag": "⚑", "undecided": "·"}
MARKS = {"approve": "✓ approved", "reject": "✗ rejected", "flag": "⚑ flagged", "undecided": "· undecided"}


@acting
def decide(
    batch: BatchFolder, key: str, decision: str, version: int, following: str | None, reason: str | None
) -> None:
    """Write one decision, then go on to the next pair; a refusal is shown at the top of the page."""
    try:
        note = st.session_state.get(f"note_{key}") or None
        review_store().decide(
            batch.batch_id, key, decision, who=reviewer(), reason=reason, note=note, expected_version=version
        )
    except CurationError as error:
        st.session_state["review_message"] = str(error)
        return
    if decision != "clear":
        set_page_state("pair", following)


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
    only: list[str] = st.session_state.get("review_queue", [])
    known = {record["pair_id"] for record in batch.records}
    only = [key for key in only if key in known]
    if only and st.button(f"Showing {len(only)} pairs from the map: show all", key="drop_map_queue", width="stretch"):
        st.session_state["review_queue"] = []
        st.rerun()
    states = st.multiselect("Decision", STATES, key="filter_states", placeholder="all")
    with st.expander("More filters"):
        strata = st.multiselect(
            "Stratum", sorted({r["stratum"] or "(none)" for r in batch.records}), key="filter_strata", placeholder="all"
        )
        names = sorted({name for r in batch.records for name in (r["generator_a"], r["generator_b"]) if name})
        generators = (
            []
            if st.session_state.get("blind")
            else st.multiselect("Generator", names, key="filter_generators", placeholder="all")
        )
        words = st.text_input("Words in prompt or response", key="filter_words")
    sort = st.selectbox("Order", list(SORTS), key="filter_sort")
    return Filter(tuple(states), tuple(strata), tuple(generators), words, sort, tuple(only))


def responses(record: Record, blind: bool) -> None:
    """Both responses side by side in their seeded order; generators hidden in blind mode."""
    order = ("a", "b") if record["left"] == "a" else ("b", "a")
    texts = {side: record[f"response_{side}"] for side in order}
    side_by_side, difference = st.tabs(["Side by side", "Difference"])
    with side_by_side:
        for title, column, side in zip(("Left", "Right"), st.columns(2), order, strict=True):
            with column:
                name = "" if blind else f" · {escaped(record[f'generator_{side}'] or 'unknown generator')}"
                st.markdown(f"**{title}**{name}")
                st.caption(f"{len(texts[side]):,} characters, {len(texts[side].split()):,} words")
                show_text(texts[side], height=420)
    with difference:
        left, right = (texts[side] for side in order)
        st.caption(
            f"{similarity(left, right):.0%} of the words agree in order. Minus: only on the left; plus: only on the right."
        )
        st.code(sentence_diff(left, right) or "(both empty)", language="diff", wrap_lines=True, height=420)


def figures(record: Record, batch: BatchFolder, blind: bool, version: int) -> None:
    """The pair's figures, each with its meaning."""
    st.info(escaped(record["rationale"]), icon=":material/lightbulb:")
    columns = st.columns(4)
    columns[0].metric("Score", f"{record['score']:.2f}", help="Information over that of the design's average label.")
    columns[1].metric(
        "Drop price",
        f"{record['drop_cost']:.2%}",
        help="Rise of the criterion if this label is left out, exactly.",
    )
    columns[2].metric(
        "Inclusion",
        "–" if record["inclusion"] is None else f"{record['inclusion']:.2f}",
        help="Expected labels under the design.",
    )
    columns[3].metric(
        "Distance",
        f"{record['feature_distance']:.2f}",
        help="|z|, in units where responses have mean squared norm 1.",
    )
    both = [record["reference_probability_a"], record["reference_probability_b"]]
    shown = "–" if None in both else " / ".join(f"{p:.2f}" for p in (both if record["left"] == "a" else both[::-1]))
    named = ", ".join(f"{part['direction'] + 1} ({part['share']:.0%})" for part in record["directions"])
    serves = f" Serves Fisher directions {named}." if named else ""
    st.caption(
        f"Reference probability (left / right) {shown}.{serves} Stratum {escaped(record['stratum'] or '(none)')}, prompt {escaped(record['prompt_id'])}, pair {record['pair_id']}, {record['copies']} label(s)."
    )
    found = replacement_for(record, batch, blind=blind)
    if found is not None:
        replace_button(batch, record["pair_id"], found, version)


@st.fragment(run_every="3s")
@acting
def watch(batch_id: str, seen: int) -> None:
    """Show the page anew when somebody else has decided; not under an open dialog, which would close.

    seen: entries of the batch that the page knows.
    """
    if not st.session_state.get("acting") and sum(made.version for made in live_decisions(batch_id).values()) != seen:
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
    picked = event["selection"]["rows"]
    if (
        picked
        and view["pair_id"].iloc[picked[0]] != current
        and st.session_state.get("table_pick") != view["pair_id"].iloc[picked[0]]
    ):
        st.session_state["table_pick"] = view["pair_id"].iloc[picked[0]]
        set_page_state("pair", view["pair_id"].iloc[picked[0]])
        st.rerun()


def kept_in_view(batch: BatchFolder, wanted: Filter, keys: list[str], words: dict[str, str]) -> str | None:
    """The pair to show: the one in view stays, even where somebody's decision takes it out of the filters, until this
    person moves on or filters anew; a key pressed now must not decide a pair that was put in its place."""
    current, asked = page_state("pair"), (batch.batch_id, wanted)
    same = st.session_state.get("review_asked") == asked
    st.session_state["review_asked"] = asked
    if current in keys or (same and current in words):
        return current
    found = next_pair(keys, words, None)
    set_page_state("pair", found)
    return found


def version_seen(batch: BatchFolder, key: str, made: Decision | None) -> int:
    """The version of the pair this person has seen; what somebody else decides meanwhile is shown and must be read."""
    now = made.version if made is not None else 0
    place, seen = st.session_state.get("review_seen", (None, now))
    if place != (batch.batch_id, key) or made is None or made.who == reviewer():
        seen = now
    st.session_state["review_seen"] = ((batch.batch_id, key), seen)
    if made is not None and seen != now:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.warning(
                f"{escaped(made.who)} decided this pair while you had it open: "
                f"{MARKS.get(made.decision, '· undecided again')}.",
                icon=":material/group:",
            )
            st.button("I have seen it", key="seen", on_click=st.session_state.pop, args=("review_seen",))
    return int(seen)


header("Review", "Why this pair? Every decision is kept the moment it is made.")
folder = batch_choice()
batch, queue_table = batch_at(folder)
decisions = live_decisions(batch.batch_id)
words = decision_words(decisions, batch.records)
message = st.session_state.pop("review_message", None)
if message:
    st.warning(message, icon=":material/info:")
side, main = st.columns([1, 2.5])
with side:
    tally(words)
    watch(batch.batch_id, sum(made.version for made in decisions.values()))
    blind = st.toggle("Blind: hide generators", key="blind")
    wanted = queue_filter(batch)
    queue = queue_table.select(words, wanted)
    keys = queue["pair_id"].tolist()
    current = kept_in_view(batch, wanted, keys, words)
    st.caption(f"{len(keys):,} pairs in the queue")
    if keys:
        table(queue, keys.index(current) if current in keys else 0, current)
    act_on_shown(batch, keys, words, decisions, REASONS)
    st.button(
        "Undo my last action",
        key="undo",
        on_click=undo,
        args=(batch,),
        icon=":material/undo:",
        shortcut="u",
        width="stretch",
    )
    top_up_button(batch, words)
guidelines = guarded(lambda: guidelines_of(batch))
with main:
    if guidelines is not None:
        with st.expander("Guidelines for annotators", icon=":material/menu_book:"):
            st.code(guidelines, language="markdown", wrap_lines=True)  # as text: nothing in it is loaded or run
    if current is None:
        st.info("No pair matches the filters; loosen them to see pairs again.", icon=":material/filter_alt_off:")
        st.stop()
    record = next(r for r in batch.records if r["pair_id"] == current)
    made = decisions.get(current)
    version = version_seen(batch, current, made)
    following = next_pair(keys, {**words, current: "decided"}, current)
    place = keys.index(current) if current in keys else None
    before = keys[(place or 0) - 1] if keys else current
    with st.container(horizontal=True):
        args = (batch, current)
        st.button(
            "Approve",
            key="approve",
            type="primary",
            icon=":material/check:",
            shortcut="a",
            on_click=decide,
            args=(*args, "approve", version, following, None),
        )
        st.button(
            "Flag",
            key="flag",
            icon=":material/flag:",
            shortcut="f",
            on_click=decide,
            args=(*args, "flag", version, following, None),
        )
        st.button(
            "Clear",
            key="clear",
            on_click=decide,
            args=(*args, "clear", version, following, None),
            disabled=words[current] == "undecided",
        )
        st.button("Back", key="back", shortcut="b", on_click=go_to, args=(before,))
        st.button("Next", key="next", shortcut="n", on_click=go_to, args=(following,))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("Reject:", width="content")
        for n, reason in enumerate(REASONS):
            st.button(
                reason,
                key=f"reject_{n}",
                type="tertiary",
                shortcut=str(n + 1),
                on_click=decide,
                args=(*args, "reject", version, following, reason),
            )
    if made is not None and words[current] != "undecided":
        why = f": {made.reason}" if made.reason else ""
        st.caption(
            f"{MARKS[words[current]]} by {escaped(made.who)} at {made.at:%Y-%m-%d %H:%M} UTC{escaped(why)}"
            + (f" ({escaped(made.note)})" if made.note else "")
        )
    where = f"{place + 1:,} of {len(keys):,}" if place is not None else "no longer in this queue"
    st.subheader(f"Prompt ({where})")
    show_text(prompt_text(record["prompt"]), height=150 if len(prompt_text(record["prompt"])) > 300 else None)
    responses(record, blind)
    figures(record, batch, blind, version)
    st.text_input("Note (kept with the next decision on this pair)", key=f"note_{current}")
    comments(batch.batch_id, current)
