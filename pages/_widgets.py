"""Widgets that several pages draw: charts, untrusted text, pairs, the choice of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st
from streamlit.elements.lib.streamlit_plotly_theme import GRAY_90 as TEXT  # stands for the theme's own text colour

from curation.batch.folder import BatchFolder
from curation.batch.records import pair_labels, solved_settings
from curation.charts.data import described, figure_csv
from curation.pool.schema import prompt_text
from curation.review.topup import replacement_in
from curation.run.results import Solved
from pages._batches import kept, kept_states, only_looked_at, present_batch
from pages._guard import acting
from pages._known import known_pairs
from pages._shared import page_state, set_page_state, solved_view

SHOWN = 20_000  # characters of a text on screen: a browser takes gigabytes for a megabyte of one
PLOT_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["toggleSpikelines"], "responsive": True}
PICTURES = {"png": "PNG", "svg": "SVG"}


def batch_choice(label: Literal["visible", "collapsed"] = "visible") -> Path:
    """The batch folder in view: the present design's, or an earlier one of this pool. Chosen on the page, kept in the URL.

    Nothing is written by looking: the present design's may be one that is not kept yet. label: whether "Batch" stands
    above the choice.
    """
    present = present_batch(solved_view())
    states = {state.stored.batch_id: state for state in kept_states()}
    now = "" if present is None else present.batch_id
    options = [*(key for key in (now,) if key), *(key for key in states if key != now)]
    if not options:
        st.info(
            "This design has not been kept as a batch yet, and you may only look here: ask somebody with the role reviewer "
            "to review it.",
            icon=":material/visibility:",
        )
        st.stop()
    wanted = page_state("batch")
    index = options.index(wanted) if wanted in options else 0

    def title(key: str) -> str:
        first = "Present design: " if key == now else ""
        if key not in states:
            return f"{first}nobody has decided on it yet; not kept until somebody does ({key[:8]})"
        return f"{first}{states[key].title()} ({key[:8]})"

    choice_column, keep_column = st.columns([4, 1], vertical_alignment="bottom")
    chosen = choice_column.selectbox(
        "Batch",
        options,
        index,
        format_func=title,
        key=f"batch_{now}_{len(options)}_{wanted}",
        label_visibility=label,
    )
    if chosen != (wanted or options[0]):
        set_page_state("batch", None if chosen == now else chosen)
        set_page_state("pair", None)
        st.rerun()
    if present is not None and chosen == now:
        if only_looked_at(present):
            keep_column.button(
                "Keep this batch", key="keep_batch", on_click=keep_batch, args=(present,), width="stretch",
                help="Writes the batch into the workspace and its trail, so that others find it. The first decision does so too.",
            )  # fmt: skip
        return present.path
    return Path(states[chosen].stored.folder)


@acting
def keep_batch(batch: BatchFolder) -> None:
    """Make a batch of what is only looked at."""
    kept(batch)


def replacement_for(record: dict[str, Any], batch: BatchFolder, *, blind: bool) -> tuple[int, int, int] | None:
    """The best pair to take instead, said and returned; None where there is none, or the design is another one."""
    solved = solved_view()
    manifest, settings = batch.manifest, solved_settings(solved)
    if (manifest["space"]["fingerprint"], manifest["settings"]) != (solved.prepared.space.fingerprint, settings):
        st.caption("Best replacement: shown for batches of the present settings only.")
        return None
    pairs, copies = pairs_of(solved, batch)
    pool = solved.prepared.pool
    closed = known_pairs(pool.fingerprint, pool)
    found = replacement_in(solved, batch, pairs, copies, pair_number(solved, record), closed=closed)
    if found is None:
        st.caption("Best replacement: no other pair is admissible here (the prompt offers none, or its cap is met).")
        return None
    x, i, j, key = pair_labels(solved.prepared.pool, solved, np.array([found.pair]))[0]
    entry = solved.prepared.pool.prompts[x]
    names = "" if blind else f" ({entry.responses[i].generator or '?'} / {entry.responses[j].generator or '?'})"
    change = f"{abs(found.net):.2%} {'worse' if found.net > 0 else 'better'}"
    st.caption(
        f"Best replacement: pair {key} of prompt {escaped(entry.prompt_id)}{escaped(names)}; with it in this pair's place the "
        f"criterion would be {change} than now."
    )
    return x, i, j


def pairs_of(solved: Solved, batch: BatchFolder) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and copies (m,) of a batch's pairs in the design's geometry."""
    present = present_batch(solved)
    if present is not None and batch.batch_id == present.batch_id:
        return solved.batch.pairs, solved.batch.copies
    place = {prompt.prompt_id: n for n, prompt in enumerate(solved.prepared.pool.prompts)}
    numbers = np.array([pair_number(solved, record, place) for record in batch.records])
    order = np.argsort(numbers)
    return numbers[order], np.array([record["copies"] for record in batch.records])[order]


