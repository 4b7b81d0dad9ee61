"""A folder of plugs: a reader, an annotation tool, a rule or a criterion is added by adding a file."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from curation.errors import CurationError


class Plug(Protocol):
    """What every plug tells of itself. rank: its place where plugs are listed or asked in turn, lowest first."""

    @property
    def name(self) -> str: ...

    @property
    def rank(self) -> int: ...


T = TypeVar("T", bound=Plug)
_FOUND: dict[str, Any] = {}  # package -> name -> plug, of all registries of the package


class Registry(Generic[T]):
    """Name -> plug: what the modules of one package offer as `PLUG`. A module without one is a part that plugs share.

    Modules are imported at the first use, not before. package: dotted name; what: the word for one of them in a
    message; error: the class raised for a name that nobody offers.
    """

    def __init__(self, package: str, what: str, error: type[CurationError] = CurationError) -> None:
        self.package = package
        self.what = what
        self._error = error

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
        """Every name there is, by rank: what options, pages and documents offer.

        Read from the sources where every `PLUG` says its name and rank outright, so that `--help` imports nothing.
        """
        if self.package not in _FOUND:
            places = [_written(path) for folder in import_module(self.package).__path__ for path in _modules(folder)]
            if None not in places:
                return tuple(name for _, name in sorted(place for place in places if place))
        return tuple(self._plugs())

    def forget(self) -> None:
        """Look for plugs anew at the next use."""
        _FOUND.pop(self.package, None)

    def _plugs(self) -> Mapping[str, T]:
        if self.package not in _FOUND:
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
            _FOUND[self.package] = found
        kept: Mapping[str, T] = _FOUND[self.package]
        return kept


def _modules(folder: str) -> list[Path]:
    return sorted(path for path in Path(folder).glob("*.py") if path.stem != "__init__")


def _written(path: Path) -> tuple[int, str] | tuple[()] | None:
    """Rank and name of the `PLUG` that a module offers, as its source has them; nothing for a module without one.

    None where they are not written out there.
    """
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["PLUG"]:
            given = node.value.keywords if isinstance(node.value, ast.Call) else []
            said = {each.arg: each.value.value for each in given if isinstance(each.value, ast.Constant)}
            rank, name = said.get("rank"), said.get("name")
            return (rank, name) if isinstance(rank, int) and isinstance(name, str) else None
    return ()
