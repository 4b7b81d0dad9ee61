"""Where are they? UMAP of pair feature differences, the batch over the candidates."""

import html

import numpy as np
import pandas as pd
import streamlit as st

from curation.batch.records import pair_labels
from curation.charts.map import pair_map
from curation.dashboard.map_worker import WORKER
from curation.insight.pair_map import map_frame
from curation.pool.pair_lists import pairs_by_id
from curation.pool.schema import prompt_text
from curation.run.results import Solved
from pages._batches import live_decisions
from pages._guard import acting
from pages._picked import hold, pick, picked_now, review_these, show_told
from pages._shared import header, page_state, set_page_state, solved_key, solved_view
from pages._store import guarded
from pages._widgets import chart, escaped, show_text

PAGE = {"section": "Design", "rank": 3, "title": "Map", "icon": ":material/scatter_plot:"}

COLOURS = {
    "batch or candidate": ("in_batch", False),
    "weight (share of the design)": ("weight", True),
    "feature distance |z|": ("distance", True),
    "strongest Fisher direction": ("direction", False),
    "stratum": ("stratum", False),
    "decision": ("decision", False),
}
MODES = ("picks a point", "draws a lasso")
CANDIDATES = [500, 1000, 1500, 2000, 3000, 5000]
COLUMNS = ["pair_id", "text", "stratum", "generator_a", "generator_b", "in_batch", "decision", "weight", "distance"]


@st.cache_resource(max_entries=8, show_spinner="Drawing the map (UMAP; some seconds the first time)")
def _frame(key: str, candidates: int, with_pair: str | None, _solved: Solved) -> tuple[pd.DataFrame, str]:
    return map_frame(
        _solved.prepared.pool,
        _solved.prepared.geometry,
        _solved.criterion,
        _solved.design,
        _solved.batch.pairs,
        candidates=candidates,
        with_pair=with_pair,
        embedder=WORKER.embed,
    )


@st.cache_resource(max_entries=64, show_spinner=False)
def _known(key: str, wanted: str, _solved: Solved) -> bool:
    return bool(pairs_by_id(_solved.prepared.pool, {wanted}))


def drawn(solved: Solved, candidates: int, wanted: str | None) -> tuple[pd.DataFrame, str]:
    """The points, with the pair of the address among them where this pool has it."""
    key = solved_key(solved)
    frame, method = _frame(key, candidates, None, solved)
    if wanted is None or (frame["pair_id"] == wanted).any() or not _known(key, wanted, solved):
        return frame, method
    return _frame(key, candidates, wanted, solved)


def with_decisions(frame: pd.DataFrame, solved: Solved) -> pd.DataFrame:
    """The frame with each pair's decision and its hover text. Looking at it writes nothing."""
    made = live_decisions(solved_key(solved).split("-")[0])
    out = frame.copy()
    out["decision"] = [
        made[key].decision if key in made else ("undecided" if chosen else "not in the batch")
        for key, chosen in zip(out["pair_id"], out["selected"], strict=True)
    ]
    out["label"] = [
        html.escape(f"{p}: {a} / {b}") + f"<br>{html.escape(t[:70])}<br>weight {w:.2e}, distance {d:.2f}"
        for p, a, b, t, w, d in zip(
            *(out[name] for name in ("prompt_id", "generator_a", "generator_b", "text", "weight", "distance")),
            strict=True,
        )
    ]
    return out


def picked_on(event: object, key: str, known: set[str]) -> list[str]:
    """The pairs picked on the chart now, else those of the address that are drawn. Unpicking forgets them."""
    points = event["selection"]["points"] if event else []  # type: ignore[index]
    now = {
        str(point["customdata"][0] if isinstance(point["customdata"], list) else point["customdata"])
        for point in points
    }
    if now:
        st.session_state["map_picked_on"] = key
        pick(sorted(now))
        return sorted(now & known)
    if st.session_state.get("map_picked_on") == key:  # there was a selection on this very chart, and it is gone
        st.session_state["map_picked_on"] = None
        pick(())
        return []
    return [pair for pair in picked_now() if pair in known]


