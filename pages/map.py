"""Where are they? UMAP of pair feature differences, the batch over the candidates."""

import html

import pandas as pd
import streamlit as st

from curation.charts.map import pair_map
from curation.insight.pair_map import map_frame
from curation.run.results import Solved
from pages._batches import saved_batch
from pages._review_state import review_state
from pages._shared import header, set_page_state, solved_key, solved_view
from pages._store import guarded, review_store
from pages._widgets import chart

PAGE = {"section": "Design", "rank": 3, "title": "Map", "icon": ":material/scatter_plot:"}

COLOURS = {
    "batch or candidate": ("in_batch", False),
    "weight (share of the design)": ("weight", True),
    "feature distance |z|": ("distance", True),
    "strongest Fisher direction": ("direction", False),
    "stratum": ("stratum", False),
    "decision": ("decision", False),
}


@st.cache_resource(max_entries=8, show_spinner="Drawing the map (UMAP; some seconds the first time)")
def _frame(key: str, limit: int, seed: int, _solved: Solved) -> tuple[pd.DataFrame, str]:
    return map_frame(
        _solved.prepared.pool,
        _solved.prepared.geometry,
        _solved.criterion,
        _solved.design,
        _solved.batch.pairs,
        limit=limit,
        seed=seed,
    )


def with_decisions(frame: pd.DataFrame, solved: Solved) -> pd.DataFrame:
    """The frame with each pair's decision and its hover text."""
    batch = saved_batch(solved)
    made = {} if batch is None else guarded(lambda: review_store().decisions(batch.batch_id))
    out = frame.copy()
    out["decision"] = [
        made[key].decision if key in made else ("undecided" if chosen else "not in the batch")
        for key, chosen in zip(out["pair_id"], out["selected"], strict=True)
    ]
    out["label"] = [
        html.escape(f"{p}: {a} / {b}") + f"<br>weight {w:.2e}, distance {d:.2f}"
        for p, a, b, w, d in zip(
            out["prompt_id"], out["generator_a"], out["generator_b"], out["weight"], out["distance"], strict=True
        )
    ]
    return out


header(
    "Map",
    "Where are they? Pairs whose responses differ in the same way lie together; a pair and its mirror are one point.",
)
solved = solved_view()
colour_column, points_column = st.columns([2, 1])
choice = colour_column.selectbox("Colour by", list(COLOURS), key="map_colour")
limit = points_column.select_slider("Points drawn", [500, 1000, 1500, 2000, 3000], 1500, key="map_limit")
frame, method = guarded(lambda: _frame(solved_key(solved), limit, 0, solved))
frame = with_decisions(frame, solved)
column, numeric = COLOURS[choice]
event = chart(
    pair_map(frame, column, numeric=numeric, title=choice),
    key=f"map_{column}_{limit}",
    on_select="rerun",
    selection_mode=("points", "box", "lasso"),
)
st.caption(
    f"{method}, on the distance min(|a - b|, |a + b|); seed 0. Large outlined points are the batch ({int(frame['selected'].sum())} of "
    f"{len(frame)} drawn; {solved.prepared.pool.n_pairs} candidate pairs in all). Distances across the map mean little; neighbourhoods do."
)
picked = {str(point["customdata"]) for point in event["selection"]["points"]} if event else set()
if not picked:
    st.info(
        "Draw a lasso or a box round points to list their pairs and send them to the review queue.",
        icon=":material/gesture:",
    )
    st.stop()
table = frame[frame["pair_id"].isin(picked)].sort_values(["selected", "weight"], ascending=False)
chosen = table[table["selected"]]
st.subheader(f"{len(table)} pairs picked, {len(chosen)} of them in the batch")
st.dataframe(
    table[["prompt_id", "stratum", "generator_a", "generator_b", "in_batch", "decision", "weight", "distance"]].head(
        500
    ),
    hide_index=True,
    width="stretch",
    column_config={
        "weight": st.column_config.NumberColumn(format="%.2e"),
        "distance": st.column_config.NumberColumn(format="%.2f"),
    },
)
if len(chosen) and st.button(f"Review these {len(chosen)} pairs", type="primary", icon=":material/fact_check:"):
    review_state().only = chosen["pair_id"].tolist()
    set_page_state("pair", chosen["pair_id"].iloc[0])
    st.switch_page("pages/review.py")
