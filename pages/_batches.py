"""Batches on the pages: the present design's, any other as read once, decisions as they stand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import streamlit as st

from curation.batch.folder import BatchFolder, batch_stamp, read_batch
from curation.dashboard.places import LIST_ENDINGS, allowed_path
from curation.review.queue import QueueTable
from curation.review.register import check_recorded
from curation.review.store.decisions import Decision
from curation.review.store.live import LiveDecisions
from curation.review.store.store import Store
from curation.run.results import Solved
from curation.settings import workspace
from pages._guidelines import chosen_guidelines
from pages._shared import constraints, current_view, digest_of, open_pool, reviewer, solver_of
from pages._store import guarded, review_store


@st.cache_resource
def _saved_cache() -> tuple[OrderedDict[Any, tuple[Solved, BatchFolder, str]], threading.Lock]:
    return OrderedDict(), threading.Lock()


def saved_batch(solved: Solved) -> BatchFolder | None:
    """The batch folder of a solved design in the workspace, written and registered if it is new.

    For somebody who may only look nothing is written: None where it is not kept already.
    """
    from curation.review.register import save_for_review, saved_before

    def save() -> BatchFolder | None:
        view, opened, store = current_view(), open_pool(), review_store()
        files = tuple(digest_of(allowed_path(name, LIST_ENDINGS)) if name else "" for name in (view.pins, view.exclude))
        told = chosen_guidelines()
        key = (id(solved), id(store), str(workspace().absolute()), files, told)  # both are kept alive by the entry
        kept, lock = _saved_cache()
        with lock:
            known = kept.get(key)
        if known is not None and batch_stamp(known[1].path) == known[2]:
            return known[1]
        pinned, excluded = constraints(view, opened.pool)
        who, solver = reviewer(), solver_of(solved)
        if not store.may(who, "reviewer"):
            folder = saved_before(solved, pinned=pinned, excluded=excluded)
            return None if folder is None else batch_at(folder)[0]
        author = solver if solver is not None and store.may(solver, "reviewer") else who
        batch = save_for_review(
            solved, pinned=pinned, excluded=excluded, store=store, who=who, author=author, guidelines=told
        )
        with lock:
            kept[key] = (solved, batch, batch_stamp(batch.path))
            while len(kept) > 4:
                kept.popitem(last=False)
        return batch

    return guarded(save)


@st.cache_resource(max_entries=4, show_spinner=False)
def _batch_of(path: str, stamp: str, _store: Store, place: str) -> tuple[BatchFolder, QueueTable]:
    batch = read_batch(path)
    check_recorded(_store, batch)  # what is decided on is what was recorded
    return batch, QueueTable(batch.records, seed=batch.batch_id)


def batch_at(folder: Path) -> tuple[BatchFolder, QueueTable]:
    """A batch folder and its queue, read once until its files change. Not to be changed by the caller."""
    store = review_store()
    return guarded(lambda: _batch_of(str(folder), batch_stamp(folder), store, f"{store.place}-{id(store)}"))


@st.cache_resource(max_entries=16, show_spinner=False)
def _live(_store: Store, place: str, batch_id: str) -> LiveDecisions:
    return LiveDecisions(_store, batch_id)


def live_decisions(batch_id: str) -> dict[str, Decision]:
    """The decisions of a batch as they stand in the store."""
    store = review_store()
    return guarded(lambda: _live(store, f"{store.place}-{id(store)}", batch_id).now())
