"""Is the design sane? Weights and inclusion, by prompt, stratum and generator, against length, distance, probability."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from curation.batch.records import pair_probability
from curation.charts.weights import (
    against,
    generator_pairs,
    inclusion_histogram,
    lorenz,
    prompt_labels,
    shares,
)
from curation.insight.concentration import (
    Concentration,
    background_sample,
    concentration,
    generator_pair_matrix,
    pair_table,
    share_by,
)
from curation.run.report import report
from curation.run.results import Solved
from pages._shared import header, solved_key, solved_view
from pages._store import guarded
from pages._widgets import chart

PAGE = {"section": "Design", "rank": 4, "title": "Weights", "icon": ":material/bar_chart:"}


@dataclass(frozen=True)
class Sheet:
    """What the page draws: support and background tables, with their weights and shares."""

    curve: Concentration
    support: pd.DataFrame
    inclusion: np.ndarray
    background: pd.DataFrame
    strata: pd.DataFrame
    generators: pd.DataFrame
    matrix: pd.DataFrame
    prompts: np.ndarray


@st.cache_resource(max_entries=8, show_spinner="Weighing")
def _sheet(key: str, _solved: Solved) -> Sheet:
    pool, geometry = _solved.prepared.pool, _solved.prepared.geometry
    weights = _solved.design.weights.cpu().numpy()
    pairs, sample = np.flatnonzero(weights > 0), background_sample(geometry)
    support, background = pair_table(pool, geometry, pairs), pair_table(pool, geometry, sample)
    for table, numbers in ((support, pairs), (background, sample)):
        table["distance"] = geometry.differences(numbers).norm(dim=1).cpu().numpy()
        table["probability"] = pair_probability(_solved, numbers)
    both = pd.concat([support, background], ignore_index=True)
    zero, alike = np.zeros(len(background)), np.full(len(background), 1.0 / len(background))
    weight = np.concatenate([weights[pairs], zero])
    of_pool = np.concatenate([np.zeros(len(support)), alike])
    ends = share_by([*both["generator_a"], *both["generator_b"]], np.tile(weight, 2), np.tile(of_pool, 2))
    return Sheet(
        curve=concentration(weights),
        support=support,
        inclusion=weights[pairs] * _solved.feasible.labels,
        background=background,
        strata=share_by(both["stratum"].tolist(), weight, of_pool),
        generators=ends,
        matrix=generator_pair_matrix(support, weights[pairs]),
        prompts=np.bincount(
            support["prompt"], weights=weights[pairs] * _solved.feasible.labels, minlength=geometry.prompts
        ),
    )


header(
    "Weights", "Is the design sane? Look for labels piled on few pairs, one generator, one stratum, or sheer length."
)
solved = solved_view()
sheet = guarded(lambda: _sheet(solved_key(solved), solved))
columns = st.columns(4)
columns[0].metric("Pairs with weight", f"{sheet.curve.support:,}", help=f"of {solved.prepared.pool.n_pairs:,}")
columns[1].metric("Effective pairs", f"{sheet.curve.effective_entropy:,.0f}", help="exp of the entropy of the weights")
columns[2].metric(
    "Gini of the weights", f"{sheet.curve.gini:.3f}", help="0: all pairs alike; near 1: few pairs carry all"
)
columns[3].metric("Most labels on a prompt", f"{sheet.prompts.max():.2f}", help="expected, over all its pairs")
left, right = st.columns(2)
with left:
    st.subheader("Inclusion")
    chart(inclusion_histogram(sheet.inclusion), key="inclusion")
    st.caption(
        "Pairs at 1 are certain to be labelled; those between are drawn by chance with exactly this probability."
        if solved.batch.inclusion is not None
        else f"Expected labels under the design. Selection {solved.settings.select} does not draw with these probabilities."
    )
with right:
    st.subheader("Concentration")
    chart(lorenz(sheet.curve), key="lorenz")
    st.caption("A design is far from the diagonal by intent: most pairs of a prompt say the same thing.")
left, right = st.columns(2)
with left:
    st.subheader("By prompt")
    chart(prompt_labels(sheet.prompts), key="prompts")
    st.caption(f"Spread {report(solved).spread}: the totals of the prompts are what that spread allows.")
with right:
    st.subheader("By stratum")
    if len(sheet.strata) > 1:
        chart(shares(sheet.strata, "stratum"), key="strata")
        st.caption("A stratum far above its share of the pool draws labels from the others.")
    else:
        st.info("This pool names no strata (or one only), so there is nothing to compare.", icon=":material/info:")
known = [name for name in sheet.generators["key"] if name != "(unknown)"]
if known:
    left, right = st.columns(2)
    with left:
        st.subheader("By generator")
        chart(shares(sheet.generators, "generator"), key="generators")
        st.caption("Each pair counts half for either side. One generator far above its share: look at its answers.")
    with right:
        st.subheader("Who is compared with whom")
        chart(generator_pairs(sheet.matrix), key="matrix")
        st.caption("Share of the labels on each pair of generators; blank where no pair has weight.")
else:
    st.info("This pool names no generators, so weights cannot be shown by generator.", icon=":material/info:")
st.subheader("Against length, distance and probability")
st.caption(solved.length.sentence())
first, second = st.columns(2)
with first:
    chart(
        against(
            sheet.support["length_difference"].to_numpy(),
            sheet.inclusion,
            sheet.background["length_difference"].to_numpy(),
            "Length difference (characters)",
        ),
        key="length",
    )
with second:
    chart(
        against(
            sheet.support["distance"].to_numpy(),
            sheet.inclusion,
            sheet.background["distance"].to_numpy(),
            "Feature distance |z| (mean squared response norm 1)",
        ),
        key="distance",
    )
known_probability = np.isfinite(sheet.support["probability"].to_numpy())
if known_probability.any():
    chart(
        against(
            sheet.support["probability"].to_numpy()[known_probability],
            sheet.inclusion[known_probability],
            sheet.background["probability"].dropna().to_numpy(),
            "Reference probability of the likelier response, among its prompt's candidates",
        ),
        key="probability",
    )
    st.caption("Grey: all pairs of the pool (a sample where it is large). Blue: pairs with weight.")
else:
    st.info(
        "No reference probabilities are known for this pool, so weights are not shown against them. Features made with "
        "a causal model bring them along.",
        icon=":material/info:",
    )
