"""Does it work here? Only what exists is shown; what was not tested is said to be untested."""

from collections.abc import Callable

import streamlit as st

from curation.charts.evidence import draw_luck
from curation.dashboard.found import evidence_sentence
from curation.insight.luck import Draws, repeated_draws
from curation.run.results import Solved
from pages._backtest import section as backtest_section
from pages._backtest import stored
from pages._bought import results as bought_results
from pages._bought import section as bought_section
from pages._learnt import section as learnt_section
from pages._policy import section as policy_section
from pages._policy import stored as policy_stored
from pages._shared import header, open_pool, prepared_pool, solved_key, solved_view
from pages._synthetic import section as synthetic_section
from pages._synthetic import stored as synthetic_stored
from pages._widgets import chart, escaped

PAGE = {"section": "Proof", "rank": 1, "title": "Evidence", "icon": ":material/science:"}

ASSUMES = """
- **The criterion is not the reward.** It says how well the labels identify the directions the reference policy moves
  in. A design with a much lower criterion than uniform's can still buy less reward, above all on raw features with labels
  free to pile up on few prompts.
- **The reference stands in for the truth.** The design is made at the reference policy, because the optimum is unknown.
- **Linear in the features.** What the representation cannot express, no choice of pairs can teach. Labels of one prompt
  share that error, which is why no prompt gets many by default.
- **The ridge is a bet.** A heavy one takes the pairs that differ most: it pays where quality lies in the directions in
  which answers differ most, and is ruinous where style does. A light one teaches every direction that matters and bets on
  nothing.
- **Small batches.** Below a few hundred labels the asymptotic argument behind the criterion has not set in.
"""


@st.cache_resource(max_entries=8, show_spinner="Drawing repeated batches")
def _draws(key: tuple[object, ...], _solved: Solved) -> Draws:
    return repeated_draws(
        _solved.criterion, _solved.feasible, _solved.design.weights, _solved.design.certificate.lower_bound
    )


def finding() -> None:
    """Whether choosing pairs pays here, in a sentence."""
    opened, result = open_pool(), stored()
    words = evidence_sentence(result, draws, testable=bool(opened.known_quality or opened.known_labels))
    (st.success if result is not None and result.ahead else st.warning)(escaped(words), icon=":material/gavel:")


def luck_section() -> None:
    """Repeated draws of the design and of uniform sampling."""
    st.header("Is this batch the luck of its draw?")
    chart(draw_luck(draws), key="luck")
    st.caption(draws.sentence())


def assumptions() -> None:
    """What no result here can take away."""
    st.header("What the method assumes, and where it fails")
    st.markdown(ASSUMES)


# What a page opens with is a result: a part that has none yet, only the button that makes it, stands after those.
SECTIONS: list[tuple[Callable[[], bool], Callable[[], None]]] = [
    (lambda: stored() is not None, backtest_section),
    (lambda: bool(bought_results()), bought_section),
    (lambda: True, learnt_section),
    (lambda: True, luck_section),
    (synthetic_stored, synthetic_section),
    (policy_stored, policy_section),
]

header("Evidence", "Does choosing pairs pay, here, on this pool? What exists comes first; what does not is named.")
prepared_pool()
solved = solved_view()
draws = _draws((solved_key(solved), float(solved.design.weights.square().sum())), solved)
finding()
for _, section in sorted(SECTIONS, key=lambda each: not each[0]()):
    section()
assumptions()
