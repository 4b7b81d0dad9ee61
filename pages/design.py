"""Which pairs, at what price? Budget and ridge, the design, its certificate and the rules it must beat."""

import math
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from curation.backtest.worth import worth
from curation.charts.design import against_rules, convergence, frontier
from curation.dashboard.places import save_upload
from curation.dashboard.view import IN_VIEW, View, scenario_settings, view_from_query
from curation.design.result import Step
from curation.run.report import budget_frontier, frontier_budgets, report
from curation.setting_rules import ABSOLUTE_RIDGE, COST_MOST, LABELS_MOST, OVERLAP_MOST
from curation.settings import DEFAULT_DESIGN, PRESETS, DesignSettings, default_budget
from pages._controls import Controls
from pages._guidelines import guidelines_panel
from pages._learnt import panel as learnt_panel
from pages._shared import (
    constraints,
    current_view,
    header,
    open_pool,
    open_view,
    prepared_key,
    prepared_pool,
    reviewer,
    set_page_state,
    solved_view,
)
from pages._store import guarded, review_store
from pages._widgets import chart

PAGE = {"section": "Design", "rank": 1, "title": "Design", "icon": ":material/tune:"}

RIDGES = (0.01, 0.03, 0.06, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
ABSOLUTE = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def controls() -> None:
    """Budget and ridge first; everything writes to the view at once."""
    view, opened = current_view(), open_pool()
    prompts = len(opened.pool.prompts)
    presets(view)
    asked = Controls(view, "design")
    budget_column, ridge_column, spread_column, labels_column = st.columns([1.2, 1.6, 1.2, 1])
    budget = budget_column.number_input(
        "Budget (cost units)" if view.cost else "Budget (labels)", 1, int(COST_MOST) if view.cost else LABELS_MOST,
        view.budget or default_budget(prompts), step=max(1, prompts // 30),
        help=f"What this batch may cost, in units of {view.cost}." if view.cost else "How many human labels this batch buys.",
    )  # fmt: skip
    asked.put(budget=0 if view.budget == 0 and int(budget) == default_budget(prompts) else int(budget))
    ridge, choices = IN_VIEW["ridge"], sorted({*(RIDGES if view.ridge_kind == "relative" else ABSOLUTE), view.ridge})
    asked.put(
        ridge=float(
            ridge_column.select_slider(
                ridge.label, choices, view.ridge, format_func=lambda value: f"{value:g}", help=ridge.told
            )
        )
    )
    asked.draw("spread", spread_column)
    bounds = {"1": 1.0, "2": 2.0, "3": 3.0, "no bound": math.inf}
    if view.max_labels not in bounds.values():  # a link or a scenario may ask for any whole number
        bounds[f"{view.max_labels:g}"] = view.max_labels
    names = [name for name, value in bounds.items() if value == view.max_labels]
    most = labels_column.selectbox(IN_VIEW["max_labels"].label, list(bounds), list(bounds).index(names[0]))
    asked.put(max_labels=bounds[most])
    more_controls(asked)
    asked.rest()
    asked.take()


def presets(view: View) -> None:
    """Settings with a name, one click each; `custom` where the present ones have none."""
    names = {preset.title: key for key, preset in PRESETS.items()}
    present = next((title for title, key in names.items() if key == view.preset), "custom")
    chosen = st.segmented_control(
        "Preset", [*names] if view.preset else [*names, "custom"], default=present, required=True,
        key=f"preset_{present}",
        help="Ridge, spread, selection, labels per pair and space together. Default: a light ridge, which bets on no "
        "direction. HGM as published: absolute ridge, no spread, sequential draws, raw PCA. 0.2.0 default: a heavy "
        "ridge with the length coordinate. Budget, limits and seed stay.",
    )  # fmt: skip
    if chosen in names and chosen != present:
        open_view(view.with_preset(names[chosen]))


def more_controls(asked: Controls) -> None:
    """Selection, seed, overlap, limits, pins and exclusions, folded away."""
    view = asked.view
    with st.expander("Selection, constraints, pins and exclusions"):
        first, second, third, fourth = st.columns(4)
        kind = asked.draw("ridge_kind", first)
        if kind != view.ridge_kind:
            asked.put(ridge=DEFAULT_DESIGN.ridge if kind == "relative" else ABSOLUTE_RIDGE)
        asked.draw("prior_power", third)
        asked.draw("select", second)
        asked.draw("seed", third)
        overlap = fourth.number_input(
            "Overlap", 0.0, OVERLAP_MOST, view.overlap, 0.05,
            help="Share of the budget that labels a pair a second time.",
        )  # fmt: skip
        asked.put(overlap=float(overlap))
        limits = ("per_prompt", "generator_share", "quotas", "cost", "max_length_difference")
        for name, column in zip(limits, st.columns(len(limits)), strict=True):
            asked.draw(name, column)
        for name, title in (("pins", "Pins"), ("exclude", "Exclusions")):
            left, right = st.columns([3, 1], vertical_alignment="bottom")
            file = left.file_uploader(
                f"{title} (CSV with pair_id, or prompt_id and up to two response ids)", type="csv", key=f"upload_{name}"
            )
            if file is not None:
                asked.put(**{name: str(guarded(partial(uploaded, file)))})
            elif getattr(view, name) and right.button(f"Drop {title.lower()}", key=f"drop_{name}"):
                asked.put(**{name: ""})


def uploaded(file: UploadedFile) -> Path:
    """An uploaded file, kept in the workspace."""
    return save_upload(file.name, file.getvalue(), who=reviewer(), store=review_store())


def figures() -> None:
    """The certificate, the rules beside it, the price in uniform labels, the frontier."""
    view = current_view()
    live = st.empty()

    def tell(step: Step) -> None:
        live.caption(f"pass {step.passes}: gap {step.gap:.1e}, open {step.open:.1e}")

    solved = solved_view(progress=tell)
    live.empty()
    result = report(solved)
    columns = st.columns(5)
    columns[0].metric("Labels", result.selected_labels, help=f"on {result.selected_pairs} pairs")
    columns[1].metric(
        "Efficiency",
        f"{result.efficiency:.1%}",
        help="Lower bound over the drawn batch's criterion. A little over 100 % is possible when the spread gives prompts fractions of a label: the draw settles them to whole labels, which the bound does not allow for.",
    )
    columns[2].metric("Gap", f"{result.gap:.1e}", help="Distance of the design from the best possible, certified.")
    columns[3].metric("Open", f"{result.open:.1e}", help="Share of the improvement over uniform that is still open.")
    columns[4].metric("Solved in", f"{result.seconds['solve']:.2f} s")
    columns[4].caption(f"Solved on {result.device}")
    if result.stopped != "certificate":
        st.warning(f"The solver stopped on {result.stopped}, not on its certificate: the gap above is what is known.")
    st.caption(
        f"Spread {result.spread}, Fisher {result.fisher} ({result.fisher_reason}), d = {result.dim}, "
        f"{result.support} pairs with positive weight, drawn to {result.selected_pairs}."
        + (f" They cost {result.cost_total:,.4g} of {result.budget:,.4g} ({result.cost})." if result.cost else "")
    )
    st.caption(solved.length.sentence())
    left, right = st.columns([1.15, 1])
    with left:
        st.subheader("Design against simple rules")
        chart(against_rules(result.realised, result.lower_bound, list(solved.baselines.values())), key="rules")
        skipped = [rule for rule in solved.baselines.values() if rule.realised is None]
        st.caption(
            "Smaller is better; 1 is the best any feasible design can do. Each rule drew a batch of the same budget; random rules show the mean of several draws. "
            + " ".join(f"{rule.name}: {rule.note}." for rule in skipped)
        )
    with right:
        st.subheader("Certificate")
        chart(convergence(solved.design.trace, solved.settings.tol), key="convergence")
        st.caption(
            f"The equivalence theorem bounds what any design could do: at least {result.lower_bound:.6g}; "
            f"this design {result.objective:.6g}."
        )
    st.subheader("What it is worth")
    found = worth(solved)
    left, right = st.columns(2)
    told, beside = found.sentences()
    left.info(told, icon=":material/calculate:")
    (right.warning if found.tested is None else right.info)(beside, icon=":material/science:")
    draw_frontier(view, solved.settings)


def draw_frontier(view: View, settings: DesignSettings) -> None:
    """The budget frontier, computed when asked and kept for these settings."""
    prepared = prepared_pool()
    st.subheader("Budget frontier")
    key = (prepared_key(), asdict(view) | {"seed": 0, "select": ""})
    kept = st.session_state.get("frontier")
    if kept and kept[0] == key:
        chart(frontier(kept[1], settings.budget, unit=settings.cost or "labels"), key="frontier_chart")
        st.caption(
            "Smaller is better. Each point is a design of its own; the prior is held at that of the present budget, so points compare."
        )
        return
    if st.button("Draw the budget frontier", key="frontier_button", icon=":material/timeline:"):
        with st.spinner("Solving the design at eight budgets"):
            pinned, excluded = guarded(lambda: constraints(view, prepared.pool))
            rows = guarded(
                lambda: budget_frontier(
                    prepared, settings, frontier_budgets(prepared, settings),
                    overlap=view.overlap, pinned=pinned, excluded=excluded,
                )
            )  # fmt: skip
        st.session_state["frontier"] = (key, rows)
        st.rerun()
    st.caption("How much would more labels, or fewer, change? Solves the design again at eight budgets.")


def scenarios() -> None:
    """Settings worth comparing, side by side."""
    st.subheader("Scenarios")
    opened, store, view = open_pool(), review_store(), current_view()
    name_column, save_column = st.columns([3, 1], vertical_alignment="bottom")
    name = name_column.text_input(
        "Keep these settings as", placeholder="e.g. heavy ridge, 300 labels", key="scenario_name"
    )
    if save_column.button("Save scenario", key="scenario_save", disabled=not name.strip(), width="stretch"):
        result = report(solved_view())
        figures = {
            key: getattr(result, key) for key in ("budget", "spread", "objective", "realised", "efficiency", "support")
        }

        def keep() -> None:
            who, fingerprint = reviewer(), opened.pool.fingerprint
            store.record_pool(fingerprint, opened.pool.name, opened.path, who=who)
            store.save_scenario(fingerprint, name, settings=view.to_query(), figures=figures, who=who)

        guarded(keep)
        st.rerun()
    kept = guarded(lambda: store.scenarios(opened.pool.fingerprint))
    if not kept:
        st.caption("None saved yet: save the present settings to compare them with others.")
        return
    table = pd.DataFrame(
        [
            {
                "scenario": s.name,
                **s.figures,
                "settings": ", ".join(f"{k}={v}" for k, v in scenario_settings(s.settings).items() if k != "pool"),
            }
            for s in kept
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        width="stretch",
        column_config={
            "efficiency": st.column_config.NumberColumn(format="percent"),
            "objective": st.column_config.NumberColumn(format="%.5g"),
            "realised": st.column_config.NumberColumn(format="%.5g"),
        },
    )
    pick_column, load_column, drop_column = st.columns([3, 1, 1], vertical_alignment="bottom")
    pick = pick_column.selectbox("Scenario", [s.name for s in kept], key="scenario_pick")
    chosen = next((s for s in kept if s.name == pick), kept[0])
    if load_column.button("Load", key="scenario_load", width="stretch"):
        st.session_state["view"] = view_from_query(scenario_settings(chosen.settings))
        st.rerun()
    if drop_column.button("Delete", key="scenario_drop", width="stretch"):
        guarded(lambda: store.delete_scenario(opened.pool.fingerprint, chosen.name, who=reviewer()))
        st.rerun()


header("Design", "Which pairs, at what price? Change budget and ridge: the design is solved again at once.")
prepared_pool()
controls()
figures()
learnt_panel()
guidelines_panel(solved_view())
if st.button("Review these pairs", type="primary", icon=":material/fact_check:", key="to_review"):
    set_page_state("batch", None)
    st.switch_page("pages/review.py")
scenarios()
