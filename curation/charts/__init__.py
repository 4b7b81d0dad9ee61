"""Data to plotly figures; no streamlit here."""
