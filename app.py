"""The dashboard: page configuration and navigation; nothing else."""

import streamlit as st

from pages._shared import open_state, sidebar

st.set_page_config(page_title="Pairwright", page_icon=":material/balance:", layout="wide")

navigation = st.navigation(
    {
        "Pool": [
            st.Page("pages/pool.py", title="Pool", icon=":material/inventory_2:", url_path="pool", default=True),
            st.Page("pages/features.py", title="Features", icon=":material/grain:", url_path="features"),
        ],
        "Design": [
            st.Page("pages/design.py", title="Design", icon=":material/tune:", url_path="design"),
            st.Page("pages/coverage.py", title="Coverage", icon=":material/radar:", url_path="coverage"),
            st.Page("pages/map.py", title="Map", icon=":material/scatter_plot:", url_path="map"),
            st.Page("pages/weights.py", title="Weights", icon=":material/bar_chart:", url_path="weights"),
        ],
        "Batch": [
            st.Page("pages/review.py", title="Review", icon=":material/fact_check:", url_path="review"),
            st.Page("pages/signoff.py", title="Sign-off", icon=":material/verified:", url_path="signoff"),
        ],
        "Proof": [st.Page("pages/evidence.py", title="Evidence", icon=":material/science:", url_path="evidence")],
    }
)
open_state()
sidebar()
navigation.run()
