"""Controls of declared settings: each drawn where a page wants it, and those that a page does not place under the rest."""

from __future__ import annotations

from typing import Any

import streamlit as st

from curation.dashboard.view import IN_VIEW, View
from curation.declared import Setting
from curation.errors import DesignError
from pages._shared import change_view


class Controls:
    """What a page's controls change of a view, by the keys of `View`."""

    def __init__(self, view: View, page: str) -> None:
        self.view = view
        self.page = page
        self.changed: dict[str, Any] = {}
        self._placed: set[str] = set()

    def draw(self, key: str, place: Any = st) -> Any:
        """The control of a setting as it is declared; returns what it holds."""
        each, present = IN_VIEW[key], getattr(self.view, key)
        value = _held(each, place, present)
        if each.held is not None:
            try:
                each.held(value)
            except DesignError as error:
                st.error(str(error), icon=":material/error:")
                value = present
        self.put(**{key: value})
        return value

    def put(self, **values: Any) -> None:
        """What a control drawn by hand holds: of settings, and of what else a view has."""
        self.changed |= values
        self._placed |= set(values)

    def leave(self, *keys: str) -> None:
        """These settings have their place on the page, and nothing to say there now."""
        self._placed |= set(keys)

    def rest(self) -> None:
        """The settings of this page that no control has been drawn for, folded away."""
        left = [key for key, each in IN_VIEW.items() if each.page == self.page and key not in self._placed]
        if left:
            with st.expander("More settings"):
                for key in left:
                    self.draw(key)

    def take(self) -> None:
        """Change the session's view, and run the page again, where a control holds something else."""
        if any(getattr(self.view, name) != value for name, value in self.changed.items()):
            change_view(**self.changed)
            st.rerun()


def _held(each: Setting, place: Any, present: Any) -> Any:
    """What the control of a setting holds: a choice, a switch, a number or a text."""
    told = (each.help if each.told is None else each.told) or None
    if names := each.names():
        return place.selectbox(each.label, names, names.index(present), help=told)
    if isinstance(present, bool):
        return place.checkbox(each.label, present, help=told)
    if isinstance(present, str):
        return place.text_input(each.label, present, placeholder=each.hint or None, help=told).strip()
    kind = type(each.empty)
    least, most = (None if bound is None else kind(bound) for bound in (each.least, each.most))
    if each.optional:
        least = kind(min(0, least or 0))  # 0 is None
    step = None if each.step is None else kind(each.step)
    return kind(place.number_input(each.label, least, most, present, step, help=told))
