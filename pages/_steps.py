"""The list of pages in the sidebar, in the order of the work, with how far each step is; and the step that comes next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import streamlit as st

from curation.backtest.run import RESULT, place
from curation.batch.folder import MANIFEST, SIGNATURE, read_manifest
from curation.batch.records import solved_identity
from curation.dashboard.places import DEMO, LIST_ENDINGS, allowed_path, list_features
from curation.dashboard.steps import KeptBatch, Work, steps
from curation.errors import CurationError
from curation.review.signoff import read_signature
from curation.run.results import Solved
from pages._guard import acting
from pages._navigation import linked_pages
from pages._shared import (
    OpenPool,
    _solved_cache,
    address_query,
    constraints,
    current_view,
    digest_of,
    page_state,
    pool_in_view,
    set_page_state,
)
from pages._signin import entrance, who_line
from pages._store import review_store
from pages._widgets import escaped

NEXT = ":material/arrow_forward:"
NEWEST = 12
FIRST = "pool"  # the page that lives at the root of the address


@contextmanager
def beside_the_work(page: Any) -> Iterator[None]:
    """The list of pages while a page is drawn, and anew when it has been: it may have solved, decided or signed."""
    listed = st.sidebar.empty()
    before = st.session_state.get("work", Work())
    _draw(listed, before, "before")
    with st.sidebar:
        who_line(entrance())
    try:
        yield
    finally:
        after = st.session_state["work"] = known_work()
        if after != before:
            _draw(listed, after, "after")
        _go_on(page)


def known_work() -> Work:
    """How far the work of this session is, as far as that can be told without reading a pool or solving anything."""
    opened = pool_in_view()
    if opened is None:
        return Work()
    features, solved, present = None, None, ""
    kept: list[KeptBatch] = []
    try:
        features = _features(opened)
        solved = None if features is None else _solved(opened, features)
        if solved is not None:
            pinned, excluded = constraints(current_view(), opened.pool)
            present = _identity(solved, pinned, excluded)
        kept = [
            _kept(stored.batch_id, Path(stored.folder))
            for stored in _stored(opened, (present, page_state("batch") or ""))
        ]
    except CurationError:  # the page says it in its own words
        pass
    known = bool(opened.known_quality or opened.known_labels)
    return Work(
        prompts=len(opened.pool.prompts),
        rejects=len(opened.rejects),
        features=features is not None,
        labels=None if solved is None else int(solved.batch.copies.sum()),
        present=present,
        chosen=page_state("batch") or "",
        kept=tuple(kept),
        tested=(place(opened.pool) / RESULT).is_file() if known else None,
    )


def _features(opened: OpenPool) -> Path | None:
    wanted = current_view().features
    if wanted:
        return allowed_path(wanted, (".parquet",))
    found = list_features(opened.path, opened.pool.fingerprint)
    return found[0] if found else None


def _solved(opened: OpenPool, features: Path) -> Solved | None:
    """The design of the view, where it has been solved."""
    view = current_view()
    files = tuple(digest_of(allowed_path(name, LIST_ENDINGS)) if name else "" for name in (view.pins, view.exclude))
    prepared = opened.pool.fingerprint, digest_of(features), view.prepared_by()
    held, lock = _solved_cache()
    with lock:
        found = held.get((prepared, view.design_settings(len(opened.pool.prompts)), view.overlap, files))
    return None if found is None else found[0]


def _identity(solved: Solved, pinned: Any, excluded: Any) -> str:
    """The id of a design's batch, worked out once a session for the design in view."""
    key = (id(solved), tuple(pinned), tuple(excluded))
    held = st.session_state.get("present_batch")
    if held is None or held[0] != key:
        held = st.session_state["present_batch"] = (key, solved_identity(solved, pinned, excluded), solved)
    return str(held[1])


def _stored(opened: OpenPool, wanted: tuple[str, str]) -> list[Any]:
    """The newest batches of the pool, and those that are in view: each costs a question to the database."""
    every = [s for s in review_store().batches(opened.pool.fingerprint) if Path(s.folder).is_dir()]
    return [s for place, s in enumerate(every) if place < NEWEST or s.batch_id in wanted]


@st.cache_data(max_entries=256, show_spinner=False)
def _told(folder: str, manifest: float, signature: float) -> tuple[int | None, str]:
    try:
        pairs = int(read_manifest(folder)["pairs_selected"])
        signed = read_signature(folder)
    except CurationError:
        return None, ""
    return pairs, "" if signed is None else str(signed["signed_by"])


def _kept(batch_id: str, folder: Path) -> KeptBatch:
    from pages._batches import live_decisions

    times = [path.stat().st_mtime if path.is_file() else 0.0 for path in (folder / MANIFEST, folder / SIGNATURE)]
    pairs, signed_by = _told(str(folder), *times)
    decided = sum(made.decision != "clear" for made in live_decisions(batch_id).values())
    return KeptBatch(batch_id, pairs, decided, signed_by)


def _draw(listed: Any, work: Work, when: str) -> None:
    """What is open, the pages with their states, and what has moved on."""
    told, view = steps(work), current_view()
    with listed.container(gap="xxsmall"):
        name = "Demo pool" if view.pool == DEMO else Path(view.pool).name
        st.caption(f"**{escaped(name) if view.pool != DEMO else name}**")
        query = address_query()
        for page in linked_pages():
            step = told.get(page.url_path or FIRST)
            words = escaped(step.words) if step is not None and work != Work() else ""
            st.page_link(
                page, label=f"{page.title} :gray[:small[{words}]]" if words else page.title, query_params=query
            )
        moved = work.moved_on
        if moved is not None:
            st.caption(
                f"A batch signed by {escaped(moved.signed_by)} exists; your settings have moved on: what you see is another "
                "design."
            )
            st.button("Open the signed batch", key=f"open_signed_{when}", on_click=_open, args=(moved.batch_id,))


@acting
def _open(batch_id: str) -> None:
    set_page_state("batch", batch_id)
    set_page_state("pair", None)


def _go_on(page: Any) -> None:
    """The page that comes next in the order of the work, under every page but the last."""
    pages = linked_pages()
    here = [one.title for one in pages].index(page.title)
    if here + 1 < len(pages):
        then = pages[here + 1]
        st.page_link(then, label=f"Next: {then.title}", icon=NEXT, query_params=address_query())
