"""Does it work here? Only what exists is shown; what was not tested is said to be untested."""

import streamlit as st

from curation.charts.evidence import draw_luck
from curation.insight.luck import Draws, repeated_draws
from curation.run.results import Solved
from pages._backtest import section as backtest_section
from pages._bought import section as bought_section
from pages._learnt import section as learnt_section
from pages._policy import section as policy_section
from pages._shared import header, open_pool, prepared_pool, solved_view
from pages._synthetic import section as synthetic_section
from pages._widgets import chart

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


header("Evidence", "Does choosing pairs pay, here, on this pool? What exists is below; what does not is named.")
prepared_pool()
bought_section()
solved, opened = solved_view(), open_pool()
st.subheader("Is this batch the luck of its draw?")
identity = (opened.pool.fingerprint, solved.prepared.space.fingerprint, solved.settings, solved.overlap)
draws = _draws((*identity, float(solved.design.weights.square().sum())), solved)
chart(draw_luck(draws), key="luck")
st.caption(draws.sentence())
learnt_section()
backtest_section()
synthetic_section()
policy_section()
st.subheader("What the method assumes, and where it fails")
st.markdown(ASSUMES)
