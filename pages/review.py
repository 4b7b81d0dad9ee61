"""Why this pair? Side-by-side review: every decision is written at once."""

from dataclasses import dataclass

import streamlit as st

from curation.batch.folder import BatchFolder, Record
from curation.batch.guidelines import guidelines_of
from curation.errors import CurationError
from curation.health.foregone import Foregone
from curation.pool.schema import prompt_text
from curation.review.queue import QueueTable, decision_words, next_pair
from curation.review.store.decisions import Decision
from curation.review.why import why_a_person
from pages import _review_state as keys
from pages._acts import act_on_shown, known_button, own_earlier, own_last, replace_button, top_up_button, undo
from pages._answers import answers, mode_buttons
from pages._batches import batch_at, kept, live_decisions
from pages._comments import comments
from pages._guard import acting
from pages._queue import go_to, kept_in_view, queue_filter, table, tally, watch
from pages._review_looks import LOOKS
from pages._review_state import forget_seen, remember_desk, restore_desk, review_state, show_message, tell
from pages._shared import header, open_pool, reviewer, set_page_state
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
SHORT = dict(
    zip(REASONS, ("duplicate", "both unusable", "off topic", "unsafe", "too hard", "other"), strict=True)
)  # fmt: skip
MOST = 12  # other candidates shown at once
MARKS = {"approve": "✓ approved", "reject": "✗ rejected", "flag": "⚑ flagged", "undecided": "· undecided"}


@dataclass(frozen=True)
class Desk:
    """A batch under review as this run of the page shows it.

    words: of every pair. queue: ids of the pairs that the filters show, in order. current: the pair in view. known: what is known of outcomes.
    """

    batch: BatchFolder
    decisions: dict[str, Decision]
    words: dict[str, str]
    queue: list[str]
    current: str | None
    blind: bool
    known: dict[str, Foregone]


def queue_column(batch: BatchFolder, every: QueueTable) -> Desk:
    """How far the review is, the filters, the queue, and what acts on all of it."""
    decisions = live_decisions(batch.batch_id)
    words = decision_words(decisions, batch.records)
    restore_desk(batch.batch_id)
    tally(words)
    watch(batch.batch_id, sum(made.version for made in decisions.values()))
    blind = st.toggle("Blind: hide generators", key=keys.BLIND)
    wanted = queue_filter(batch, every)
    remember_desk(batch.batch_id)
    rows = every.select(words, wanted)
    queue = rows["pair_id"].tolist()
    current = kept_in_view(batch, wanted, queue, words)
    st.caption(f"{len(queue):,} pairs in the queue")
    if queue:
        table(rows, queue.index(current) if current in queue else 0, current)
    show_message()
    review_state().dialog = False
    act_on_shown(batch, queue, words, decisions, REASONS)
    known_button(batch, every, words, decisions)
    st.button(
        "Undo my last action",
        key="undo",
        on_click=undo,
        args=(batch, own_last(decisions)),
        icon=":material/undo:",
        shortcut="u",
        width="stretch",
    )
    top_up_button(batch, words)
    return Desk(batch, decisions, words, queue, current, blind, every.known)


def pair_column(desk: Desk) -> None:
    """The pair in view: what may be done with it, why it is asked, its texts, its figures, what was said of it."""
    current = desk.current
    if current is None:
        st.info("No pair matches the filters; loosen them to see pairs again.", icon=":material/filter_alt_off:")
        st.stop()
        return
    record = next(r for r in desk.batch.records if r["pair_id"] == current)
    made = desk.decisions.get(current)
    version = version_seen(desk.batch, current, made)
    known = desk.known.get(current)
    with st.container(gap="xsmall"):
        buttons(desk, current, version)
        with st.container(key="why"):
            badge = ":orange-badge[:material/report: outcome known] " if known is not None else ""
            st.markdown(badge + escaped(why_a_person(record, known)))
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="prompt_line"):
            st.markdown(
                f"**Prompt ({place_of(desk, current)})** :gray[{decided(desk, current, made)}]", width="stretch"
            )
            mode_buttons()
        show_text(prompt_text(record["prompt"]), height=76)
    answers(record, desk.blind)
    figures(record, desk.batch, desk.blind, version)
    elsewhere(desk, record)
    st.text_input("Note (kept with the next decision on this pair)", key=keys.note_of(current))
    comments(desk.batch, current)


def place_of(desk: Desk, current: str) -> str:
    """Where in the queue the pair stands."""
    if current not in desk.queue:
        return "no longer in this queue"
    return f"{desk.queue.index(current) + 1:,} of {len(desk.queue):,}"


def decided(desk: Desk, current: str, made: Decision | None) -> str:
    """Who decided the pair, when and why."""
    if made is None or desk.words[current] == "undecided":
        return "· undecided"
    why = f": {made.reason}" if made.reason else ""
    note = f" ({made.note})" if made.note else ""
    return f"{MARKS[desk.words[current]]} by {escaped(f'{made.who}, {made.at:%Y-%m-%d %H:%M} UTC{why}{note}')}"


