"""What your labels say: on the Design page with the button that goes on from them, on the Evidence page with its figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from curation.batch.folder import BatchFolder
from curation.charts.learnt import evidence_by_power, share_by_direction
from curation.pool.labels import in_force
from curation.pool.schema import Pool
from curation.review.again import (
    Labelled,
    Lesson,
    design_again,
    design_meanwhile,
    labelled_batches,
    lesson,
    pilot_labels,
    plan_pilot,
)
from curation.settings import DesignSettings
from pages._shared import constraints, current_view, open_pool, prepared_pool, reviewer, set_page_state
from pages._store import guarded, review_store
from pages._widgets import chart, escaped


@st.cache_resource(max_entries=4, show_spinner="Reading what your labels say")
def _lesson(key: tuple[Any, ...], _labelled: Labelled, _pool: Pool, _table: Any, _settings: Any, _store: Any) -> Lesson:
    return lesson(_labelled, _pool, _table, _settings, store=_store)


def _told() -> tuple[Labelled, Lesson] | None:
    """The labelled batches of this pool and what they say; None where there are none."""
    prepared, opened, store = prepared_pool(), open_pool(), review_store()
    settings = _settings()
    labelled = guarded(lambda: labelled_batches(store, opened.pool, prepared.table.fingerprint))
    if labelled is None:
        return None
    key = (opened.pool.fingerprint, prepared.table.fingerprint, labelled.stamp, settings)
    return labelled, guarded(lambda: _lesson(key, labelled, opened.pool, prepared.table, settings, store))


def _settings() -> DesignSettings:
    return current_view().design_settings(len(open_pool().pool.prompts))


def _say(labelled: Labelled, told: Lesson) -> None:
    """The sentences, and which batches they rest on."""
    lines = [*told.learnt.sentences(), *told.next.words]
    st.info("\n\n".join(escaped(line) for line in lines), icon=":material/school:")
    others = f" {labelled.left_out} labelled batches of another space are left out." if labelled.left_out else ""
    count = "1 batch" if len(labelled.folders) == 1 else f"{len(labelled.folders)} batches"
    st.caption(f"From {told.learnt.labels:,} labels of {count} of this pool.{others}")


def panel() -> None:
    """Design page: what labels say and the design that goes on from them, or a pilot where there are none."""
    st.header("What your labels say")
    found = _told()
    if found is None:
        _pilot()
        return
    labelled, told = found
    _say(labelled, told)
    settings = _settings()
    amount, button = st.columns([1, 2], vertical_alignment="bottom")
    budget = amount.number_input(
        "Budget of the next batch", 1, 10_000_000, max(1, int(labelled.unspent or settings.budget)), key="again_budget",
        help="What is left of the pilot's whole budget, where there was a pilot.",
    )  # fmt: skip
    if button.button("Design again from these labels", icon=":material/replay:", key="again"):
        with st.spinner("Solving the design that goes on from your labels"):
            _open(guarded(lambda: _again(told, int(budget))))
    st.caption("Labelled pairs are not bought again; everything else on this page (spread, caps, pins) holds.")


def _again(told: Lesson, budget: int) -> BatchFolder:
    view = current_view()
    pinned, excluded = constraints(view, open_pool().pool)
    return design_again(
        told, replace(_settings(), budget=budget), overlap=view.overlap, pinned=pinned, excluded=excluded,
        store=review_store(), who=reviewer(),
    )  # fmt: skip


def next_batch(batch: BatchFolder, *, signed: bool) -> None:
    """Sign-off page: the batch after this one, from its labels, or while they are still out."""
    st.header("The next batch")
    store, settings = review_store(), _settings()
    answers = guarded(lambda: [a for a in in_force(store.labels(batch.batch_id)) if a.outcome != "skip"])
    approved = sum(made.decision == "approve" for made in guarded(lambda: store.decisions(batch.batch_id)).values())
    if not answers and not signed:
        st.caption("The next batch goes on from this one once it is signed, or once labels have come back.")
        return
    if answers:
        st.caption(
            f"{len(answers):,} labels of this batch are back. The next one buys no labelled pair again, and goes by what "
            "the labels of this pool say."
        )
    else:
        st.caption(
            f"No label of this batch is back yet. The next one buys none of its {approved:,} approved pairs again and "
            "takes for taught what they will teach; once labels are back it can go by what they say, which is better."
        )
    amount, button = st.columns([1, 3], vertical_alignment="bottom")
    budget = amount.number_input(
        "Its budget", 1, 10_000_000, max(1, int(settings.budget)), key="next_budget",
        help="Labels, or units of the cost. Ridge, spread and limits are those of the Design page.",
    )  # fmt: skip
    if button.button("Design the next batch", key="next_batch", icon=":material/skip_next:"):
        with st.spinner("Solving the next batch"):
            _open(guarded(lambda: _next(batch, int(budget), bool(answers))))


def _next(batch: BatchFolder, budget: int, labelled: bool) -> BatchFolder:
    found = _told() if labelled else None
    if found is not None:
        return _again(found[1], budget)
    view, pool = current_view(), open_pool().pool
    pinned, excluded = constraints(view, pool)
    return design_meanwhile(
        batch, pool, prepared_pool().table, replace(_settings(), budget=budget), overlap=view.overlap, pinned=pinned,
        excluded=excluded, store=review_store(), who=reviewer(),
    )  # fmt: skip


def _pilot() -> None:
    settings = _settings()
    st.caption(
        "No batch of this pool has labels yet. Labels tell what no design can know: whether quality lies where responses "
        "differ most or in small directions, and whether longer wins. A pilot buys a part of the budget to find out; the "
        "rest is then designed by what it says."
    )
    if settings.budget < 2:
        return
    amount, button = st.columns([1, 2], vertical_alignment="bottom")
    labels = amount.number_input(
        f"Pilot, of {settings.budget:g}", 1, max(1, int(settings.budget) - 1), pilot_labels(settings.budget),
        key=f"pilot_{settings.budget:g}",
    )  # fmt: skip
    if button.button("Plan a pilot", icon=":material/flag:", key="pilot"):
        with st.spinner("Solving the pilot"):
            _open(guarded(lambda: _plan(int(labels))))


def _plan(labels: int) -> BatchFolder:
    view = current_view()
    pinned, excluded = constraints(view, open_pool().pool)
    return plan_pilot(
        prepared_pool(), _settings(), labels, overlap=view.overlap, pinned=pinned, excluded=excluded,
        store=review_store(), who=reviewer(),
    )  # fmt: skip


def _open(batch: BatchFolder) -> None:
    set_page_state("batch", batch.batch_id)
    set_page_state("pair", None)
    st.switch_page("pages/review.py")


def section() -> None:
    """Evidence page: the sentences with the figures behind them; nothing where there are no labels."""
    found = _told()
    if found is None:
        return
    labelled, told = found
    st.header("What your labels say")
    _say(labelled, told)
    left, right = st.columns(2)
    with left:
        chart(evidence_by_power(told.learnt), key="learnt_power")
        st.caption(
            "How well each guess about where quality lies predicts your labels, against the guess that it lies as "
            f"responses differ. From {told.learnt.decisive_at:g} on (20 to 1) it is believed."
        )
    with right:
        chart(share_by_direction(told.learnt), key="learnt_shares")
        st.caption("Above the dashed line: the directions in which responses differ most carry more than their share.")
