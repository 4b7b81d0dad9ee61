"""The backtest part of the Evidence page."""

import streamlit as st


def section() -> None:
    """What exists of it."""
    st.info(
        "Not part of this version. No result is shown because none was obtained.", icon=":material/hourglass_empty:"
    )
