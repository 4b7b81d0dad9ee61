"""Why this pair? Side-by-side review: every decision is written at once."""

from dataclasses import dataclass

import streamlit as st

from curation.batch.folder import BatchFolder, Record
from curation.batch.guidelines import guidelines_of
from curation.errors import CurationError
from curation.insight.text_diff import sentence_diff, similarity
from curation.pool.schema import prompt_text
from curation.review.queue import QueueTable, decision_words, next_pair
from curation.review.store.decisions import Decision
from pages import _review_state as keys
from pages._acts import act_on_shown, replace_button, top_up_button, undo
from pages._batches import batch_at, kept, live_decisions
from pages._comments import comments
from pages._guard import acting
from pages._queue import go_to, kept_in_view, queue_filter, table, tally, watch
from pages._review_state import forget_seen, review_state, show_message, tell
from pages._shared import header, reviewer, set_page_state
from pages._store import guarded, review_store
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
MARKS = {"approve": "✓ approved", "reject": "✗ rejected", "flag": "⚑ flagged", "undecided": "· undecided"}


@dataclass(frozen=True)
class Desk:
    """A batch under review as this run of the page shows it.

    words: of every pair. queue: ids of the pairs that the filters show, in order. current: the pair in view.
    """

    batch: BatchFolder
    decisions: dict[str, Decision]
    words: dict[str, str]
    queue: list[str]
    current: str | None
    blind: bool


def queue_column(batch: BatchFolder, every: QueueTable) -> Desk:
    """How far the review is, the filters, the queue, and what acts on all of it."""
    decisions = live_decisions(batch.batch_id)
    words = decision_words(decisions, batch.records)
    tally(words)
    watch(batch.batch_id, sum(made.version for made in decisions.values()))
    blind = st.toggle("Blind: hide generators", key=keys.BLIND)
    wanted = queue_filter(batch)
    rows = every.select(words, wanted)
    queue = rows["pair_id"].tolist()
    current = kept_in_view(batch, wanted, queue, words)
    st.caption(f"{len(queue):,} pairs in the queue")
    if queue:
        table(rows, queue.index(current) if current in queue else 0, current)
    act_on_shown(batch, queue, words, decisions, REASONS)
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
    return Desk(batch, decisions, words, queue, current, blind)


def pair_column(desk: Desk, guidelines: str | None) -> None:
    """The pair in view: what may be done with it, its texts, its figures, what was said of it."""
    if guidelines is not None:
        with st.expander("Guidelines for annotators", icon=":material/menu_book:"):
            st.code(guidelines, language="markdown", wrap_lines=True)  # as text: nothing in it is loaded or run
    current = desk.current
    if current is None:
        st.info("No pair matches the filters; loosen them to see pairs again.", icon=":material/filter_alt_off:")
        st.stop()
        return
    record = next(r for r in desk.batch.records if r["pair_id"] == current)
    made = desk.decisions.get(current)
    version = version_seen(desk.batch, current, made)
    buttons(desk, current, version)
    if made is not None and desk.words[current] != "undecided":
        why = f": {made.reason}" if made.reason else ""
        st.caption(
            f"{MARKS[desk.words[current]]} by {escaped(made.who)} at {made.at:%Y-%m-%d %H:%M} UTC{escaped(why)}"
            + (f" ({escaped(made.note)})" if made.note else "")
        )
    shown = current in desk.queue
    where = f"{desk.queue.index(current) + 1:,} of {len(desk.queue):,}" if shown else "no longer in this queue"
    st.subheader(f"Prompt ({where})")
    prompt = prompt_text(record["prompt"])
    show_text(prompt, height=150 if len(prompt) > 300 else None)
    responses(record, desk.blind)
    figures(record, desk.batch, desk.blind, version)
    st.text_input("Note (kept with the next decision on this pair)", key=keys.note_of(current))
    comments(desk.batch, current)


def buttons(desk: Desk, current: str, version: int) -> None:
    """Decide the pair or leave it; every button has its key."""
    queue, words = desk.queue, desk.words
    following = next_pair(queue, {**words, current: "decided"}, current)
    before = queue[(queue.index(current) if current in queue else 0) - 1] if queue else current

    def args(decision: str, reason: str | None = None) -> tuple[object, ...]:
        return desk.batch, current, decision, version, following, reason

    with st.container(horizontal=True):
        st.button(
            "Approve",
            key="approve",
            type="primary",
            icon=":material/check:",
            shortcut="a",
            on_click=decide,
            args=args("approve"),
        )
        st.button("Flag", key="flag", icon=":material/flag:", shortcut="f", on_click=decide, args=args("flag"))
        st.button("Clear", key="clear", on_click=decide, args=args("clear"), disabled=words[current] == "undecided")
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
                args=args("reject", reason),
            )


@acting
def decide(
    batch: BatchFolder, key: str, decision: str, version: int, following: str | None, reason: str | None
) -> None:
    """Write one decision, then go on to the next pair; a refusal is shown at the top of the page."""
    try:
        note = st.session_state.get(keys.note_of(key)) or None
        review_store().decide(
            kept(batch).batch_id, key, decision, who=reviewer(), reason=reason, note=note, expected_version=version
        )
    except CurationError as error:
        tell(error)
        return
    if decision != "clear":
        set_page_state("pair", following)


def version_seen(batch: BatchFolder, key: str, made: Decision | None) -> int:
    """The version of the pair this person has seen; what somebody else decides meanwhile is shown and must be read."""
    now, state = made.version if made is not None else 0, review_state()
    here = state.seen is not None and state.seen[:2] == (batch.batch_id, key)
    seen = state.seen[2] if state.seen and here and made is not None and made.who != reviewer() else now
    state.seen = batch.batch_id, key, seen
    if made is not None and seen != now:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.warning(
                f"{escaped(made.who)} decided this pair while you had it open: "
                f"{MARKS.get(made.decision, '· undecided again')}.",
                icon=":material/group:",
            )
            st.button("I have seen it", key="seen", on_click=forget_seen)
    return seen


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


header("Review", "Why this pair? Every decision is kept the moment it is made.")
batch, every = batch_at(batch_choice())
show_message()
side, main = st.columns([1, 2.5])
with side:
    desk = queue_column(batch, every)
guidelines = guarded(lambda: guidelines_of(batch))
with main:
    pair_column(desk, guidelines)