def one_pair(row: pd.Series, solved: Solved) -> None:
    """The pair of one point: its texts, its price, what may be done with it."""
    number, inside = int(row["pair"]), bool(row["selected"])
    price = "Not in the batch."
    if inside:
        place = solved.batch.pairs.tolist().index(number)
        price = f"In the batch: without it the criterion would be {solved.explanations.drop_cost[place]:.2%} worse."
    st.markdown(f"**Pair {row['pair_id']}**")
    st.caption(f"{price} Stratum {escaped(row['stratum'])}, prompt {escaped(row['prompt_id'])}.")
    if inside:
        review_these([row["pair_id"]], "from the map", key="map_review_one", label="Review it")
    pool = solved.prepared.pool
    x, i, j, _ = pair_labels(pool, solved, np.array([number]))[0]
    entry = pool.prompts[x]
    show_text(prompt_text(entry.prompt)[:1200], height=100)
    for response in (entry.responses[i], entry.responses[j]):
        st.caption(f"{escaped(response.generator or 'unknown generator')}, {len(response.text):,} characters")
        show_text(response.text[:4000], height=130)


def listed(table: pd.DataFrame) -> None:
    """The pairs of a lasso as a table."""
    st.dataframe(
        table[COLUMNS].rename(columns={"text": "prompt"}),
        hide_index=True,
        width="stretch",
        height=min(400, 38 + 35 * len(table)),
        key="map_table",
        column_config={
            "weight": st.column_config.NumberColumn(format="%.2e"),
            "distance": st.column_config.NumberColumn(format="%.2f"),
        },
    )
    st.caption("The table's download is a file of pins or exclusions as it is: it names every pair by its pair_id.")


def panel(table: pd.DataFrame, solved: Solved) -> None:
    """What is picked, and what may be done with it."""
    if not len(table):
        st.info(
            "Draw a line round points: their pairs are listed here, to review, pin or exclude."
            if lasso
            else "Click a point to read its pair here; shift and click adds points.",
            icon=":material/gesture:" if lasso else ":material/ads_click:",
        )
        return
    if len(table) == 1:
        one_pair(table.iloc[0], solved)
    else:
        chosen = table[table["selected"]]
        st.header(f"{len(table):,} pairs picked, {len(chosen):,} of them in the batch")
        if len(chosen):
            review_these(chosen["pair_id"].tolist(), "from the map", key="map_review")
    hold(table)
    st.button("Pick none", key="map_none", on_click=pick_none, type="tertiary")


@acting
def pick_none() -> None:
    """Forget what is picked, on the chart too: it is drawn anew."""
    pick(())
    set_page_state("pair", None)
    st.session_state["map_turn"] = st.session_state.get("map_turn", 0) + 1


header(
    "Map",
    "Where are they? Pairs whose responses differ in the same way lie together; a pair and its mirror are one point.",
)
solved = solved_view()
show_told()
mode_column, colour_column, points_column = st.columns([1, 1.4, 1])
mode = mode_column.radio("The mouse", MODES, horizontal=True, key="map_mode")
lasso = mode == MODES[1]
choice = colour_column.selectbox("Colour by", list(COLOURS), key="map_colour")
candidates = points_column.select_slider("Candidates drawn beside the batch", CANDIDATES, 1500, key="map_limit")
column, numeric = COLOURS[choice]
turn = st.session_state.get("map_turn", 0)
key = f"map_{column}_{candidates}_{'lasso' if lasso else 'click'}_{turn}"
if key not in st.session_state:  # opened or drawn anew: the ring follows the address, and stays while one picks
    st.session_state["map_marked"] = page_state("pair")
marked = st.session_state.get("map_marked")
frame, method = guarded(lambda: drawn(solved, candidates, marked))
frame = with_decisions(frame, solved)
total = solved.prepared.pool.n_pairs
st.markdown(
    f"Shows **{len(frame):,} of {total:,}** candidate pairs: all {int(frame['selected'].sum()):,} of the batch (large, "
    "outlined), then those with weight, then others by chance."
)
left, right = st.columns([2.1, 1])
with left:
    event = chart(
        pair_map(frame, column, numeric=numeric, title=choice, marked=marked, lasso=lasso),
        key=key,
        on_select="rerun",
        selection_mode=("points", "box", "lasso"),
    )
    st.caption(
        f"{method}, on the distance min(|a - b|, |a + b|); seed 0. Distances across the map mean little; neighbourhoods do."
    )
found = picked_on(event, key, set(frame["pair_id"]))
if not found and marked and (frame["pair_id"] == marked).any():
    found = [marked]
table = frame[frame["pair_id"].isin(found)].sort_values(["selected", "weight"], ascending=False)
if len(table) == 1 and page_state("pair") != found[0]:
    set_page_state("pair", found[0])
with right:
    panel(table, solved)
if len(table) > 1:
    listed(table)
