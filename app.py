"""The dashboard: page configuration, sign-in and navigation; nothing else.

`streamlit run app.py` finds the ASGI application below and serves it; the script that it runs for every session is this
same file, as `__main__`.
"""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent
ICON = str(HERE / "data" / "icon.png")

if __name__ == "__main__":
    from pages._guard import told
    from pages._navigation import navigation
    from pages._shared import open_state, sidebar
    from pages._signin import entrance, gate

    st.set_page_config(page_title="Pairwright", page_icon=ICON, layout="wide", initial_sidebar_state=240)
    found = entrance()
    # The navigation is declared for everybody: without it Streamlit would run a page's script alone, past this file.
    page = navigation(hidden=not found.who)
    gate(found)
    with told(f"page {page.url_path or page.title}"):
        open_state()
        sidebar()
        page.run()
else:
    from curation.dashboard.map_worker import WORKER
    from pages._headers import MIDDLEWARE

    WORKER.start()

    app = st.App(str(HERE / "app.py"), middleware=MIDDLEWARE)
