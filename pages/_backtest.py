"""The backtest part of the Evidence page."""

import streamlit as st


def section() -> None:
    """What exists of it."""
    st.subheader("Backtest on known outcomes")
    st.info(
        "The backtest on known outcomes is not part of this version. No result is shown because none was obtained.",
        icon=":material/hourglass_empty:",
    )
