"""What do we learn? Sigma_D's eigen-coverage against Fisher directions."""

import numpy as np
import streamlit as st

from curation.batch.records import pair_labels
from curation.charts.coverage import criterion_share, direction_coverage, overlap, spectrum
from curation.insight.coverage import Coverage, coverage, direction_pairs, serving
from curation.insight.explain import UNDIVIDED
from curation.run.results import Solved
from pages._picked import review_these
from pages._shared import header, open_pool, page_state, set_page_state, solved_key, solved_view
from pages._store import guarded
from pages._widgets import chart, escaped, show_pair

PAGE = {"section": "Design", "rank": 2, "title": "Coverage", "icon": ":material/radar:"}


@st.cache_resource(max_entries=12, show_spinner="Measuring coverage")
def _coverage(key: str, _solved: Solved) -> Coverage:
    design_information = _solved.prepared.geometry.information(_solved.design.weights)
    return coverage(_solved.criterion, _solved.feasible, design_information, _solved.batch_information)


def chosen_direction(count: int) -> int:
    """The direction in the URL, else the first."""
    text = page_state("direction") or "1"
    return min(max(int(text), 1), count) - 1 if text.isdecimal() and len(text) < 10 else 0


def speaks_for(solved: Solved, k: int) -> None:
    """The pairs that speak loudest for a direction, as text: the batch's first."""
    found = direction_pairs(solved.criterion, solved.prepared.geometry, solved.batch_information, k, top=3)
    values = dict(zip(found.positive.tolist(), found.positive_values.tolist(), strict=True))
    values |= {n: -v for n, v in zip(found.negative.tolist(), np.abs(found.negative_values).tolist(), strict=True)}
    inside = served_by(solved, k)[:2]
    for number, share in inside:
        show_pair(solved, number, caption=f"in this batch, {share:.0%} of what it is chosen for")
    others = [n for n in sorted(values, key=lambda n: -abs(values[n])) if n not in {number for number, _ in inside}]
    in_batch = set(solved.batch.pairs.tolist())
    for number in others[: 4 - len(inside)]:
        mark = "in this batch" if number in in_batch else "not in this batch"
        show_pair(solved, number, swap=values[number] < 0, caption=f"strength {abs(values[number]):.3g}, {mark}")


def served_by(solved: Solved, k: int) -> list[tuple[int, float]]:
    """The batch's pairs that are chosen for a direction, and which share of it that is, the largest first."""
    told = solved.explanations
    rows = serving(told, k)
    shares = np.where(told.directions[rows] == k, told.shares[rows], 0.0).sum(axis=1)
    return list(zip(told.pairs[rows].tolist(), shares.tolist(), strict=True))


def to_review(solved: Solved, k: int) -> None:
    """From the direction to the queue."""
    pairs = [number for number, _ in served_by(solved, k)]
    if not pairs:
        st.caption(f"No pair of this batch names direction {k + 1} among the three it is most chosen for.")
        return
    ids = [row[3] for row in pair_labels(solved.prepared.pool, solved, np.array(pairs))]
    count = "1 pair" if len(ids) == 1 else f"{len(ids):,} pairs"
    review_these(
        ids, f"that serve direction {k + 1}", key="direction_review",
        label=f"Review the {count} of this batch that {'serves' if len(ids) == 1 else 'serve'} direction {k + 1}",
    )  # fmt: skip


header(
    "Coverage",
    "What do we learn? Which directions the reference policy moves in, and how much the labels say about each.",
)
solved = solved_view()
measured = guarded(lambda: _coverage(solved_key(solved), solved))
k = chosen_direction(len(measured.mu))
(st.warning if len(measured.less) else st.success)(
    escaped(measured.finding()), icon=":material/trending_down:" if len(measured.less) else ":material/check_circle:"
)
event = chart(direction_coverage(measured, chosen=k), key="direction_chart", on_select="rerun", selection_mode="points")
points = event["selection"]["points"] if event else []
if points and int(points[0]["x"]) - 1 != k:
    set_page_state("direction", str(int(points[0]["x"])))
    st.rerun()
st.caption(
    "Each point is one eigenvector u of the Fisher matrix, sorted by how much it matters. Above grey: the batch says more "
    "about it than uniform labels would; below it, less (orange triangles); the green line is the most that any feasible "
    "design could say of that direction alone. Click a point to choose its direction."
)
pick_column, review_column = st.columns([1, 3], vertical_alignment="bottom")
pick = pick_column.number_input("Fisher direction", 1, len(measured.mu), k + 1, key=f"direction_{k}")
if int(pick) - 1 != k:
    set_page_state("direction", str(int(pick)))
    st.rerun()
with review_column:
    to_review(solved, k)
if measured.out_of_reach():
    st.caption(escaped(measured.out_of_reach()))
left, right = st.columns(2)
with left:
    st.header("What is still open")
    if measured.batch_share is None:
        st.caption(UNDIVIDED)
    else:
        chart(criterion_share(measured), key="share_chart")
        st.caption(measured.sums())
with right:
    st.header("Spectra")
    chart(spectrum(measured), key="spectrum_chart")
    st.caption(
        "A flatter spectrum spreads labels over more directions; n labels teach at most n of them, the rest stands at the floor of the axis."
    )
st.header("Do taught and wanted directions agree?")
matrix, words = st.columns([1.5, 1])
with matrix:
    chart(overlap(measured), key="overlap_chart")
with words:
    diagonal = float(np.mean(np.diag(measured.overlap)))
    st.markdown(
        f"Rows are the directions the batch teaches best, columns the Fisher directions. A dark diagonal means the labels "
        f"teach what matters in the order in which it matters. Mean squared overlap on the diagonal: **{diagonal:.2f}**; "
        f"directions picked blindly would give {1 / len(measured.mu):.2f}."
    )
st.header("What a direction means")
st.caption(
    f"The pairs of {open_pool().pool.name} that speak loudest for direction {k + 1}, those of this batch first; of the others, "
    "what stands on the left of each is on the same side of the direction."
)
speaks_for(solved, k)
