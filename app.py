"""The dashboard: page configuration and navigation; nothing else."""

import streamlit as st

from pages._shared import navigation, open_state, sidebar

st.set_page_config(page_title="Pairwright", page_icon="data/icon.png", layout="wide", initial_sidebar_state=240)
page = navigation()
open_state()
sidebar()
page.run()
