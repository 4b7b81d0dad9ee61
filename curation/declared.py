"""What a setting tells of itself, once: its option, address, control, check, batch id and table follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from types import NoneType
from typing import Any, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from curation.errors import DesignError

T = TypeVar("T")
Group = Literal["budget", "prior", "space", "fisher", "limits", "solving"]
GROUPS: tuple[Group, ...] = get_args(Group)  # in the order in which options, addresses and pages have them
UNSAID: Any = ...  # what a setting does not tell
FIRST = "0.2.0"  # settings of this version and before it stand in every id


class Names(Protocol):
    """Choices that are found out when they are needed, such as the plugs of a folder."""

    def names(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Setting:
    """One setting of a run. Only `help`, `group` and `since` must be told; the rest has a rule.

    help: of the option, in tables too. since: the version that brought it; one that came after the first stays out of
    a batch's id while it says what batches without it mean. before: its default of 0.2.0, if that was another. hgm: its
    value in HGM as published; presets set the settings that have one. in_id: whether it changes a batch at all.
    prepares: whether pool and features are prepared by it. backtest: whether `backtest` asks for it.

    least, most: the bounds, which a control has too. check: raises DesignError, in place of the check by bounds.
    choices: in place of a Literal's; a part that has `names`, such as a registry of plugs, stands for them all. text:
    reads what the option says where that is a text; many: the option is given again for more. option, key: spellings
    other than the name's; key is None where addresses and pages leave it out. held: reads the text that addresses and
    pages have in place of the value. kept: reads what a file says.

    label, told, step, hint: of the control on a page, told being its help, hint what stands in an empty text.
    """

    help: str
    group: Group
    since: str
    before: Any = UNSAID
    hgm: Any = UNSAID
    in_id: bool = True
    prepares: bool = False
    backtest: bool = True
    least: float | None = None
    most: float | None = None
    remedy: str = ""
    check: Callable[[Any], None] | None = None
    choices: tuple[str | Names, ...] = ()
    text: Callable[[str], Any] | None = None
    many: bool = False
    option: str = ""
    key: str | None = ""
    held: Callable[[str], Any] | None = None
    kept: Callable[[Any], Any] | None = None
    label: str = ""
    told: str | None = None
    step: float | None = None
    hint: str = ""
    # of the dataclass's field
    name: str = ""
    type: Any = None
    default: Any = UNSAID

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is UNSAID

    @property
    def optional(self) -> bool:
        """Whether it may be None."""
        return NoneType in get_args(self.type)

    @property
    def kind(self) -> Any:
        """Its type without None; `str` for a choice, `float` where whole numbers are another way to say it."""
        if self.names():
            return str
        kinds = [kind for kind in get_args(self.type) if kind is not NoneType] if self.optional else [self.type]
        return float if float in (*kinds, *get_args(kinds[0])) else kinds[0]

    def names(self) -> tuple[str, ...]:
        """What may be chosen from; none where it is no choice."""
        if get_origin(self.type) is Literal and not self.choices:
            return get_args(self.type)
        parts = ((each,) if isinstance(each, str) else each.names() for each in self.choices)
        return tuple(name for part in parts for name in part)

    @property
    def shape(self) -> Any:
        """Its type for what reads types: choices as a Literal."""
        return Literal.__getitem__(self.names()) if self.names() else self.type  # type: ignore[attr-defined]

    @property
    def spelled(self) -> tuple[str, str]:
        """Its option, and the one that turns it off: empty where it is no switch."""
        plain = self.option or self.name.replace("_", "-")
        return f"--{plain}", f"--no-{plain}" if self.kind is bool else ""

    @property
    def page(self) -> str:
        """The page whose control it has."""
        return "features" if self.group in ("space", "fisher") else "design"

    @property
    def left_out(self) -> Any:
        """At this value it is in no batch's id; UNSAID: it always is."""
        if self.since == FIRST:
            return UNSAID
        return self.at_first

    @property
    def at_first(self) -> Any:
        """Its default of 0.2.0."""
        return self.default if self.before is UNSAID else self.before

    @property
    def empty(self) -> Any:
        """What an address and a control hold for the default."""
        return "" if self.held is not None else self.hold(self.default)

    def hold(self, value: Any) -> Any:
        """What an address and a control hold for a value: 0 or no text for None."""
        return self.kind() if value is None else value

    def value(self, held: Any) -> Any:
        """The value of what an address or a control holds. Raises DesignError."""
        if self.held is not None:
            return self.held(held)
        return held or None if self.optional else held

    def judge(self, value: Any) -> None:
        """Raise DesignError where a value is none of this setting's."""
        if value is None or value == self.default:
            return
        if self.check is not None:
            self.check(value)
        elif names := self.names():
            if value not in names:
                raise DesignError(f"{self.spelled[0]} {value!r} is unknown; use {', '.join(names)}.")
        elif self.least is not None or self.most is not None:
            low = -math.inf if self.least is None else self.least
            high = math.inf if self.most is None else self.most
            if not low <= value <= high:
                remedy = self.remedy or f"try {self.default}."
                raise DesignError(f"{self.spelled[0]} {figure(value)} is outside {bound(low)}..{bound(high)}; {remedy}")