def buttons(desk: Desk, current: str, version: int) -> None:
    """Decide the pair or leave it; every button has its key."""
    queue, words = desk.queue, desk.words
    following = next_pair(queue, {**words, current: "decided"}, current)
    before = queue[(queue.index(current) if current in queue else 0) - 1] if queue else current

    def args(decision: str, reason: str | None = None) -> tuple[object, ...]:
        return desk.batch, current, decision, version, following, reason

    with st.container(key="acts", gap="xxsmall"):
        with st.container(horizontal=True, gap="xsmall"):
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
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.markdown("Reject:", width="content")
            for n, reason in enumerate(REASONS):
                st.button(
                    SHORT[reason],
                    key=f"reject_{n}",
                    type="tertiary",
                    shortcut=str(n + 1),
                    on_click=decide,
                    args=args("reject", reason),
                    help=f"Reject: {reason}",
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
        if not own_earlier(batch, {key: version}, decision):  # the same key pressed twice in a row
            tell(too_fast(batch, key, version) or error)
        return
    if decision != "clear":
        set_page_state("pair", following)


def too_fast(batch: BatchFolder, key: str, version: int) -> str | None:
    """What to say where the pair was decided since by this very person, whose next key came before the next pair."""
    made = live_decisions(batch.batch_id).get(key)
    if made is None or made.version == version or made.who != reviewer():
        return None
    return (
        f"You had just {MARKS.get(made.decision, '· undecided').split()[-1]} pair {key} when another key came; that one "
        "was not counted. Go back (b) to change it."
    )


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


def figures(record: Record, batch: BatchFolder, blind: bool, version: int) -> None:
    """The pair's figures, each with its meaning."""
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
        f"{escaped(record['rationale'])} Reference probability (left / right) {shown}.{serves} Stratum {escaped(record['stratum'] or '(none)')}, prompt {escaped(record['prompt_id'])}, pair {record['pair_id']}, {record['copies']} label(s)."
    )
    found = replacement_for(record, batch, blind=blind)
    if found is not None:
        replace_button(batch, record["pair_id"], found, version)


def elsewhere(desk: Desk, record: Record) -> None:
    """From this pair to its point on the map, to the other candidates of its prompt and to their pairs in the queue."""
    same = [r for r in desk.batch.records if r["prompt_id"] == record["prompt_id"]]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link("pages/map.py", label="Its point on the map", icon=":material/scatter_plot:")
        if len(same) > 1:
            st.button(
                f"All {len(same):,} pairs of this prompt",
                key="same_prompt",
                on_click=only_prompt,
                args=(record["prompt_id"],),
            )
        others = st.toggle("Other candidates of this prompt", key="other_candidates")
    if others:
        candidates(record, desk.blind)


@acting
def only_prompt(prompt_id: str) -> None:
    """Show the pairs of one prompt; the filters say so."""
    st.session_state[keys.WORDS] = prompt_id


def candidates(record: Record, blind: bool) -> None:
    """What else was answered to the prompt: the beginning of every answer that this pair does not compare."""
    prompt = next((p for p in open_pool().pool.prompts if p.prompt_id == record["prompt_id"]), None)
    here = (record["response_a_id"], record["response_b_id"])
    others = [] if prompt is None else [r for r in prompt.responses if r.response_id not in here]
    if not others:
        st.caption("This prompt has no other candidates in the pool that is open.")
        return
    for start in range(0, len(others[:MOST]), 2):
        for column, response in zip(st.columns(2), others[start : start + 2], strict=False):
            with column:
                name = f"Candidate {response.response_id}" if blind else response.generator or "unknown generator"
                st.caption(f"{escaped(name)} · {len(response.text):,} characters")
                show_text(response.text[:4000], height=160)
    if len(others) > MOST:
        st.caption(f"The first {MOST} of {len(others):,} other candidates.")


def guidelines_box(batch: BatchFolder) -> None:
    """What annotators are told, beside the pair."""
    guidelines = guarded(lambda: guidelines_of(batch))
    if guidelines is not None:
        with st.expander("Guidelines for annotators", icon=":material/menu_book:", expanded=True):
            st.code(guidelines, language="markdown", wrap_lines=True, height=220)  # as text: nothing in it is loaded


st.html(LOOKS)
with st.container(key="review_head"):
    title, choice = st.columns([1, 1.6], vertical_alignment="center")
    with title:
        header("Review", "Why this pair? Every decision is kept the moment it is made.")
    with choice:
        batch, every = batch_at(batch_choice("collapsed"))
side, main = st.columns([1, 3.2])
with side:
    desk = queue_column(batch, every)
    guidelines_box(batch)
with main:
    pair_column(desk)
