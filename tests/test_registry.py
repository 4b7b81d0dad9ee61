"""A folder of plugs (curation/registry.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from curation.errors import PoolError
from curation.registry import Plug, Registry

PLUG = "class Plug:\n    name = {name!r}\n    rank = {rank}\n\n\nPLUG = Plug()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[str, Path]:
    name = f"plugs_of_{request.node.name}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name, package
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


def test_plugs_are_the_files_by_rank_and_parts_without_a_plug_are_none(folder: tuple[str, Path]) -> None:
    name, package = folder
    (package / "late.py").write_text(PLUG.format(name="late", rank=2))
    (package / "early.py").write_text(PLUG.format(name="early", rank=1))
    (package / "shared.py").write_text("VALUE = 1\n")
    plugs: Registry[Plug] = Registry(name, "plug")
    assert plugs.names() == ("early", "late")
    assert [plug.name for plug in plugs] == ["early", "late"]
    assert plugs["late"].rank == 2
    assert "early" in plugs
    assert "shared" not in plugs


def test_an_unknown_name_is_told_with_the_names_there_are(folder: tuple[str, Path]) -> None:
    name, package = folder
    (package / "only.py").write_text(PLUG.format(name="only", rank=1))
    plugs: Registry[Plug] = Registry(name, "format", PoolError)
    with pytest.raises(PoolError, match="format 'none' is unknown; use only"):
        plugs["none"]


def test_two_plugs_of_one_name_are_a_fault_of_the_program(folder: tuple[str, Path]) -> None:
    name, package = folder
    (package / "one.py").write_text(PLUG.format(name="same", rank=1))
    (package / "two.py").write_text(PLUG.format(name="same", rank=2))
    with pytest.raises(RuntimeError, match="of one name"):
        Registry(name, "plug").names()


def test_nothing_is_imported_before_the_first_use(folder: tuple[str, Path]) -> None:
    name, package = folder
    (package / "broken.py").write_text('raise ValueError("read too early")\n')
    plugs: Registry[Plug] = Registry(name, "plug")
    with pytest.raises(ValueError, match="read too early"):
        plugs["broken"]


def test_names_that_stand_in_the_sources_are_read_without_an_import(folder: tuple[str, Path]) -> None:
    name, package = folder
    for rank, word in ((2, "second"), (1, "first")):
        source = f'raise ValueError("read too early")\nPLUG = Kind(name="{word}", rank={rank}, make=print)\n'
        (package / f"{word}.py").write_text(source)
    (package / "shared.py").write_text("raise ValueError('read too early')\n")
    assert Registry(name, "plug").names() == ("first", "second")


@pytest.mark.parametrize(
    "package", ["curation.design.criteria", "curation.representation.fisher", "curation.design.rules"]
)
def test_names_read_are_the_names_of_the_plugs(package: str) -> None:
    assert Registry(package, "plug").names() == tuple(plug.name for plug in Registry(package, "plug"))
