"""Every command's outputs are looked at before it runs: `Writes` marks them, `Guarded` asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from typer import Context, Typer
from typer.core import TyperCommand

from curation.cli.kinds import Kind


@dataclass(frozen=True)
class Writes:
    """Beside `typer.Option` in an annotation: the option names a place that the command writes to, of this kind."""

    kind: Kind


class Guarded(TyperCommand):
    """A command that refuses outputs which would destroy something, before it does anything else."""

    def outputs(self) -> dict[str, Kind]:
        """Parameter -> kind of what is written there."""
        return outputs_of(self.callback)

    def invoke(self, ctx: Context) -> Any:  # type: ignore[override]
        writes = self.outputs()
        force = bool(ctx.params.get("force") or ctx.params.get("resume"))
        read = [Path(text) for name, given in ctx.params.items() if name not in writes for text in _texts(given)]
        places: list[Path] = []
        for name, kind in writes.items():
            if ctx.params.get(name) is None:
                continue
            given = Path(ctx.params[name])
            place = kind.check(given, inputs=[*filter(_exists, read), *places], force=force)
            places.append(place)
            if given.is_symlink():
                ctx.params[name] = str(place)
        return super().invoke(ctx)


F = TypeVar("F", bound=Callable[..., Any])


class Commands(Typer):
    """A group whose commands are all guarded."""

    def command(self, name: str | None = None, **named: Any) -> Callable[[F], F]:  # type: ignore[override]
        """As `Typer.command`."""
        return super().command(name, **{"cls": Guarded, **named})


def outputs_of(callback: Any) -> dict[str, Kind]:
    """Parameter -> kind, of a function whose annotations carry `Writes`."""
    found = {}
    for name, hint in get_type_hints(callback, include_extras=True).items():
        for mark in getattr(hint, "__metadata__", ()):
            if isinstance(mark, Writes):
                found[name] = mark.kind
    return found


def _texts(given: Any) -> list[str]:
    """What may name an input: paths and texts, alone or in lists."""
    if isinstance(given, list | tuple):
        return [text for part in given for text in _texts(part)]
    return [str(given)] if isinstance(given, str | Path) and str(given) else []


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
