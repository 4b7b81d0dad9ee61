"""What several pages share: the session's view, cached resources, guards that turn errors into words."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from curation.dashboard.places import (
    FEATURES_ENDINGS,
    LIST_ENDINGS,
    allowed_path,
    file_digest,
    list_features,
    pool_path,
)
from curation.dashboard.view import View, read_query
from curation.pool.pair_lists import LocalPair, read_pair_list
from curation.pool.reading import as_first_read
from curation.pool.schema import Pool, Reject
from curation.run.prepare import load_pool, prepare
from curation.run.results import Prepared, Solved
from curation.run.solve import solve
from pages._background import background
from pages._navigation import navigation
from pages._signin import who_is_here
from pages._store import guarded

T = TypeVar("T")
PreparedKey = tuple[str, str, tuple[tuple[str, Any], ...]]
PAGE_KEYS = ("batch", "pair", "direction", "scenario", "picked")  # URL keys of single pages, kept beside the view's


@dataclass(frozen=True)
class OpenPool:
    """A pool as pages may see it: known outcomes are counted, never carried."""

    pool: Pool
    rejects: tuple[Reject, ...]
    format: str
    rows: int
    rows_used: int
    notes: tuple[str, ...]
    known_quality: int
    known_labels: int
    path: Path


def header(title: str, question: str) -> None:
    """Title and question of a page. Every page calls this first.

    A fresh server that is first asked for a page by its own address runs that page's script alone, without app.py
    (Streamlit's older handling of a `pages/` folder, in force until `st.navigation` has been called once). Declaring
    the navigation and running again brings app.py back, with page and query kept.
    """
    if "view" not in st.session_state:
        navigation()
        st.rerun()
    st.title(title, anchor=False)
    st.caption(question)
    for words in st.session_state.pop("refused", ()):
        st.warning(words, icon=":material/link_off:")


def open_state() -> None:
    """Take the view from the URL on the first run of a session; afterwards the session is the truth."""
    if "view" not in st.session_state:
        st.session_state["view"], st.session_state["refused"] = read_query(st.query_params.to_dict())
        for key in PAGE_KEYS:
            if key in st.query_params:
                st.session_state[f"page_{key}"] = st.query_params[key]
    write_url()


def write_url() -> None:
    """Mirror the session's view in the address, so that it can be shared and survives a reload."""
    wanted = address_query()
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def address_query() -> dict[str, str]:
    """What the address of any page of this session carries: links that have it at once leave one step in the history."""
    wanted = current_view().to_query()
    for key in PAGE_KEYS:
        value = st.session_state.get(f"page_{key}")
        if value:
            wanted[key] = str(value)
    return wanted


def current_view() -> View:
    """The view of this session."""
    view: View = st.session_state["view"]
    return view


def change_view(**changes: Any) -> None:
    """Change the session's view (and the URL at the next run)."""
    st.session_state["view"] = replace(current_view(), **changes)
    write_url()


def open_view(view: View, *, again: bool = True) -> None:
    """Start over with another view, and run the page again, which a callback need not ask for."""
    st.session_state["view"] = view
    for key in PAGE_KEYS:
        st.session_state.pop(f"page_{key}", None)
    write_url()
    if again:
        st.rerun()


def set_page_state(key: str, value: str | None) -> None:
    """Remember a single page's state (one of PAGE_KEYS) in session and URL."""
    st.session_state[f"page_{key}"] = value
    write_url()


def page_state(key: str) -> str | None:
    """A single page's state, or None."""
    return st.session_state.get(f"page_{key}")


@st.cache_data(max_entries=64, show_spinner=False)
def _digest(path: str, modified: int, size: int) -> str:
    return file_digest(Path(path))


def digest_of(path: Path) -> str:
    """Content digest of a file, recomputed when its time or size changes."""
    status = path.stat()
    return _digest(str(path), status.st_mtime_ns, status.st_size)


@st.cache_resource(max_entries=4, show_spinner="Reading the pool")
def _open_pool(path: str, digest: str) -> OpenPool:
    file = as_first_read(load_pool(path), path)
    return OpenPool(
        pool=file.pool,
        rejects=file.rejects,
        format=file.format,
        rows=file.rows,
        rows_used=file.rows_used,
        notes=file.notes,
        known_quality=len(file.truth.quality),
        known_labels=len(file.truth.labels),
        path=Path(path),
    )


def open_pool() -> OpenPool:
    """The session's pool. Ends the page with words where it cannot be read."""

    def read() -> OpenPool:
        st.session_state.pop("pool_in_view", None)
        path = pool_path(current_view().pool)
        opened = _open_pool(str(path), digest_of(path))
        st.session_state["pool_in_view"] = (current_view().pool, opened)
        return opened

    return guarded(read)


def pool_in_view() -> OpenPool | None:
    """The session's pool as a page has opened it; None where none has, or it could not be read."""
    name, opened = st.session_state.get("pool_in_view", ("", None))
    return opened if name == current_view().pool else None


def features_path() -> Path | None:
    """The features file in use: the one chosen, else the first that belongs to the pool, else None."""
    view = current_view()
    if view.features:
        return guarded(lambda: allowed_path(view.features, FEATURES_ENDINGS))
    opened = open_pool()
    found = list_features(opened.path, opened.pool.fingerprint)
    return found[0] if found else None


@st.cache_resource(max_entries=4, show_spinner="Fitting the space")
def _prepare(key: PreparedKey, _pool: Pool, _path: str, _view: View) -> Prepared:
    return prepare(_pool, _path, space=_view.space_settings(), **_view.preparing())


def prepared_key() -> PreparedKey:
    """What the prepared pool depends on: the pool, the features, and the settings of both by name."""
    opened, path = open_pool(), features_path()
    return opened.pool.fingerprint, digest_of(path) if path else "", current_view().prepared_by()


def prepared_pool() -> Prepared:
    """The pool in the design's space. Ends the page with a next step where there are no features yet."""
    path = features_path()
    if path is None:
        st.info(
            "This pool has no features yet: they say how the reference model sees each response.",
            icon=":material/grain:",
        )
        st.page_link("pages/features.py", label="Make or attach features", icon=":material/arrow_forward:")
        st.stop()
    opened = open_pool()
    return guarded(lambda: _prepare(prepared_key(), opened.pool, str(path), current_view()))


@st.cache_resource
def _solved_cache() -> tuple[OrderedDict[Any, tuple[Solved, str]], threading.Lock]:
    return OrderedDict(), threading.Lock()


def constraints(view: View, pool: Pool) -> tuple[list[LocalPair], list[LocalPair]]:
    """Pins and exclusions of a view, read from the workspace."""
    pinned = read_pair_list(allowed_path(view.pins, LIST_ENDINGS), pool) if view.pins else []
    excluded = read_pair_list(allowed_path(view.exclude, LIST_ENDINGS), pool) if view.exclude else []
    return pinned, excluded


Solving = Callable[[Callable[[Any], None] | None], Solved]


def solving(wanted: View) -> tuple[Any, Solving]:
    """What the design of a view is kept under, and the call that solves and keeps it: one that a thread may make."""
    prepared, opened, who = prepared_pool(), open_pool(), reviewer()
    settings = wanted.design_settings(len(opened.pool.prompts))
    files = tuple(digest_of(allowed_path(name, LIST_ENDINGS)) if name else "" for name in (wanted.pins, wanted.exclude))
    key = (prepared_key(), settings, wanted.overlap, files)
    kept, lock = _solved_cache()

    def run(progress: Callable[[Any], None] | None) -> Solved:
        with lock:
            if key in kept:
                kept.move_to_end(key)
                return kept[key][0]
        pinned, excluded = constraints(wanted, opened.pool)
        solved = solve(
            prepared, settings, overlap=wanted.overlap, pinned=pinned, excluded=excluded, with_baselines="later",
            progress=progress,
        )  # fmt: skip
        with lock:
            kept[key] = (solved, who)
            while len(kept) > 24:
                kept.popitem(last=False)
        return solved

    return key, run


def solved_view(view: View | None = None, *, progress: Callable[[Any], None] | None = None) -> Solved:
    """The design of a view (default: the session's), solved once and kept. Ends the page with words on failure."""
    wanted = view or current_view()
    with background().held():
        return guarded(lambda: solving(wanted)[1](progress))


def solver_of(solved: Solved) -> str | None:
    """Who solved a design of `solved_view`; None where it is no longer kept."""
    kept, lock = _solved_cache()
    with lock:
        return next((who for known, who in kept.values() if known is solved), None)


def solved_key(solved: Solved) -> str:
    """A text that changes with anything that changes the design, its batch or its features."""
    from curation.batch.records import solved_identity

    view, pool = current_view(), solved.prepared.pool
    pinned, excluded = guarded(lambda: constraints(view, pool))
    return f"{solved_identity(solved, pinned, excluded)}-{solved.prepared.table.fingerprint}"


def reviewer() -> str:
    """Who decides: the person signed in, or the operating system's user in local single-user mode.

    Raises SignInError, a CurationError, where nobody may act.
    """
    return who_is_here()
