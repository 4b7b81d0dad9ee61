"""The policy part of the Evidence page."""

import streamlit as st


def section() -> None:
    """What exists of it."""
    st.subheader("Policy experiments")
    st.info(
        "Policy experiments with real DPO training are not part of this version. No result is shown because none was obtained.",
        icon=":material/hourglass_empty:",
    )
