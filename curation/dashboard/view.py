"""What a dashboard session is looking at: pool, features, settings; readable from and writable to a URL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from curation.dashboard.places import DEMO, _plain
from curation.errors import CurationError, DesignError
from curation.settings import (
    BEFORE,
    DEFAULT_DESIGN,
    DEFAULT_SPACE,
    OVERLAP_MOST,
    PRESETS,
    DesignSettings,
    SpaceSettings,
    default_budget,
    parse_quotas,
)
from curation.system.files import shown_path


@dataclass(frozen=True)
class View:
    """Everything that decides what the pages show. Names are short because they stand in the URL.

    pool: `demo` or a path in an allowed folder. features: "" means the file found beside the pool.
    """

    pool: str = DEMO
    features: str = ""
    budget: int = 0  # 0: a default by the pool's size
    ridge: float = DEFAULT_DESIGN.ridge
    ridge_kind: str = DEFAULT_DESIGN.ridge_kind
    prior_power: float = DEFAULT_DESIGN.prior_power
    dim: int = DEFAULT_SPACE.dim
    normalize: bool = DEFAULT_SPACE.normalize
    pca: str = DEFAULT_SPACE.pca
    length: bool = DEFAULT_SPACE.length
    fisher: str = DEFAULT_DESIGN.fisher
    temperature: float = DEFAULT_DESIGN.temperature
    per_token: bool = DEFAULT_DESIGN.per_token
    spread: str = DEFAULT_DESIGN.spread
    max_labels: float = DEFAULT_DESIGN.max_labels_per_pair
    per_prompt: int = 0  # 0: no own cap
    quotas: str = ""  # a=1..5;b=..9
    generator_share: float = 0.0  # 0: no cap
    max_length_difference: float = 0.0  # mean |log length difference|; 0: no limit
    cost: str = ""
    overlap: float = 0.0
    select: str = DEFAULT_DESIGN.select
    seed: int = DEFAULT_DESIGN.seed
    pins: str = ""  # file in the workspace
    exclude: str = ""  # file in the workspace

    def space_settings(self) -> SpaceSettings:
        """The settings of the space."""
        return SpaceSettings(dim=self.dim, normalize=self.normalize, pca=self.pca, length=self.length)  # type: ignore[arg-type]

    def design_settings(self, prompts: int) -> DesignSettings:
        """The settings of the design on a pool of that many prompts."""
        return DesignSettings(
            budget=self.budget or default_budget(prompts),
            ridge=self.ridge,
            ridge_kind=self.ridge_kind,  # type: ignore[arg-type]
            prior_power=self.prior_power,
            fisher=self.fisher,  # type: ignore[arg-type]
            temperature=self.temperature,
            per_token=self.per_token,
            spread=self.spread,  # type: ignore[arg-type]
            max_labels_per_pair=self.max_labels,
            per_prompt=self.per_prompt or None,
            quotas=parse_quotas(self.quotas),
            generator_share=self.generator_share or None,
            max_length_difference=self.max_length_difference or None,
            cost=self.cost or None,
            select=self.select,  # type: ignore[arg-type]
            seed=self.seed,
        )

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
        values = dict(PRESETS[name].values)
        return replace(self, max_labels=values.pop("max_labels_per_pair"), **values)


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
            candidate = replace(candidate, prior_power=BEFORE["prior_power"])
        view = candidate
    return view, tuple(refused)


_CHOICES = {
    "ridge_kind": ("relative", "absolute"),
    "pca": ("within", "raw"),
    "fisher": ("auto", "reference", "empirical", "uniform"),
    "spread": ("auto", "balanced", "capped", "free"),
    "select": ("sample", "exact", "paper"),
}


def _with(view: View, name: str, text: str) -> View:
    """The view with one setting as an address spells it. Raises ValueError and CurationError."""
    default = getattr(view, name)
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
    if name in _CHOICES and value not in _CHOICES[name]:
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
