"""Comments on a pair: said without deciding it, seen by everybody."""

import streamlit as st

from curation.batch.folder import BatchFolder
from curation.errors import CurationError
from pages._batches import kept
from pages._guard import acting
from pages._review_state import comment_of, tell
from pages._shared import reviewer
from pages._store import guarded, review_store
from pages._widgets import escaped


def comments(batch: BatchFolder, pair_id: str) -> None:
    """What was said about a pair, and room to say more."""
    said = guarded(lambda: review_store().comments(batch.batch_id)).get(pair_id, [])
    for one in said:
        st.caption(f"**{escaped(one.who)}**, {one.at[:16].replace('T', ' ')} UTC: {escaped(one.text)}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("Comment (everybody sees it; decides nothing)", key=comment_of(pair_id))
        st.button("Comment", key="comment", on_click=say, args=(batch, pair_id))


@acting
def say(batch: BatchFolder, pair_id: str) -> None:
    """Write a comment."""
    try:
        text = st.session_state.get(comment_of(pair_id), "")
        review_store().comment(kept(batch).batch_id, pair_id, text, who=reviewer())
        st.session_state[comment_of(pair_id)] = ""
    except CurationError as error:
        tell(error)
