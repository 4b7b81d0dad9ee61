"""The dashboard: page configuration, sign-in and navigation; nothing else.

`streamlit run app.py` finds the ASGI application below and serves it; the script that it runs for every session is this
same file, as `__main__`.
"""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    from pages._guard import told
    from pages._navigation import navigation
    from pages._shared import open_state
    from pages._signin import entrance, gate
    from pages._steps import beside_the_work
    from pages._style import STYLE

    # The navigation is declared for everybody: without it Streamlit would run a page's script alone, past this file.
    page = navigation()
    st.set_page_config(page_title=f"{page.title} · Pairwright")
    st.html(STYLE)
    gate(entrance())
    with told(f"page {page.url_path or page.title}"):
        open_state()
        with beside_the_work(page), told(f"page {page.url_path or page.title}"):
            page.run()
else:
    from curation.dashboard.map_worker import WORKER
    from pages._headers import MIDDLEWARE

    WORKER.start()

    app = st.App(str(HERE / "app.py"), middleware=MIDDLEWARE)
