"""Guidelines for annotators on the Design page: a Markdown file that becomes part of the batch that is reviewed next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from curation.batch.folder import guidelines_hash, read_manifest
from curation.batch.guidelines import read_guidelines
from curation.dashboard.places import save_upload
from curation.review.register import saved_before
from curation.run.results import Solved
from pages._shared import constraints, current_view, open_pool, reviewer
from pages._store import guarded, review_store

KEPT = "guidelines_text"  # (fingerprint of the pool, name of the file, text)


def chosen_guidelines() -> str | None:
    """The text given for the open pool's next batch, None without one."""
    kept = st.session_state.get(KEPT)
    return kept[2] if kept and kept[0] == open_pool().pool.fingerprint else None


def guidelines_panel(solved: Solved) -> None:
    """Take a Markdown file, show what it says, and tell where these pairs are under review with other guidelines."""
    fingerprint = open_pool().pool.fingerprint
    kept = st.session_state.get(KEPT)
    held = kept if kept and kept[0] == fingerprint else None
    with st.expander(f"Guidelines for annotators: {held[1] if held else 'none'}", icon=":material/menu_book:"):
        file = st.file_uploader(
            "Markdown file: what annotators are told. It is signed with the batch and goes out with every export.",
            type=["md", "markdown", "txt"],
            key=f"upload_guidelines_{st.session_state.get('guidelines_turn', 0)}",
        )
        if file is not None:
            given = (fingerprint, file.name, guarded(lambda: _read(file)))
            if given != kept:
                st.session_state[KEPT] = given
                st.rerun()
        elif held:
            st.code(held[2], language="markdown", wrap_lines=True)  # as text: nothing in it is loaded or run
        if held and st.button("Drop guidelines", key="drop_guidelines"):
            st.session_state.pop(KEPT)
            st.session_state["guidelines_turn"] = st.session_state.get("guidelines_turn", 0) + 1
            st.rerun()
    if held:
        _tell_other(solved, held[2])


def _read(file: Any) -> str:
    return read_guidelines(save_upload(file.name, file.getvalue(), who=reviewer(), store=review_store()))


def _tell_other(solved: Solved, text: str) -> None:
    pinned, excluded = guarded(lambda: constraints(current_view(), open_pool().pool))
    folder: Path | None = guarded(lambda: saved_before(solved, pinned=pinned, excluded=excluded))
    if folder is None:
        return
    digest = guarded(lambda: read_manifest(folder)).get("guidelines")
    if digest != guidelines_hash(text):
        st.warning(
            f"These pairs are already batch {folder.name}, made with {'other' if digest else 'no'} guidelines, which "
            "stay: a batch is never changed under its reviewers. Another seed makes a batch of its own.",
            icon=":material/menu_book:",
        )
