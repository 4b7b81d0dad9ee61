"""What a dashboard session is looking at: pool, features, settings; readable from and writable to a URL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Any

from curation.dashboard.places import DEMO, _plain
from curation.declared import UNSAID, of_kind
from curation.errors import CurationError, DesignError
from curation.setting_rules import OVERLAP_MOST
from curation.settings import PRESETS, SETTINGS, DesignSettings, SpaceSettings, default_budget
from curation.system.files import shown_path

IN_VIEW = {s.key: s for s in SETTINGS if s.key and not s.required}  # settings by their key in an address
BEFORE = {key: s.before for key, s in IN_VIEW.items() if s.before is not UNSAID}


@dataclass(frozen=True)
class _Opened:
    pool: str = DEMO
    features: str = ""
    budget: int = 0  # 0: a default by the pool's size


if TYPE_CHECKING:

    class _Set(_Opened):
        """What is opened, and every declared setting in the form that an address has: 0 or no text for None."""

        overlap: float = 0.0

        def __getattr__(self, name: str) -> Any: ...

else:
    _held = {key: each.empty for key, each in IN_VIEW.items() if each.group != "solving"} | {"overlap": 0.0}
    _held |= {key: each.empty for key, each in IN_VIEW.items() if key not in _held}
    _Set = make_dataclass(
        "_Set",
        [(key, type(default), field(default=default)) for key, default in _held.items()],
        bases=(_Opened,),
        frozen=True,
        namespace={"__module__": __name__},
    )


@dataclass(frozen=True)
class View(_Set):
    """Everything that decides what the pages show. Names are short because they stand in the URL.

    pool: `demo` or a path in an allowed folder. features: "" means the file found beside the pool. Then every setting
    that has a key, and overlap before the solver's; pins and exclude, files in the workspace.
    """

    pins: str = ""
    exclude: str = ""

    def _values(self) -> dict[str, Any]:
        """Settings by name, as they are meant."""
        return {each.name: each.value(getattr(self, key)) for key, each in IN_VIEW.items()}

    def space_settings(self) -> SpaceSettings:
        """The settings of the space."""
        return SpaceSettings(**of_kind(SpaceSettings, self._values()))

    def design_settings(self, prompts: int) -> DesignSettings:
        """The settings of the design on a pool of that many prompts."""
        return DesignSettings(budget=self.budget or default_budget(prompts), **of_kind(DesignSettings, self._values()))

    def preparing(self) -> dict[str, Any]:
        """Those settings of the design that pool and features are prepared by."""
        return {each.name: each.value(getattr(self, key)) for key, each in IN_VIEW.items() if each.prepares}

    def prepared_by(self) -> tuple[tuple[str, Any], ...]:
        """(name, value) of every setting that pool and features are prepared by, those of the space included."""
        return (*asdict(self.space_settings()).items(), *self.preparing().items())

    def to_query(self) -> dict[str, str]:
        """What differs from the defaults, as text for a URL; settings whose default has changed are always written."""
        plain = View()
        return {
            f.name: _text(getattr(self, f.name))
            for f in fields(self)
            if f.name in BEFORE or getattr(self, f.name) != getattr(plain, f.name)
        }

    @property
    def preset(self) -> str | None:
        """The preset whose values this view has; None where it differs from every one."""
        return next((name for name in PRESETS if self.with_preset(name) == self), None)

    def with_preset(self, name: str) -> View:
        """This view with a preset's values; budget, dimensions, limits and files stay."""
        values = PRESETS[name].values
        held = {key: each.hold(values[each.name]) for key, each in IN_VIEW.items() if each.name in values}
        return replace(self, **held)


def _text(value: Any) -> str:
    """A value for an address: short where that says all, else every digit."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def view_from_query(query: Mapping[str, str]) -> View:
    """The view a URL asks for; names and values it does not know are left at their defaults.

    Every address names ridge and prior power; one that names the ridge alone was written before the other existed.
    """
    return read_query(query)[0]


def read_query(query: Mapping[str, str]) -> tuple[View, tuple[str, ...]]:
    """The view a URL asks for, and a sentence for every value of it that is out of range or no value at all."""
    view, refused = View(), []
    for f in fields(View):
        if f.name not in query:
            continue
        try:
            candidate = _with(view, f.name, query[f.name])
        except (ValueError, CurationError) as error:
            told = str(error) if isinstance(error, CurationError) else "it is no value of this setting."
            shown = shown_path(query[f.name][:40])
            refused.append(f"The address asks for {f.name} = {shown}, which is left out: {told}")
            continue
        if f.name == "ridge" and "prior_power" not in query:
            candidate = replace(candidate, **{"prior_power": BEFORE["prior_power"]})
        view = candidate
    return view, tuple(refused)


def _with(view: View, name: str, text: str) -> View:
    """The view with one setting as an address spells it. Raises ValueError and CurationError."""
    default, each = getattr(view, name), IN_VIEW.get(name)
    if isinstance(default, bool):
        if text not in ("0", "1"):
            raise ValueError(text)
        value: Any = text == "1"
    elif isinstance(default, int):
        value = int(text)
    elif isinstance(default, float):
        value = float(text)
        if math.isnan(value):
            raise ValueError(text)
    else:
        value = text
    if each is not None and each.names() and value not in each.names():
        raise ValueError(text)
    if isinstance(value, str) and not _plain(value):
        raise DesignError("it holds characters that cannot be shown.")
    if name == "overlap" and not 0 <= value <= OVERLAP_MOST:
        raise DesignError(f"it is outside 0..{OVERLAP_MOST:g}, the share of labels that repeat a pair.")
    candidate = replace(view, **{name: value})
    candidate.space_settings()
    candidate.design_settings(10)
    return candidate


def scenario_settings(kept: Mapping[str, str]) -> dict[str, str]:
    """A scenario's settings as kept; what one of 0.2.0 does not say, because it was the default then, is filled in."""
    return {**{name: _text(value) for name, value in BEFORE.items()}, **kept}
