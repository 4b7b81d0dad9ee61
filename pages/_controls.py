"""Controls of declared settings: each drawn where a page wants it, and those that a page does not place under the rest.

Every control has a key of its own and writes to the view in its callback, before the page runs. Its value is set from
here only where the view was changed elsewhere (a preset, a scenario, an address): a value handed to a widget in every
run would make it another widget at every change, which loses what is typed or clicked meanwhile, and the focus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from curation.dashboard.view import IN_VIEW, View
from curation.declared import Setting
from curation.errors import DesignError
from pages._guard import acting
from pages._shared import change_view

Change = Callable[[Any], dict[str, Any]]  # what a control holds -> what that changes of the view


def held(name: str, present: Any) -> str:
    """The key of a control, which holds `present` from now on."""
    key = f"set_{name}"
    if key not in st.session_state or st.session_state[key] != present:
        st.session_state[key] = present
    return key


@acting
def taken(name: str, change: Change) -> None:
    """The callback of a control: what it holds goes into the view, or the sentence why not stands under it."""
    value = st.session_state[f"set_{name}"]
    st.session_state.pop(f"wrong_{name}", None)
    try:
        change_view(**change(value))
    except DesignError as error:
        st.session_state[f"wrong_{name}"] = (value, str(error))


def steady(name: str, options: Sequence[Any], present: Any) -> list[Any]:
    """The options of a choice, sorted, and with them whatever other value an address or a scenario has asked for.

    What was asked for once stays among them while the session lasts: a choice whose options change is another choice.
    """
    more: list[Any] = st.session_state.setdefault(f"more_{name}", [])
    if present not in options and present not in more:
        more.append(present)
    return sorted({*options, *more})


class Controls:
    """The controls of one page, by the keys of `View`."""

    def __init__(self, view: View, page: str) -> None:
        self.view = view
        self.page = page
        self._placed: set[str] = set()

    def draw(self, key: str, place: Any = st, *, change: Change | None = None) -> Any:
        """The control of a setting as it is declared; returns what the view holds. change: what else it changes."""
        each, present = IN_VIEW[key], getattr(self.view, key)
        self._placed.add(key)

        def changed(value: Any) -> dict[str, Any]:
            value = value.strip() if isinstance(value, str) else type(each.empty)(value)
            if each.held is not None:
                each.held(value)
            return {key: value} if change is None else change(value)

        wrong = st.session_state.get(f"wrong_{key}")
        if wrong and st.session_state.get(f"set_{key}") == wrong[0]:
            st.error(wrong[1], icon=":material/error:")
            name = f"set_{key}"
        else:
            name = held(key, present)
        _widget(each, place, present, key=name, on_change=taken, args=(key, changed))
        return present

    def leave(self, *keys: str) -> None:
        """These settings have their place on the page: drawn by hand, or with nothing to say there now."""
        self._placed |= set(keys)

    def rest(self) -> None:
        """The settings of this page that no control has been drawn for, folded away."""
        left = [key for key, each in IN_VIEW.items() if each.page == self.page and key not in self._placed]
        if left:
            with st.expander("More settings"):
                for key in left:
                    self.draw(key)


def _widget(each: Setting, place: Any, present: Any, **keyed: Any) -> None:
    """The widget of a setting: a choice, a switch, a number or a text."""
    told = (each.help if each.told is None else each.told) or None
    if names := each.names():
        place.selectbox(each.label, names, help=told, **keyed)
    elif isinstance(present, bool):
        place.checkbox(each.label, help=told, **keyed)
    elif isinstance(present, str):
        place.text_input(each.label, placeholder=each.hint or None, help=told, **keyed)
    else:
        kind = type(each.empty)
        least, most = (None if bound is None else kind(bound) for bound in (each.least, each.most))
        if each.optional:
            least = kind(min(0, least or 0))  # 0 is None
        step = None if each.step is None else kind(each.step)
        place.number_input(each.label, least, most, step=step, help=told, **keyed)
