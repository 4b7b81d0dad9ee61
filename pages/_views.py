"""Saved views of the review queue: filters and order under a name, each person's own."""

import streamlit as st

from curation.errors import CurationError
from curation.review.desk import named_views
from pages._guard import acting
from pages._review_state import FILTERS, VIEW_NAME, tell
from pages._shared import reviewer
from pages._store import guarded, review_store


def saved_views() -> None:
    """Apply, keep and remove views."""
    with st.popover("Views", icon=":material/bookmark:", width="stretch"):
        known = guarded(lambda: named_views(review_store(), who=reviewer()))
        for name in known:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.button(name, key=f"view_{name}", on_click=apply, args=(known[name],), width="stretch")
                st.button("✕", key=f"drop_view_{name}", on_click=drop, args=(name,), help="Remove this view")
        if not known:
            st.caption("None kept yet.")
        st.text_input("Name of the present filters and order", key=VIEW_NAME)
        st.button("Keep", key="keep_view", on_click=keep)


@acting
def apply(view: dict[str, object]) -> None:
    """Set the filters to those of a view; what the view does not name is cleared."""
    for key in FILTERS:
        if key in view:
            st.session_state[key] = view[key]
        else:
            st.session_state.pop(key, None)


@acting
def keep() -> None:
    """Keep the present filters under the name given."""
    present = {key: st.session_state[key] for key in FILTERS if st.session_state.get(key)}
    try:
        review_store().save_view(st.session_state.get(VIEW_NAME, ""), present, who=reviewer())
        st.session_state[VIEW_NAME] = ""
    except CurationError as error:
        tell(error)


@acting
def drop(name: str) -> None:
    """Remove a view."""
    try:
        review_store().delete_view(name, who=reviewer())
    except CurationError as error:
        tell(error)
