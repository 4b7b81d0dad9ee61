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
from curation.design.sets.make import resolve_spread
from curation.insight.concentration import (
    TIMES,
    Concentration,
    alike,
    background_sample,
    concentration,
    generator_pair_matrix,
    pair_table,
    sanity,
    share_by,
)
from curation.run.results import Solved
from pages._bars import bars
from pages._shared import header, solved_key, solved_view
from pages._store import guarded
from pages._widgets import chart, escaped

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


def generators(sheet: Sheet, solved: Solved) -> None:
    """Who is compared, and with whom."""
    if not [name for name in sheet.generators["key"] if name != "(unknown)"]:
        st.info("This pool names no generators, so weights cannot be shown by generator.", icon=":material/info:")
        return
    left, right = st.columns(2)
    with left:
        st.header("By generator")
        bars(
            shares(sheet.generators, "generator"),
            solved,
            ["generator_a", "generator_b"],
            "with generator",
            key="generators",
        )
        st.caption(
            f"Each pair counts half for either side. One generator above {TIMES:g} times its share: look at its answers."
        )
    with right:
        st.header("Who is compared with whom")
        chart(generator_pairs(sheet.matrix), key="matrix")
        st.caption("Share of the labels on each pair of generators; blank where no pair has weight.")


def by_length(sheet: Sheet, solved: Solved) -> None:
    """Length and distance."""
    st.header("Against length and distance")
    st.caption(solved.length.sentence())
    columns = (
        ("length_difference", "Length difference (characters)", "with a length difference of"),
        ("distance", "Feature distance |z| (mean squared response norm 1)", "at a distance of"),
    )
    for place, (name, title, what) in zip(st.columns(2), columns, strict=True):
        with place:
            drawn = against(sheet.support[name].to_numpy(), sheet.inclusion, sheet.background[name].to_numpy(), title)
            bars(drawn, solved, [name], what, key=name)
    st.caption(
        "Grey: all pairs of the pool (a sample where it is large). Blue: pairs with weight, by their inclusion: the "
        "labels that a pair is expected to get."
    )


def by_probability(sheet: Sheet) -> None:
    """The reference's own view."""
    known = np.isfinite(sheet.support["probability"].to_numpy())
    if known.any():
        st.header("Against the reference's probability")
        drawn = against(
            sheet.support["probability"].to_numpy()[known],
            sheet.inclusion[known],
            sheet.background["probability"].dropna().to_numpy(),
            "Reference probability of the likelier response, among its prompt's candidates",
        )
        chart(drawn, key="probability")
    else:
        st.info(
            "No reference probabilities are known for this pool, so weights are not shown against them. Features made "
            "with a causal model bring them along.",
            icon=":material/info:",
        )


def places(sheet: Sheet, spread: str, solved: Solved) -> None:
    """By stratum and by prompt, where these differ at all."""
    left, right = st.columns(2)
    with left:
        st.header("By stratum")
        if len(sheet.strata) > 1:
            bars(shares(sheet.strata, "stratum"), solved, ["stratum"], "of stratum", key="strata")
            st.caption("A stratum far above its share of the pool draws labels from the others.")
        else:
            st.info("This pool names no strata (or one only), so there is nothing to compare.", icon=":material/info:")
    with right:
        st.header("By prompt")
        if alike(sheet.prompts):
            st.caption(f"Spread {spread}: every prompt is expected to get {sheet.prompts.mean():.2g} labels.")
        else:
            chart(prompt_labels(sheet.prompts), key="prompts")
            st.caption(f"Spread {spread}: the totals of the prompts are what that spread allows.")


def concentrated(sheet: Sheet, solved: Solved) -> None:
    """How unevenly the weight lies on pairs."""
    st.header("On how many pairs")
    curve = sheet.curve
    st.markdown(
        f"{curve.support:,} of {solved.prepared.pool.n_pairs:,} pairs have weight in the design; they count as "
        f"{curve.effective_entropy:,.0f} pairs of equal weight."
    )
    if alike(sheet.inclusion):
        st.caption(f"All of them are alike: each is expected to get {sheet.inclusion.mean():.2g} labels.")
        return
    left, right = st.columns(2)
    with left:
        bars(inclusion_histogram(sheet.inclusion), solved, ["inclusion"], "with an inclusion of", key="inclusion")
        certain = int((sheet.inclusion >= 1 - 1e-6).sum())
        if solved.batch.inclusion is None:
            st.caption(
                f"Expected labels under the design. Selection {solved.settings.select} does not draw with these "
                "probabilities."
            )
        else:
            st.caption(
                f"Inclusion is the chance that a pair is labelled: {certain:,} are certain, the others are drawn with "
                f"exactly this probability, {sheet.inclusion.max():.2g} at most."
            )
    with right:
        chart(lorenz(curve), key="lorenz")
        st.caption("A design is far from the diagonal by intent: most pairs of a prompt say the same thing.")


header(
    "Weights", "Is the design sane? Look for labels piled on few pairs, one generator, one stratum, or sheer length."
)
solved = solved_view()
sheet = guarded(lambda: _sheet(solved_key(solved), solved))
sane, told = sanity(sheet.generators, sheet.strata, solved.length)
(st.success if sane else st.warning)(
    escaped(told), icon=":material/check_circle:" if sane else ":material/troubleshoot:"
)
generators(sheet, solved)
by_length(sheet, solved)
places(sheet, resolve_spread(solved.prepared.geometry, solved.settings.spread), solved)
by_probability(sheet)
concentrated(sheet, solved)
