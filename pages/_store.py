"""The review store as pages use it, and the guard that turns errors into words."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from curation.dashboard.wording import on_a_page
from curation.errors import CurationError
from curation.settings import workspace

if TYPE_CHECKING:
    from curation.review.store.store import Store

T = TypeVar("T")


def stop_with(error: Exception) -> None:
    """Show an error's own words and end the page."""
    st.error(on_a_page(str(error)), icon=":material/error:")
    st.stop()


def guarded(call: Callable[[], T]) -> T:
    """The call's result; a CurationError is shown in its own words and ends the page."""
    try:
        return call()
    except CurationError as error:
        stop_with(error)
        raise


@st.cache_resource(show_spinner=False)
def _store_for(url: str) -> Store:
    from curation.review.store.store import open_store

    return open_store()


def review_store() -> Store:
    """The review store of this workspace."""
    return guarded(lambda: _store_for(os.environ.get("DATABASE_URL", str(workspace().absolute()))))
