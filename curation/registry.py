"""A folder of plugs: a reader, an annotation tool, a rule or a criterion is added by adding a file."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Generic, Protocol, TypeVar

from curation.errors import CurationError


class Plug(Protocol):
    """What every plug tells of itself. rank: its place where plugs are listed or asked in turn, lowest first."""

    @property
    def name(self) -> str: ...

    @property
    def rank(self) -> int: ...


T = TypeVar("T", bound=Plug)


class Registry(Generic[T]):
    """Name -> plug: what the modules of one package offer as `PLUG`. A module without one is a part that plugs share.

    Modules are imported at the first use, not before. package: dotted name; what: the word for one of them in a
    message; error: the class raised for a name that nobody offers.
    """

    def __init__(self, package: str, what: str, error: type[CurationError] = CurationError) -> None:
        self.package = package
        self.what = what
        self._error = error
        self._found: dict[str, T] | None = None

    def __getitem__(self, name: str) -> T:
        """The plug of that name. Raises the registry's error, which lists the names there are."""
        found = self._plugs()
        if name not in found:
            raise self._error(f"{self.what} {name!r} is unknown; use {', '.join(found)}.")
        return found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._plugs()

    def __iter__(self) -> Iterator[T]:
        """The plugs by rank."""
        return iter(self._plugs().values())

    def names(self) -> tuple[str, ...]:
        """Every name there is, by rank: what options, pages and documents offer."""
        return tuple(self._plugs())

    def _plugs(self) -> dict[str, T]:
        if self._found is None:
            package = import_module(self.package)
            modules = [
                import_module(f"{self.package}.{each.name}")
                for each in pkgutil.iter_modules(package.__path__)
                if not each.ispkg
            ]
            plugs: list[T] = [module.PLUG for module in modules if hasattr(module, "PLUG")]
            found = {plug.name: plug for plug in sorted(plugs, key=lambda plug: (plug.rank, plug.name))}
            if len(found) < len(plugs):
                raise RuntimeError(f"two modules of {self.package} offer a {self.what} of one name")
            self._found = found
        return self._found
