"""One guard for all pages: whatever the library raises becomes a sentence, and the page stays usable.

Streamlit's own control exceptions (stop, rerun) are no `Exception` and pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

import streamlit as st

from curation.system.bug_log import sentence

P = ParamSpec("P")


@contextmanager
def told(doing: str) -> Iterator[None]:
    """The boundary: what comes through is logged, unless it was foreseen, and shown in its sentence."""
    try:
        yield
    except Exception as error:
        st.error(sentence(error, doing=doing), icon=":material/error:")


def acting(call: Callable[P, None]) -> Callable[P, None]:
    """A callback, or the body of a fragment, behind the guard: both run outside the page's script."""

    @functools.wraps(call)
    def run(*given: P.args, **named: P.kwargs) -> None:
        with told(call.__name__):
            call(*given, **named)

    return run
