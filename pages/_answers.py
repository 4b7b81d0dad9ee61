"""Two answers side by side: laid out as Markdown, as plain text, or with the words marked that only one of them has.

All three show the texts of strangers: nothing in them is loaded, linked or run.
"""

from __future__ import annotations

import html

import streamlit as st

from curation.batch.folder import Record
from curation.insight.inert_markdown import has_markdown, inert_markdown
from curation.insight.text_diff import COMPARED, Piece, similarity, word_difference
from pages import _review_state as keys
from pages._guard import acting
from pages._widgets import SHOWN, escaped, show_text

LAID_OUT, PLAIN, DIFFERENCE = "laid out", "plain", "difference"
TALL = 440  # px of an answer's box: both answers fit a laptop's screen under what stands above them


def mode() -> str:
    """How the answers are shown in this session."""
    return str(st.session_state.get(keys.MODE, LAID_OUT))


@acting
def show_as(wanted: str) -> None:
    """Show the answers in another way from now on."""
    st.session_state[keys.MODE] = wanted


def mode_buttons() -> None:
    """Two buttons with a key each: laid out or plain, and the differences on or off."""
    now = mode()
    other = LAID_OUT if now == PLAIN else PLAIN
    st.button(
        "Plain text" if other == PLAIN else "Laid out",
        key="mode_text",
        shortcut="m",
        on_click=show_as,
        args=(other,),
        help="Markdown, code and formulas laid out, or every character as it is.",
    )
    st.button(
        "Hide differences" if now == DIFFERENCE else "Differences",
        key="mode_difference",
        shortcut="d",
        on_click=show_as,
        args=(LAID_OUT if now == DIFFERENCE else DIFFERENCE,),
        help="Mark the words that only one of the two answers has.",
    )


def answers(record: Record, blind: bool) -> None:
    """Both responses in their seeded order; generators hidden in blind mode."""
    order = ("a", "b") if record["left"] == "a" else ("b", "a")
    texts = [record[f"response_{side}"] for side in order]
    marked = word_difference(texts[0], texts[1]) if mode() == DIFFERENCE else None
    for place, (title, column, side) in enumerate(zip(("Left", "Right"), st.columns(2), order, strict=True)):
        text = texts[place]
        name = "" if blind else f" · {escaped(record[f'generator_{side}'] or 'unknown generator')}"
        only = ", marked: only here" if marked else ""
        with column, st.container(gap="xxsmall"):
            st.markdown(f"**{title}**{name} :gray[· {len(text):,} characters, {len(text.split()):,} words{only}]")
            if marked is not None:
                with st.container(height=TALL, border=True, key=f"answer_{place}"):
                    st.html(pieces_html(marked[place], "only-left" if place == 0 else "only-right"))
            elif mode() == LAID_OUT and has_markdown(text):
                with st.container(height=TALL, border=True, key=f"answer_{place}"):
                    st.markdown(inert_markdown(text[:SHOWN]))
                    if len(text) > SHOWN:
                        st.caption(f"The first {SHOWN:,} of {len(text):,} characters.")
            else:
                show_text(text, height=TALL)
    if marked is not None:
        cut = (
            f" Only the first {COMPARED:,} characters of each are compared." if max(map(len, texts)) > COMPARED else ""
        )
        st.caption(
            f"{similarity(*texts):.0%} of the words agree in order; what is marked stands in one answer only. Words that "
            f"agree by chance inside other ones are marked, too.{cut}"
        )


def pieces_html(pieces: list[Piece], name: str) -> str:
    """A text with its own words marked. Every character of it is escaped."""
    if not "".join(piece.text for piece in pieces).strip():
        return "<div class='pw-text'>(empty)</div>"
    shown = [
        html.escape(piece.text) if piece.shared else f"<mark class='pw-{name}'>{html.escape(piece.text)}</mark>"
        for piece in pieces
    ]
    return f"<div class='pw-text'>{''.join(shown)}</div>"
