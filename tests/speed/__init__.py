"""How fast the dashboard answers at real size, in a real browser: `python -m tests.speed`.

Every time is also told as a ratio to the rerun of an empty Streamlit page in the same run, which takes the machine and
whatever else it is doing out of it.
"""
