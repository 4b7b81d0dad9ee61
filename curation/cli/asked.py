"""The options of declared settings: a command takes them as one `Asked`, and a new setting needs no line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from curation.declared import Setting, of_kind
from curation.errors import DesignError
from curation.settings import (
    DEFAULT_DESIGN,
    DEFAULT_SPACE,
    PRESETS,
    SETTINGS,
    DesignSettings,
    PresetKind,
    SpaceSettings,
)

LAST = "solving"  # the group whose options stand behind a command's own


@dataclass(frozen=True)
class Asked:
    """What the command line asks of a design. by_name: parameters that stand on it, which nothing learnt may change."""

    space: SpaceSettings
    design: DesignSettings
    by_name: tuple[str, ...]


NOTHING = Asked(DEFAULT_SPACE, DEFAULT_DESIGN, ())


def option(name: str) -> Any:
    """The option of a setting, for the annotation of a parameter."""
    each = next(s for s in SETTINGS if s.name == name)
    on, off = each.spelled
    return typer.Option(f"{on}/{off}" if off else on, help=each.help)


def _preset(context: typer.Context, chosen: PresetKind) -> PresetKind:
    """Make the preset's values the defaults of this call; an option that is given still wins."""
    values = {s.name: _shown(s, PRESETS[chosen].values[s.name]) for s in SETTINGS if s.name in PRESETS[chosen].values}
    context.default_map = {**(context.default_map or {}), **values}
    return chosen


PresetOpt = Annotated[
    PresetKind,
    typer.Option(
        is_eager=True,
        callback=_preset,
        help="Ridge, spread, selection and space where not given: hgm is the paper, 0.2.0 the old default.",
    ),
]
DeviceOpt = Annotated[str, option("device")]
LengthDifferenceOpt = Annotated[float | None, option("max_length_difference")]


def takes_settings(*, last: str, backtest: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every setting, in place of its parameter `asked: Asked`.

    last: its own parameter before which those of the last group stand. backtest: only what a backtest asks for; the
    rest has its default. What is required comes first, as in any signature.
    """
    taken = [s for s in SETTINGS if s.backtest or not backtest]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        parameters = [_parameter("context", typer.Context)]
        for own in inspect.signature(command).parameters.values():
            if own.name == "asked":
                parameters.append(_parameter("preset", PresetOpt, "default"))
                parameters += [_of(each) for each in taken if each.group != LAST]
                continue
            if own.name == last:
                parameters += [_of(each) for each in taken if each.group == LAST]
            parameters.append(_parameter(own.name, hints[own.name], own.default))
        parameters.sort(key=lambda parameter: parameter.default is not parameter.empty)

        @wraps(command)
        def run(context: typer.Context, preset: PresetKind, **given: Any) -> None:
            values = {s.name: given.pop(s.name) for s in taken}
            command(asked=_asked(context, taken, values), **given)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _of(each: Setting) -> inspect.Parameter:
    """The parameter of a setting: what its text says is read later, so that the error names the option."""
    default = inspect.Parameter.empty if each.required else _shown(each, each.default)
    kind = each.kind if each.required else each.shape
    if each.text is not None:
        kind, default = (list[str] | None, None) if each.many else (str, default)
    return _parameter(each.name, Annotated[kind, option(each.name)], default)


def _parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _shown(each: Setting, value: Any) -> Any:
    """A value as its option holds it."""
    return f"{value:g}" if each.text is not None and isinstance(value, float) else value


def _asked(context: typer.Context, taken: list[Setting], given: Mapping[str, Any]) -> Asked:
    values = dict(given)
    if "budget" in values:
        values["budget"] = whole_budget(values["budget"], values["cost"])
    for each in taken:
        if each.text is not None:
            values[each.name] = _read(each, values[each.name])
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return Asked(
        replace(DEFAULT_SPACE, **of_kind(SpaceSettings, values)),
        replace(DEFAULT_DESIGN, **of_kind(DesignSettings, values)),
        tuple(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"),
    )


def _read(each: Setting, given: Any) -> Any:
    """The value of a setting whose option is a text. Raises a usage error where it cannot be read."""
    assert each.text is not None
    try:
        return tuple(each.text(text) for text in given or ()) if each.many else each.text(given)
    except DesignError as error:
        raise typer.BadParameter(str(error), param_hint=each.spelled[0]) from None


def whole_budget(budget: float, cost: str | None) -> float | int:
    """The budget, a whole number where labels are counted. Raises a usage error for half a label."""
    if cost is None and not budget.is_integer():
        raise typer.BadParameter(
            f"{budget:g} is not a whole number of labels (with --cost it may be)", param_hint="--budget"
        )
    return int(budget) if budget.is_integer() else budget
