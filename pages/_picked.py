"""Pairs picked on the map: remembered across pages and reloads, and what may be done with them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from curation.dashboard.lists import longer_list, shorter_list
from curation.dashboard.places import save_upload
from curation.errors import CurationError
from pages._guard import acting
from pages._review_state import review_state
from pages._shared import change_view, constraints, current_view, open_pool, page_state, reviewer, set_page_state
from pages._store import review_store
from pages._widgets import escaped

REMEMBERED = 200  # selections of all sessions that the server keeps


@st.cache_resource
def _selections() -> tuple[OrderedDict[str, tuple[str, ...]], threading.Lock]:
    return OrderedDict(), threading.Lock()


def picked_now() -> tuple[str, ...]:
    """The pairs picked last, by the address; none where the server does not know that selection any more."""
    kept, lock = _selections()
    with lock:
        return kept.get(page_state("picked") or "", ())


def pick(pair_ids: Sequence[str]) -> None:
    """Remember a selection, under a name in the address; an empty one forgets."""
    if not pair_ids:
        set_page_state("picked", None)
        return
    found = tuple(sorted(pair_ids))
    name = hashlib.sha256("".join(found).encode()).hexdigest()[:12]
    kept, lock = _selections()
    with lock:
        kept[name] = found
        kept.move_to_end(name)
        while len(kept) > REMEMBERED:
            kept.popitem(last=False)
    set_page_state("picked", name)


def review_these(pair_ids: Sequence[str], why: str, *, key: str, label: str = "") -> None:
    """A button that sends pairs of the present batch to the review queue. why: what the queue says of them."""
    count = "this pair" if len(pair_ids) == 1 else f"these {len(pair_ids):,} pairs"
    if st.button(label or f"Review {count}", type="primary", icon=":material/fact_check:", key=key):
        review_state().only, review_state().only_why = list(pair_ids), why
        set_page_state("batch", None)
        set_page_state("pair", pair_ids[0])
        st.switch_page("pages/review.py")


def hold(table: pd.DataFrame) -> None:
    """Pin or exclude picked pairs. table: the picked rows, with `pair_id` and `selected`."""
    outside, inside = table[~table["selected"]]["pair_id"].tolist(), table[table["selected"]]["pair_id"].tolist()
    with st.container(horizontal=True, vertical_alignment="center"):
        if outside:
            st.button(
                f"Pin the {len(outside):,} that are not in the batch", key="map_pin", icon=":material/keep:",
                on_click=hold_to, args=("pins", outside),
                help="The design is solved again with these pairs in it.",
            )  # fmt: skip
        if inside or outside:
            every = [*inside, *outside]
            st.button(
                f"Exclude {'this pair' if len(every) == 1 else f'all {len(every):,}'}", key="map_exclude",
                icon=":material/block:", on_click=hold_to, args=("exclude", every),
                help="The design is solved again without them.",
            )  # fmt: skip


@acting
def hold_to(kind: str, pair_ids: list[str]) -> None:
    """Add pairs to the pins or the exclusions, and take them out of the other list."""
    try:
        view, pool, who, store = current_view(), open_pool().pool, reviewer(), review_store()
        lists = dict(zip(("pins", "exclude"), constraints(view, pool), strict=True))
        other = "exclude" if kind == "pins" else "pins"
        text = longer_list(lists[kind], pair_ids, pool)
        left = shorter_list(lists[other], pair_ids, pool)
        made = {kind: str(save_upload(f"{kind}.csv", text.encode(), who=who, store=store)), other: ""}
        if left is not None:
            made[other] = str(save_upload(f"{other}.csv", left.encode(), who=who, store=store))
        change_view(**made)
        done = "pinned" if kind == "pins" else "excluded"
        st.session_state["map_told"] = (
            f"{len(pair_ids):,} pairs {done}: the design on every page is now the one with that."
        )
    except CurationError as error:
        st.session_state["map_told"] = str(error)


def show_told() -> None:
    """What the last act said, once."""
    told = st.session_state.pop("map_told", None)
    if told:
        st.info(escaped(told), icon=":material/info:")
