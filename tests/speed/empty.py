"""An empty Streamlit page: what a rerun costs when a page does nothing."""

import streamlit as st

st.session_state["turn"] = st.session_state.get("turn", 0) + 1
st.button("again")
st.title(f"turn {st.session_state['turn']}")
