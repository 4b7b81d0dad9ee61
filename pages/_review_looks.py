"""What the Review page looks like beyond Streamlit's own settings: one constant style sheet, no text of anybody's.

Marks take the text's own colour over a thin tint, so that they are readable in the light and in the dark theme, and
differ by their line as well as by their colour.
"""

LOOKS = """
<style>
[data-testid='stHeader'] { background: transparent; pointer-events: none; }
[data-testid='stHeader'] * { pointer-events: auto; }
[data-testid='stMainBlockContainer'] { padding: 1.5rem 2.5rem 2rem; }
.st-key-review_head { margin-bottom: -0.5rem; padding-right: 2rem; }
.st-key-review_head [data-testid='stColumn']:first-child [data-testid='stVerticalBlock'] { gap: 0.75rem; }
.st-key-review_head h1 { font-size: 1.4rem; padding: 0; }
.st-key-acts button, .st-key-prompt_line button { min-height: 2rem; padding-top: 0.1rem; padding-bottom: 0.1rem; }
.st-key-why { height: 1.5rem; overflow: hidden; }
.st-key-why p, .st-key-prompt_line p { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.st-key-why p { font-size: 0.95rem; }
@media (max-width: 1399px) { .st-key-why { height: 3rem; } .st-key-why p { white-space: normal; } }
.pw-text { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.5; }
.pw-text mark { color: inherit; border-radius: 2px; }
.pw-text mark.pw-only-left { background: rgba(230, 120, 0, 0.22); border-bottom: 2px dotted rgb(200, 100, 0); }
.pw-text mark.pw-only-right { background: rgba(0, 125, 200, 0.20); border-bottom: 2px solid rgb(0, 125, 200); }
</style>
"""