def pair_number(solved: Solved, record: dict[str, Any], place: dict[str, int] | None = None) -> int:
    """The number of a record's pair in the design's geometry. place: prompt_id -> number, where it is at hand."""
    prompts = solved.prepared.pool.prompts
    wanted = record["prompt_id"]
    x = place[wanted] if place else next(n for n, prompt in enumerate(prompts) if prompt.prompt_id == wanted)
    names = [response.response_id for response in prompts[x].responses]
    i, j = sorted((names.index(record["response_a_id"]), names.index(record["response_b_id"])))
    number = solved.prepared.geometry.number(x, i, j)
    assert number is not None
    return number


def show_text(text: str, *, height: int | None = None) -> None:
    """Untrusted text, as it is: no Markdown, no HTML."""
    with st.container(height=height, border=True) if height else st.container(border=True):
        st.text(text[:SHOWN] if text.strip() else "(empty)")
        if len(text) > SHOWN:
            st.caption(f"The first {SHOWN:,} of {len(text):,} characters; the batch's records hold the rest.")


def show_pair(solved: Solved, pair: int, *, swap: bool = False, caption: str = "") -> None:
    """Prompt and the two responses of a pair, side by side, as plain text. swap: the second response on the left."""
    pool = solved.prepared.pool
    x, i, j, key = pair_labels(pool, solved, np.array([pair]))[0]
    entry = pool.prompts[x]
    left, right = (j, i) if swap else (i, j)
    with st.expander(f"Pair {key}: {caption}", expanded=True):
        show_text(prompt_text(entry.prompt)[:1200])
        for column, number in zip(st.columns(2), (left, right), strict=True):
            with column:
                response = entry.responses[number]
                st.caption(f"{escaped(response.generator or 'unknown generator')}, {len(response.text)} characters")
                show_text(response.text[:4000], height=260)


def escaped(text: str) -> str:
    """Text whose Markdown signs are inert in captions and labels."""
    return "".join("\\" + c if c in "\\`*_{}[]()#+-.!|~$<>:" else c for c in text)


def chart(figure: Any, *, key: str, alt: str = "", **options: Any) -> Any:
    """A plotly figure across the column's width, in the theme's colours; under it its picture and its numbers to take.

    alt: what a screen reader says of it; made of its axes and series where it is not given.
    """
    ink, text = {"color": TEXT}, alt or described(figure)
    figure.update_layout(font=ink, legend_font=ink, hoverlabel_font=ink)
    for axes in (figure.update_xaxes, figure.update_yaxes):
        axes(tickfont=ink, title_font=ink)
    figure.update_coloraxes(colorbar_tickfont=ink, colorbar_title_font=ink)
    kind = st.session_state.setdefault("picture", "png")
    config = {**PLOT_CONFIG, "toImageButtonOptions": {"format": kind, "filename": key, "scale": 2}}
    drawn = st.plotly_chart(figure, width="stretch", config=config, key=key, alt=text, **options)
    _to_take(figure, key)
    return drawn


def _to_take(figure: Any, key: str) -> None:
    """The choice of the picture's format, and the figure's numbers as a file."""
    mine = f"picture_{key}"

    def take() -> None:
        st.session_state["picture"] = st.session_state[mine]

    st.session_state[mine] = st.session_state["picture"]
    with st.popover("Picture, data", type="tertiary", icon=":material/download:", key=f"take_{key}"):
        st.radio(
            "The camera over the chart saves it as", list(PICTURES), format_func=PICTURES.__getitem__, horizontal=True,
            key=mine, on_change=take,
        )  # fmt: skip
        st.download_button(
            "Its numbers (CSV)", lambda: figure_csv(figure), f"{key}.csv", "text/csv", on_click="ignore",
            icon=":material/table:", key=f"numbers_{key}",
        )  # fmt: skip
