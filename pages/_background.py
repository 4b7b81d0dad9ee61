"""The one thread that works beside the pages, shared by all sessions of a server."""

import streamlit as st

from curation.dashboard.background import Background


@st.cache_resource(show_spinner=False)
def background() -> Background:
    """It ends by itself when nothing is left to do."""
    return Background()
