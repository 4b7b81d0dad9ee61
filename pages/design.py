"""Which pairs, at what price? Budget and ridge, what the design is worth, where it goes, the rules it must beat."""

from typing import Any

import streamlit as st

from curation.backtest.worth import UNTESTED, tested
from curation.charts.design import allocation, convergence
from curation.design.result import Step
from curation.run.headline import Headline
from curation.run.results import Solved
from pages._bars import bars
from pages._beside import beside, headline_of
from pages._design_controls import controls, near
from pages._guidelines import guidelines_panel
from pages._learnt import panel as learnt_panel
from pages._scenarios import scenario_line, scenarios
from pages._shared import current_view, header, open_pool, prepared_pool, set_page_state, solved_view
from pages._widgets import chart, escaped

PAGE = {"section": "Design", "rank": 1, "title": "Design", "icon": ":material/tune:"}


class Finding:
    """The line on top: what is being solved, then what was found. The line of before stands until there is another."""

    def __init__(self) -> None:
        self._place = st.container()
        self._line: Any = None

    def say(self, words: str) -> None:
        """Put words in place of those that stand there."""
        if self._line is None:
            self._line = self._place.empty()
        self._line.markdown(words)


def solved_live(finding: Finding) -> Solved:
    """The design; where it has to be solved first, what is solved and how near it is after every pass."""
    view = current_view()
    budget = view.design_settings(len(open_pool().pool.prompts)).budget

    def tell(step: Step) -> None:
        finding.say(
            f":orange-badge[:material/hourglass_top: solving] **{budget:,.6g} {escaped(view.cost or 'labels')}, ridge "
            f"{view.ridge:g}**, within {step.gap:.2g} of the best after pass {step.passes}: the figures below are "
            "still of the settings before."
        )

    return solved_view(progress=tell)


def figures(solved: Solved, found: Headline) -> None:
    """What an analyst asks first."""
    columns = st.columns(5)
    worth = found.equivalent.labels
    columns[0].metric(
        "Label equivalents",
        f"{worth:,.0f}" if worth < 1e12 else "no number",
        help=f"Uniform labels that would reach the criterion of these {found.labels:,} labels (on {found.pairs:,} "
        "pairs). The criterion is not the reward: a backtest on known outcomes says what is earned.",
    )
    columns[1].metric(
        "Of the attainable",
        f"{found.attained:.1%}",
        delta=f"uniform labels {found.uniform:.1%}",
        delta_color="off",
        delta_arrow="off",
        help="Of what the best possible design takes off the criterion of no labels at all, the part this batch takes, "
        "and the part that as many uniform labels take. The best possible design may give a pair a fraction of a label: "
        "few whole labels stay behind it under a light ridge, and may pass it where the spread gives prompts fractions.",
    )
    columns[2].metric(
        "Weakest direction",
        f"{found.weakest + 1} ({found.said:.2g}x)",
        help="Among the Fisher directions that matter more than average, the one about which the batch says least, as "
        f"a multiple of what as many uniform labels say. It says less than uniform about {found.neglected} of all "
        f"{found.directions} directions; the Coverage page shows each.",
    )
    smallest = min(found.strata, key=lambda row: row.labels, default=None)
    columns[3].metric(
        "Labels per stratum" if smallest else "Labels",
        f"{smallest.labels:,} to {found.strata[0].labels:,}" if smallest else f"{found.labels:,}",
        help="Fewest and most labels that a stratum gets; each stratum stands below."
        if smallest
        else "This pool names no strata, so labels are counted together.",
    )
    if found.cost is None:
        columns[4].metric("Cost", f"{found.labels:,} labels", help="Every label costs the same: no cost column is set.")
    else:
        columns[4].metric(
            "Cost",
            f"{found.cost:,.4g}",
            help=f"{found.unit}, summed over the labels, of {solved.settings.budget:,.6g}.",
        )
    st.caption(f"The criterion is not the reward. {solved.length.sentence()}")


def certificate(solved: Solved, found: Headline) -> None:
    """One line, and what stands behind it folded away."""
    if not found.certain:
        st.warning(
            f"The solver stopped on {solved.design.stopped}, not on its certificate: what is known is that the best "
            f"possible design is at most {found.certified:.2g} better, relatively."
        )
    design, spread = solved.design, report_spread(solved)
    with st.expander(f"{found.certificate()[0].upper()}{found.certificate()[1:]}", icon=":material/verified:"):
        left, right = st.columns([1, 1])
        with left:
            st.markdown(
                f"The equivalence theorem bounds what any design could do: its criterion is at least "
                f"{design.certificate.lower_bound:.6g}; this design's is {design.certificate.objective:.6g}, the drawn "
                f"batch's {solved.realised:.6g}."
            )
            st.caption(
                f"Gap {design.certificate.gap:.1e}: how much better the best design can be. Open "
                f"{design.certificate.open:.1e}: the part of the improvement over uniform that is left. Solved in "
                f"{solved.seconds['solve']:.2f} s on {solved.prepared.device}, {design.passes} passes."
            )
        with right:
            chart(convergence(design.trace, solved.settings.tol), key="convergence")
    chances = solved.prepared.probabilities
    st.caption(
        f"Spread {spread}, {design.support:,} pairs with weight in the design, {found.pairs:,} drawn. Directions "
        f"are weighed by Fisher {chances.kind} ({escaped(chances.reason.rstrip('.'))}), {solved.prepared.space.dim} dimensions."
    )


def report_spread(solved: Solved) -> str:
    """The spread in use, `auto` resolved."""
    from curation.design.sets.make import resolve_spread

    return str(resolve_spread(solved.prepared.geometry, solved.settings.spread))


def outcomes(solved: Solved) -> None:
    """What known outcomes say, or that nobody asked them."""
    told = tested(solved)
    left, right = st.columns([4, 1], vertical_alignment="center")
    if told is None:
        left.warning(UNTESTED, icon=":material/science:")
    else:
        left.info(told, icon=":material/science:")
    right.page_link(
        "pages/evidence.py",
        label="Test it on Evidence" if told is None else "See Evidence",
        icon=":material/arrow_forward:",
    )


def strata(found: Headline, solved: Solved) -> None:
    """Where the labels go."""
    if not found.strata:
        return
    st.header("Labels per stratum")
    bars(allocation(found.strata), solved, ["stratum"], "of stratum", key="strata")
    st.caption(
        "Bars: labels of this batch. Marks: what a stratum would get by its share of the prompts. A quota holds a "
        "stratum between two amounts."
    )


header("Design", "Which pairs, at what price? Change budget and ridge: the design is solved again at once.")
prepared_pool()
finding = Finding()
scenario_line()
controls()
solved = solved_live(finding)
found = headline_of(solved)
finding.say(f"**{found.sentence()}**")
figures(solved, found)
outcomes(solved)
certificate(solved, found)
if st.button("Review these pairs", type="primary", icon=":material/fact_check:", key="to_review"):
    set_page_state("batch", None)
    st.switch_page("pages/review.py")
beside(solved, near())
strata(found, solved)
scenarios(solved, found)
learnt_panel()
guidelines_panel(solved)
