"""What the Review page remembers of a session, and the names of those widgets that are read or set by name."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from curation.errors import CurationError
from curation.review.desk import keep_desk, kept_desk
from curation.review.queue import SORTS, Filter
from pages._shared import reviewer
from pages._store import guarded, review_store

# Widgets: Streamlit keeps their values under these names.
BLIND, MODE = "blind", "answers_shown"
STATES, STRATA, GENERATORS, WORDS, SORT, KNOWN = FILTERS = (
    "filter_states", "filter_strata", "filter_generators", "filter_words", "filter_sort", "filter_known",
)  # fmt: skip
KEPT = (BLIND, MODE, *FILTERS)  # what a person finds again on this batch, whatever was looked at in between
VIEW_NAME = "view_name"

UNCHANGED: tuple[Any, ...] = (False, "", [], next(iter(SORTS)))  # nobody's choice: looking at a page keeps nothing


def note_of(pair_id: str) -> str:
    """The field for a note on a pair."""
    return f"note_{pair_id}"


def comment_of(pair_id: str) -> str:
    """The field for a comment on a pair."""
    return f"comment_{pair_id}"


@dataclass
class ReviewState:
    """One session's review. message: told once. only: pairs that another page sent over; none: all. only_why: where
    they come from, in words.

    asked: batch and filter of the last run. seen: batch, pair and the version of its decision that this person has
    seen. picked: the pair of the row that was clicked last. dialog: whether one is open. came_from: batch -> the one
    that it replaced a pair of. desks: batch -> filters, order and blind mode as they stand; desk: whose are on screen.
    """

    message: str | None = None
    only: list[str] = field(default_factory=list)
    only_why: str = "from the map"
    asked: tuple[str, Filter] | None = None
    seen: tuple[str, str, int] | None = None
    picked: str | None = None
    dialog: bool = False
    came_from: dict[str, str] = field(default_factory=dict)
    desks: dict[str, dict[str, Any]] = field(default_factory=dict)
    desk: str | None = None


def review_state() -> ReviewState:
    """This session's; to be changed in place."""
    found: ReviewState = st.session_state.setdefault("review", ReviewState())
    return found


def restore_desk(batch_id: str) -> None:
    """Before the widgets: filters, order and blind mode as this person left them on this batch.

    Streamlit forgets what a page's widgets hold once another page is looked at. A batch that is new to this person
    takes over what the last one had, so that blind mode is left by nobody unasked.
    """
    state = review_state()
    if batch_id not in state.desks:
        kept = guarded(lambda: kept_desk(review_store(), batch_id, who=reviewer()))
        state.desks[batch_id] = dict(state.desks.get(state.desk or "", {}) if kept is None else kept)
    for key in KEPT:
        value = state.desks[batch_id].get(key)
        if value is None and state.desk != batch_id:
            st.session_state.pop(key, None)
        elif value is not None and (state.desk != batch_id or key not in st.session_state):
            st.session_state[key] = value
    state.desk = batch_id


def remember_desk(batch_id: str) -> None:
    """After the widgets: keep how they stand, in the session and, for who may decide, in the store."""
    state = review_state()
    present = {key: st.session_state[key] for key in KEPT if st.session_state.get(key) not in (None, *UNCHANGED)}
    if present != state.desks.get(batch_id):
        state.desks[batch_id] = present
        with suppress(CurationError):  # somebody who may only look: kept as long as the session
            keep_desk(review_store(), batch_id, present, who=reviewer())


def only_of(key: str, options: list[str]) -> None:
    """Drop from a filter what this batch does not have: a widget refuses it."""
    if st.session_state.get(key):
        st.session_state[key] = [value for value in st.session_state[key] if value in options]


def tell(message: str | CurationError) -> None:
    """Say something at the top of the page's next run."""
    review_state().message = str(message)


def show_message() -> None:
    """What was to be told, once."""
    message, review_state().message = review_state().message, None
    if message:
        st.warning(message, icon=":material/info:")


def forget_seen() -> None:
    """The pair in view is seen anew, as it stands."""
    review_state().seen = None