def setting(default: T, **told: Any) -> T:
    """A field of a settings class with what it tells of itself, by the names of `Setting`."""
    made: T = field(default=default, metadata={"setting": Setting(**told)})
    return made


def declared_without_default(**told: Any) -> Any:
    """As `setting`, for what must be given."""
    return field(metadata={"setting": Setting(**told)})


@cache
def declared(kind: type) -> tuple[Setting, ...]:
    """The settings of a class, in the order of its fields."""
    hints = get_type_hints(kind)
    return tuple(
        replace(
            f.metadata["setting"],
            name=f.name,
            type=hints[f.name],
            default=UNSAID if f.default is MISSING else f.default,
            key=f.metadata["setting"].key if f.metadata["setting"].key != "" else f.name,
            label=f.metadata["setting"].label or f.name.replace("_", " ").capitalize(),
        )
        for f in fields(kind)
    )


def in_groups(*kinds: type) -> tuple[Setting, ...]:
    """The settings of these classes by group."""
    return tuple(sorted((s for kind in kinds for s in declared(kind)), key=lambda s: GROUPS.index(s.group)))


def judge(settings: Any) -> None:
    """Raise DesignError for the first setting of an object that is out of range."""
    kind: type = type(settings)
    for each in declared(kind):
        each.judge(getattr(settings, each.name))


def of_kind(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that are settings of a class."""
    return {each.name: values[each.name] for each in declared(kind) if each.name in values}


def in_id(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a batch's id takes them: a later one left out where it says what batches without it mean."""
    found = dict(values)
    for each in declared(kind):
        if not each.in_id:
            found[each.name] = None
        elif each.name in found and each.left_out is not UNSAID and found[each.name] == each.left_out:
            del found[each.name]
    return found


def from_file(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as a file holds them (infinity as text, lists for tuples), in the form of the settings they are of."""
    found = dict(values)
    for each in declared(kind):
        if each.name not in found:
            continue
        value = found[each.name]
        if each.kept is not None:
            found[each.name] = each.kept(value)
        elif each.kind is float and value == "inf":
            found[each.name] = math.inf
    return found


@cache
def _model(kind: type) -> type[BaseModel]:
    """A model with the settings of a class, each of its own type and no other."""
    shapes: dict[str, Any] = {s.name: (s.shape, ... if s.required else s.default) for s in declared(kind)}
    return create_model(f"Kept{kind.__name__}", __config__=ConfigDict(strict=True), **shapes)


def typed(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values, if each has its type. Raises DesignError naming the first that has not."""
    try:
        _model(kind).model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise DesignError(f"the kept setting {name} cannot be used: {first['msg'].lower()}; set it anew.") from None
    return values


def figure(value: float) -> str:
    """A number for messages, whatever its size."""
    return f"{value:g}" if not 1e300 < abs(value) < math.inf else "with more than 300 digits"


def bound(value: float) -> str:
    """A bound for messages."""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
