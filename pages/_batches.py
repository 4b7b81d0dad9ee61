"""Batches on the pages: the present design's, any other as read once, decisions as they stand.

Looking writes nothing: a design that nobody has decided on is shown from a folder of the server's own, gone when the
server ends, and becomes a batch of the workspace with the first act on it (`kept`).
"""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from curation.batch.folder import BatchFolder, batch_stamp, read_batch
from curation.batch.records import solved_identity
from curation.dashboard.places import LIST_ENDINGS, allowed_path
from curation.errors import BatchError
from curation.review.overview import BatchState, batch_states
from curation.review.queue import QueueTable
from curation.review.register import check_recorded, folder_of, preview_batch, record_batch, save_for_review
from curation.review.store.decisions import Decision
from curation.review.store.live import LiveDecisions
from curation.review.store.store import Store
from curation.run.results import Solved
from curation.settings import workspace
from pages._guidelines import chosen_guidelines
from pages._shared import constraints, current_view, digest_of, open_pool, reviewer, solver_of
from pages._store import guarded, review_store

PREVIEWS = 8  # designs that are looked at; one that was left is made anew when it is opened again


class Previews:
    """Batch folders of designs that nobody has decided on, below a folder that goes with the server."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="pairwright-", ignore_cleanup_errors=True)
        self.lock = threading.Lock()
        self.ids: OrderedDict[Any, tuple[Solved, str]] = OrderedDict()
        self.made: OrderedDict[Any, tuple[Solved, BatchFolder, Callable[[str], BatchFolder]]] = OrderedDict()

    def identity(self, solved: Solved, files: tuple[str, ...], constraints: Callable[[], Any]) -> str:
        """The id that a solved design has as a batch. files: digests of its pins and exclusions, which `constraints`
        reads where the id is not known yet."""
        key = (id(solved), files)
        with self.lock:
            if key in self.ids:
                return self.ids[key][1]
        found = solved_identity(solved, *constraints())
        with self.lock:
            self.ids[key] = (solved, found)  # kept alive, so that no other design gets its number
            while len(self.ids) > 2 * PREVIEWS:
                self.ids.popitem(last=False)
        return found

    def holds(self, path: Path) -> bool:
        """Whether a batch folder is one of these."""
        return path.is_relative_to(self.folder.name)


@st.cache_resource
def _previews() -> Previews:
    return Previews()


def present_batch(solved: Solved) -> BatchFolder | None:
    """The batch of a solved design: as the workspace keeps it, else to be looked at (`kept` makes it a batch).

    None for somebody who may only look at a design that is not kept.
    """

    def find() -> BatchFolder | None:
        view, opened, store = current_view(), open_pool(), review_store()
        files = tuple(digest_of(allowed_path(name, LIST_ENDINGS)) if name else "" for name in (view.pins, view.exclude))
        previews = _previews()
        folder = folder_of(previews.identity(solved, files, lambda: constraints(view, opened.pool)))
        if folder is not None:
            return batch_at(folder)[0]
        who, solver, told = reviewer(), solver_of(solved), chosen_guidelines()
        if not store.may(who, "reviewer"):
            return None
        key = (id(solved), id(store), str(workspace().absolute()), files, told)  # both are kept alive by the entry
        with previews.lock:
            if key in previews.made:
                previews.made.move_to_end(key)
                return previews.made[key][1]
        pinned, excluded = constraints(view, opened.pool)
        author = solver if solver is not None and store.may(solver, "reviewer") else who
        batch = preview_batch(
            solved, Path(previews.folder.name), pinned=pinned, excluded=excluded, author=author, guidelines=told
        )

        def keep(by: str) -> BatchFolder:
            return save_for_review(
                solved, pinned=pinned, excluded=excluded, store=store, who=by, author=author, guidelines=told
            )

        with previews.lock:
            previews.made[key] = (solved, batch, keep)
            while len(previews.made) > PREVIEWS:
                previews.made.popitem(last=False)
        return batch

    return guarded(find)


def only_looked_at(batch: BatchFolder) -> bool:
    """Whether a batch is shown without being kept: nobody has decided on it yet."""
    return _previews().holds(batch.path)


def kept(batch: BatchFolder) -> BatchFolder:
    """The batch as the workspace keeps it, written and recorded if this is the first act on it.

    Raises BatchError for one that was left long ago, StoreError for who may not decide.
    """
    if not only_looked_at(batch):
        if review_store().binding(batch.batch_id) is None:  # of another database, or of a run that was cut off
            record_batch(review_store(), batch, who=reviewer())
        return batch
    previews = _previews()
    with previews.lock:
        keep = next((keep for _, made, keep in previews.made.values() if made.path == batch.path), None)
    if keep is None:
        raise BatchError(f"batch {batch.batch_id} was not kept, and other designs were opened since; open it again.")
    return keep(reviewer())


def kept_states() -> list[BatchState]:
    """The batches of this pool, the newest first, with how far they are."""
    return guarded(lambda: batch_states(review_store(), open_pool().pool.fingerprint))


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
