"""What the theme of .streamlit/config.toml cannot say of the pages' looks."""

STYLE = """<style>
[data-testid="stHeader"] { background: transparent; pointer-events: none; }
[data-testid="stHeader"] * { pointer-events: none !important; }
[data-testid="stHeader"] :is(button, a, [data-testid="stMainMenu"]) { pointer-events: auto !important; }
[data-testid="stHeader"] :is(button, a, [data-testid="stMainMenu"]) * { pointer-events: auto !important; }
[data-testid="stMainBlockContainer"] { padding-top: 2.25rem; padding-bottom: 4rem; max-width: 1760px; }
[data-testid="stSidebarHeader"] { height: 2.5rem; margin-bottom: 0; }
[data-testid="stCaptionContainer"] { opacity: 0.82; }
[data-testid="stPageLink-NavLink"]:focus-visible { outline: 2px solid currentColor; outline-offset: -2px; }
[data-testid="stText"], [data-testid="stMarkdownContainer"] > p, [data-testid="stAlert"] { max-width: 75rem; }
[class*="st-key-take_"] { margin-top: -1rem; }
[class*="st-key-take_"] button { min-height: 1.5rem; padding: 0; opacity: 0.82; }
[data-testid="stBaseButton-primary"]:not(:disabled) { background-color: #1F5FA8; border-color: #1F5FA8; color: #FFFFFF; }
</style>"""
