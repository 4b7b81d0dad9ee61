"""A model beside people on Sign-off: how far it agrees with them, and the pairs on which it does not, one at a time."""

from __future__ import annotations

from typing import Any

import streamlit as st

from curation.batch.folder import BatchFolder
from curation.pool.schema import prompt_text
from pages._guard import acting
from pages._widgets import escaped, show_text

HEIGHT = 300  # of a response, pixels


@acting
def go(key: str, place: int) -> None:
    """Show another pair."""
    st.session_state[key] = place


def show_second_raters(report: dict[str, Any], batch: BatchFolder) -> None:
    """Every model's figures, then the pairs on which it and people differ; only pairs that people have answered."""
    raters = report["second_raters"]
    for rater in raters:
        st.markdown(f":material/smart_toy: {escaped(rater['sentence'])}")
    differ = {rater["model"]: rater for rater in raters if rater["disagreements"]}
    if not differ:
        return
    with st.expander("Pairs on which a model and people differ, opposite sides first", icon=":material/rule:"):
        model = next(iter(differ))
        if len(differ) > 1:
            model = st.selectbox("Model", list(differ), key=f"rater_{batch.batch_id}")
        found = differ[model]["disagreements"]
        key = f"rater_at_{batch.batch_id}_{model}"
        place = min(st.session_state.get(key, 0), len(found) - 1)
        one = found[place]
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("‹", key="rater_before", on_click=go, args=(key, place - 1), disabled=place == 0, help="Previous")
            st.button(
                "›",
                key="rater_after",
                on_click=go,
                args=(key, place + 1),
                disabled=place == len(found) - 1,
                help="Next",
            )
            kind = "opposite sides" if one["opposed"] else "a side and a tie"
            st.markdown(f"**{place + 1:,} of {len(found):,}**: {kind} · pair {one['pair_id']}")
        record = next((record for record in batch.records if record["pair_id"] == one["pair_id"]), None)
        if record is not None:
            show_difference(record, model, one)


def show_difference(record: Any, model: str, one: dict[str, Any]) -> None:
    """Prompt and both responses in Review's order, each under the names of those who chose it."""
    chose: dict[str, list[str]] = {"a": [], "b": [], "tie": []}
    for answer in one["answers"]:
        chose[answer["outcome"]].append(escaped(answer["annotator"]))
    chose[one["outcome"]].append(f"the model {escaped(model)}")
    if chose["tie"]:
        st.markdown(f"A tie for {', '.join(chose['tie'])}")
    prompt = prompt_text(record["prompt"])
    show_text(prompt, height=150 if len(prompt) > 300 else None)
    order = ("a", "b") if record["left"] == "a" else ("b", "a")
    for title, column, side in zip(("Left", "Right"), st.columns(2), order, strict=True):
        with column:
            st.markdown(f"**{title}** · {'chosen by ' + ', '.join(chose[side]) if chose[side] else 'chosen by nobody'}")
            show_text(record[f"response_{side}"], height=HEIGHT)
