"""What the Review page remembers of a session, and the names of those widgets that are read or set by name."""

from __future__ import annotations

from dataclasses import dataclass, field

import streamlit as st

from curation.errors import CurationError
from curation.review.queue import Filter

# Widgets: Streamlit keeps their values under these names.
BLIND = "blind"
STATES, STRATA, GENERATORS, WORDS, SORT = FILTERS = (
    "filter_states", "filter_strata", "filter_generators", "filter_words", "filter_sort",
)  # fmt: skip
VIEW_NAME = "view_name"


def note_of(pair_id: str) -> str:
    """The field for a note on a pair."""
    return f"note_{pair_id}"


def comment_of(pair_id: str) -> str:
    """The field for a comment on a pair."""
    return f"comment_{pair_id}"


@dataclass
class ReviewState:
    """One session's review. message: told once, at the top. only: pairs that another page sent over; none: all. only_why: where they
    come from, in words.

    asked: batch and filter of the last run. seen: batch, pair and the version of its decision that this person has
    seen. picked: the pair of the row that was clicked last. dialog: whether one is open. came_from: batch -> the one
    that it replaced a pair of.
    """

    message: str | None = None
    only: list[str] = field(default_factory=list)
    only_why: str = "from the map"
    asked: tuple[str, Filter] | None = None
    seen: tuple[str, str, int] | None = None
    picked: str | None = None
    dialog: bool = False
    came_from: dict[str, str] = field(default_factory=dict)


def review_state() -> ReviewState:
    """This session's; to be changed in place."""
    found: ReviewState = st.session_state.setdefault("review", ReviewState())
    return found


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
