"""The dashboard: page configuration, sign-in and navigation; nothing else."""

import streamlit as st

from pages._shared import navigation, open_state, sidebar
from pages._signin import entrance, gate

st.set_page_config(page_title="Pairwright", page_icon="data/icon.png", layout="wide", initial_sidebar_state=240)
found = entrance()
# The navigation is declared for everybody: without it Streamlit would run a page's script alone, past this file.
page = navigation(hidden=not found.who)
gate(found)
open_state()
sidebar()
page.run()
