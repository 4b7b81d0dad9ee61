"""What stands beside a design and takes longer than the design: simple rules, the budget frontier, the next designs.

All of it is done by the one thread beside the pages, after the design is on screen; a part of the page looks after it
every other second and shows what is known so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import streamlit as st

from curation.charts.design import against_rules, frontier
from curation.dashboard.background import Work
from curation.dashboard.view import View
from curation.design.rules.base import RULES
from curation.design.rules.compare import Beside
from curation.errors import CurationError
from curation.run.headline import Headline, headline
from curation.run.report import frontier_budgets, frontier_points
from curation.run.results import Solved
from pages._background import background
from pages._guard import acting
from pages._shared import constraints, current_view, open_pool, solving
from pages._store import guarded
from pages._widgets import chart

Rows = list[tuple[float, float, float]]
AT_ONCE = 0.25  # seconds: a design that is solved in less need not be solved ahead


@st.cache_resource(max_entries=24, show_spinner=False)
def _headline(number: int, _solved: Solved) -> tuple[Solved, Headline]:
    return _solved, headline(_solved)  # the design stays with its figures, so that its number is nobody else's


def headline_of(solved: Solved) -> Headline:
    """The figures of a design, reckoned once."""
    return guarded(lambda: _headline(id(solved), solved))[1]


def beside(solved: Solved, near: list[View]) -> None:
    """Rules and frontier, now as far as they are known and later whole. near: views that may be asked for next."""
    works = _wishes(solved, near)
    if all(work.done for work in works):
        _draw(solved, works)
    else:
        _watch(solved, near)


@st.fragment(run_every="2s")
@acting
def _watch(solved: Solved, near: list[View]) -> None:
    works = _wishes(solved, near)
    if all(work.done for work in works):
        st.rerun()
    _draw(solved, works)


def _wishes(solved: Solved, near: list[View]) -> tuple[Work, Work]:
    """The works for rules and frontier. The last wish comes first: the next design, rules, more designs, frontier."""
    thread, number = background(), id(solved)
    view, pool, prepared = current_view(), open_pool().pool, solved.prepared

    def points() -> Iterator[object]:
        pinned, excluded = constraints(view, pool)
        return frontier_points(
            prepared, solved.settings, frontier_budgets(prepared, solved.settings), overlap=view.overlap,
            pinned=pinned, excluded=excluded, present_design=solved.design, progress=lambda step: thread.wait(),
        )  # fmt: skip

    def reckoned() -> Iterator[object]:
        for name in solved.baselines:
            yield solved.baselines[name]

    if solved.seconds["solve"] < AT_ONCE:
        near = []
    drawn = thread.wish(("frontier", number), points, doing="drawing the budget frontier")
    _ahead(number, near[1:])
    ruled = thread.wish(("rules", number), reckoned, doing="reckoning the simple rules")
    _ahead(number, near[:1])
    return ruled, drawn


def _ahead(number: int, near: list[View]) -> None:
    """Solve what may be asked for next while somebody looks at this design: it is there at once then."""
    thread, calls = background(), []
    for view in near:
        with suppress(CurationError):  # no design there, such as past the pool
            calls.append(solving(view)[1])

    def pausing(step: Any) -> None:
        thread.wait()

    def solved_each() -> Iterator[object]:
        for call in calls:
            with suppress(CurationError):
                call(pausing)
            yield call

    if calls:
        thread.wish(("near", number, near[0]), solved_each, doing="looking ahead")


def _draw(solved: Solved, works: tuple[Work, Work]) -> None:
    ruled, drawn = works
    rules = solved.baselines
    found = rules.found if isinstance(rules, Beside) else dict(rules)
    waited = [RULES[name].short for name in rules if name not in found]
    bound = solved.design.certificate.lower_bound
    left, right = st.columns([1.15, 1])
    with left:
        st.header("Design against simple rules")
        chart(against_rules(solved.realised, bound, list(found.values())), key="rules")
        skipped = [f"{RULES[name].title}: {rule.note}." for name, rule in found.items() if rule.realised is None]
        st.caption(
            "Smaller is better. Each rule drew a batch of the same budget; random rules show the mean of several draws. "
            "The bound is of designs that may give a pair a fraction of a label: a batch of whole labels can lie a "
            "little left of it where prompts are held to fractions. " + " ".join(skipped)
        )
        if ruled.error:
            st.warning(ruled.error, icon=":material/error:")
        elif waited:
            st.caption(f":material/hourglass_top: Still to come: {', '.join(waited)}.")
    with right:
        st.header("Budget frontier")
        rows: Rows = list(drawn.found)
        unit = solved.settings.cost or "labels"
        if rows:
            chart(frontier(rows, solved.settings.budget, unit=unit), key="frontier_chart")
        st.caption(
            "How much would more labels, or fewer, change? Smaller is better. Each point is a design of its own under "
            "the settings above; the prior is held at that of the present budget, so points compare."
        )
        if drawn.error:
            st.warning(drawn.error, icon=":material/error:")
        elif not drawn.done:
            wanted = len(frontier_budgets(solved.prepared, solved.settings))
            st.caption(f":material/hourglass_top: {len(rows)} of {wanted} budgets solved.")
