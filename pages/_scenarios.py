"""Scenarios on the Design page: settings kept under a name, those that are ticked side by side, a link for each."""

from __future__ import annotations

import hashlib

import pandas as pd
import streamlit as st

from curation.dashboard.scenarios import (
    compared,
    differences,
    overlaps,
    scenario_figures,
    scenario_link,
    scenario_view,
)
from curation.errors import CurationError
from curation.review.store.records import Scenario
from curation.run.headline import Headline
from curation.run.results import Solved
from pages._beside import headline_of
from pages._guard import acting
from pages._shared import current_view, open_pool, open_view, page_state, reviewer, set_page_state, solved_view
from pages._store import guarded, review_store
from pages._widgets import escaped

NAME, ASKED, SAID = "scenario_name", "scenario_asked", "scenario_said"


def scenario_line() -> None:
    """Which scenario is open, while its settings are those on screen."""
    name = page_state("scenario")
    if not name:
        return
    kept = {s.name: s for s in guarded(lambda: review_store().scenarios(open_pool().pool.fingerprint))}
    if name in kept and scenario_view(kept[name]) == current_view():
        st.caption(f":material/bookmark: Scenario **{escaped(name)}**")
    elif name in kept:
        st.caption(f":material/edit: Changed since scenario **{escaped(name)}**")
    else:
        st.caption(f":material/bookmark: Settings sent as **{escaped(name)}**; no scenario here has that name")


def scenarios(solved: Solved, found: Headline) -> None:
    """Keep the present settings; what is kept, side by side."""
    st.header("Scenarios")
    name_column, save_column = st.columns([3, 1], vertical_alignment="bottom")
    name_column.text_input("Keep these settings as", placeholder="e.g. heavy ridge, 300 labels", key=NAME)
    save_column.button(
        "Save scenario", key="scenario_save", width="stretch", on_click=_asked,
        help="Keeps what the controls above show, with the figures of the design on screen.",
    )  # fmt: skip
    if said := st.session_state.pop(SAID, ""):
        st.warning(said, icon=":material/info:")
    _keep(solved, found)
    kept = guarded(lambda: review_store().scenarios(open_pool().pool.fingerprint))
    if not kept:
        st.caption("None saved yet: save the present settings to compare them with others.")
        return
    ticked = _table(kept, solved, found)
    if len(ticked) > 1:
        _side_by_side(ticked)
    elif kept[1:]:
        st.caption("Tick two or more to see in what they differ and how many pairs they share.")
    _one(kept, ticked)


def _table(kept: list[Scenario], solved: Solved, found: Headline) -> list[Scenario]:
    """The table of all; returns those that are ticked."""
    rows = compared(kept, scenario_figures(solved, found))
    names = hashlib.sha256("\x00".join(s.name for s in kept).encode()).hexdigest()[:12]
    event = st.dataframe(
        pd.DataFrame(rows), hide_index=True, width="stretch", key=f"scenario_table_{names}", on_select="rerun",
        selection_mode="multi-row",
        column_config={
            "uniform labels it is worth": st.column_config.TextColumn(help="In the criterion of its own ridge."),
            "of the attainable": st.column_config.TextColumn(
                help="Of what the best possible design takes off the criterion of no labels, under its own settings."
            ),
            "weakest direction": st.column_config.TextColumn(
                help="The important Fisher direction about which it says least, as a multiple of uniform labels."
            ),
            "along length": st.column_config.TextColumn(help="How much of what it is chosen for is answer length."),
            "same pairs as now": st.column_config.TextColumn(help="Pairs it shares with the design on screen."),
        },
    )  # fmt: skip
    st.caption(
        "Each is measured under its own settings. The criterion's own value is left out: under another ridge it is in "
        "another unit."
    )
    chosen: list[int] = [at for at in event["selection"]["rows"] if at < len(kept)]
    return [kept[at] for at in sorted(chosen)]


def _side_by_side(ticked: list[Scenario]) -> None:
    left, right = st.columns(2)
    with left:
        st.caption("**Settings in which they differ**")
        rows = differences(ticked)
        if rows:
            st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
        else:
            st.caption("None: these are the same settings.")
    with right:
        st.caption("**Pairs they share**")
        shared = overlaps(ticked)
        if shared:
            st.dataframe(pd.DataFrame(shared), hide_index=True, width="stretch")
        else:
            st.caption("One of them kept no pairs: open it and save it again.")


def _one(kept: list[Scenario], ticked: list[Scenario]) -> None:
    """Open, send or delete one."""
    names = [s.name for s in kept]
    pick_column, load_column, drop_column = st.columns([3, 1, 1], vertical_alignment="bottom")
    if st.session_state.get("scenario_pick") not in names:
        st.session_state["scenario_pick"] = ticked[0].name if ticked else names[-1]
    pick = pick_column.selectbox("Scenario", names, key="scenario_pick")
    chosen = next((s for s in kept if s.name == pick), kept[0])
    load_column.button("Load", key="scenario_load", width="stretch", on_click=_load, args=(chosen,))
    drop_column.button("Delete", key="scenario_drop", width="stretch", on_click=_drop, args=(chosen.name,))
    st.caption("A link to it, with its name; whoever may open this dashboard and pool sees the same figures.")
    st.code(scenario_link(chosen, st.context.url or ""), language=None, wrap_lines=True)


@acting
def _asked() -> None:
    """Remember what the controls show at the click; it is kept as soon as its design is there."""
    name = st.session_state[NAME].strip()
    if name:
        st.session_state[ASKED] = (name, current_view())
        st.session_state[NAME] = ""
    else:
        st.session_state[SAID] = "Give the scenario a name first."


def _keep(solved: Solved, found: Headline) -> None:
    """Keep the scenario that was asked for, with the design of the settings as they were then."""
    if ASKED not in st.session_state:
        return
    (name, view), opened, store, who = st.session_state[ASKED], open_pool(), review_store(), reviewer()
    if view != current_view():
        solved = solved_view(view)
        found = headline_of(solved)
    del st.session_state[ASKED]
    try:
        store.record_pool(opened.pool.fingerprint, opened.pool.name, opened.path, who=who)
        store.save_scenario(
            opened.pool.fingerprint, name, settings=view.to_query(), figures=scenario_figures(solved, found), who=who
        )
    except CurationError as error:
        st.error(str(error), icon=":material/error:")
    else:
        set_page_state("scenario", name)
        st.session_state["scenario_pick"] = name


@acting
def _load(chosen: Scenario) -> None:
    open_view(scenario_view(chosen), again=False)
    set_page_state("scenario", chosen.name)


@acting
def _drop(name: str) -> None:
    review_store().delete_scenario(open_pool().pool.fingerprint, name, who=reviewer())
    if page_state("scenario") == name:
        set_page_state("scenario", None)
