"""The controls of the Design page: budget and ridge first, presets, constraints, pins and exclusions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from curation.dashboard.places import save_upload
from curation.dashboard.view import IN_VIEW, View
from curation.setting_rules import ABSOLUTE_RIDGE, COST_MOST, LABELS_MOST, OVERLAP_MOST
from curation.settings import DEFAULT_DESIGN, PRESETS, default_budget
from pages._controls import Controls, held, steady, taken
from pages._guard import acting
from pages._shared import change_view, current_view, open_pool, open_view, reviewer
from pages._store import review_store

RIDGES = (0.01, 0.03, 0.06, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
ABSOLUTE = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
MOVED = "moved"  # (setting, up or down), the last move of budget or ridge


def controls() -> None:
    """Budget and ridge first; everything writes to the view at once."""
    view, opened = current_view(), open_pool()
    usual = default_budget(len(opened.pool.prompts))
    presets(view)
    asked = Controls(view, "design")
    budget_column, ridge_column, spread_column, labels_column = st.columns([1.2, 1.6, 1.2, 1])
    budget_column.number_input(
        "Budget (cost units)" if view.cost else "Budget (labels)", 1, int(COST_MOST) if view.cost else LABELS_MOST,
        step=budget_step(), key=held("budget", view.budget or usual), on_change=taken, args=("budget", budgeted),
        help=f"What this batch may cost, in units of {view.cost}." if view.cost else "How many human labels this batch buys.",
    )  # fmt: skip
    ridge = IN_VIEW["ridge"]
    ridge_column.select_slider(
        ridge.label, ridges(), key=held("ridge", view.ridge), on_change=taken, args=("ridge", ridged),
        format_func=lambda value: f"{value:g}", help=ridge.told,
    )  # fmt: skip
    asked.draw("spread", spread_column)
    labels_column.selectbox(
        IN_VIEW["max_labels"].label, steady("max_labels", [1.0, 2.0, 3.0, math.inf], view.max_labels),
        key=held("max_labels", view.max_labels), on_change=taken, args=("max_labels", lambda most: {"max_labels": most}),
        format_func=lambda most: f"{most:g}" if math.isfinite(most) else "no bound",
        help="How often one pair may be labelled in this batch.",
    )  # fmt: skip
    asked.leave("ridge", "max_labels")
    more_controls(asked)
    asked.rest()


def budget_step() -> int:
    """Labels that one press on + or - adds or takes away."""
    return max(1, len(open_pool().pool.prompts) // 30)


def ridges() -> list[float]:
    """What the ridge may be moved to, in the present unit."""
    view = current_view()
    return steady(f"ridge_{view.ridge_kind}", RIDGES if view.ridge_kind == "relative" else ABSOLUTE, view.ridge)


def budgeted(value: Any) -> dict[str, Any]:
    """A budget asked for; 0 where the view has none of its own and this is the pool's usual one."""
    view, usual = current_view(), default_budget(len(open_pool().pool.prompts))
    st.session_state[MOVED] = ("budget", 1 if value >= (view.budget or usual) else -1)
    return {"budget": 0 if view.budget == 0 and int(value) == usual else int(value)}


def ridged(value: Any) -> dict[str, Any]:
    """A ridge asked for."""
    st.session_state[MOVED] = ("ridge", 1 if value >= current_view().ridge else -1)
    return {"ridge": float(value)}


def near() -> list[View]:
    """Views one move away in budget or ridge, the likeliest first: the last move once more."""
    view, opened = current_view(), open_pool()
    budget, step, choices = view.budget or default_budget(len(opened.pool.prompts)), budget_step(), ridges()
    at = choices.index(view.ridge)
    moves: dict[tuple[str, int], View] = {}
    for way in (1, -1):
        if budget + way * step > 0:
            moves["budget", way] = replace(view, budget=budget + way * step)
        if 0 <= at + way < len(choices):
            changes: dict[str, Any] = {"ridge": choices[at + way]}
            moves["ridge", way] = replace(view, **changes)
    last = st.session_state.get(MOVED, ("budget", 1))
    return [moves[move] for move in sorted(moves, key=lambda move: (move != last, move[0] != last[0]))]


def presets(view: View) -> None:
    """Settings with a name, one click each; `custom` where the present ones have none."""
    names = {preset.title: key for key, preset in PRESETS.items()}
    present = next((title for title, key in names.items() if key == view.preset), "custom")
    st.segmented_control(
        "Preset", [*names] if view.preset else [*names, "custom"], required=True,
        key=held("preset", present), on_change=_preset_chosen, args=(names,),
        help="Ridge, spread, selection, labels per pair and space together. Default: a light ridge, which bets on no "
        "direction. HGM as published: absolute ridge, no spread, sequential draws, raw PCA. 0.2.0 default: a heavy "
        "ridge with the length coordinate. Budget, limits and seed stay.",
    )  # fmt: skip


@acting
def _preset_chosen(names: dict[str, str]) -> None:
    chosen = st.session_state["set_preset"]
    if chosen in names:
        open_view(current_view().with_preset(names[chosen]), again=False)


def more_controls(asked: Controls) -> None:
    """Selection, seed, overlap, limits, pins and exclusions, folded away."""
    view = asked.view
    with st.expander("Selection, constraints, pins and exclusions"):
        first, second, third, fourth = st.columns(4)
        asked.draw(
            "ridge_kind", first,
            change=lambda kind: {"ridge_kind": kind, "ridge": DEFAULT_DESIGN.ridge if kind == "relative" else ABSOLUTE_RIDGE},
        )  # fmt: skip
        asked.draw("prior_power", third)
        asked.draw("select", second)
        asked.draw("seed", third)
        fourth.number_input(
            "Overlap", 0.0, OVERLAP_MOST, step=0.05, key=held("overlap", view.overlap), on_change=taken,
            args=("overlap", lambda share: {"overlap": float(share)}),
            help="Share of the budget that labels a pair a second time.",
        )  # fmt: skip
        limits = ("per_prompt", "generator_share", "quotas", "cost", "max_length_difference")
        for name, column in zip(limits, st.columns(len(limits)), strict=True):
            asked.draw(name, column)
        for name, title in (("pins", "Pins"), ("exclude", "Exclusions")):
            _pair_list(view, name, title)


def _pair_list(view: View, name: str, title: str) -> None:
    """A list of pairs as a file, and the button that drops it."""
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    turn = st.session_state.get(f"turn_{name}", 0)
    key = f"upload_{name}_{turn}"
    left.file_uploader(
        f"{title} (CSV with pair_id, or prompt_id and up to two response ids)", type="csv", key=key,
        on_change=_list_given, args=(name, key),
    )  # fmt: skip
    if getattr(view, name):
        right.button(f"Drop {title.lower()}", key=f"drop_{name}", on_click=_list_dropped, args=(name,))


@acting
def _list_given(name: str, key: str) -> None:
    file = st.session_state[key]
    if file is not None:
        change_view(**{name: str(uploaded(file))})


@acting
def _list_dropped(name: str) -> None:
    st.session_state[f"turn_{name}"] = st.session_state.get(f"turn_{name}", 0) + 1
    change_view(**{name: ""})


def uploaded(file: UploadedFile) -> Path:
    """An uploaded file, kept in the workspace."""
    return save_upload(file.name, file.getvalue(), who=reviewer(), store=review_store())
