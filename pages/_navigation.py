"""Which pages there are: the scripts of this folder, each of which says at its top where it stands."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

SECTIONS = ("Pool", "Design", "Batch", "Proof")  # in this order; another section of a page comes after them


@dataclass(frozen=True)
class PageFile:
    """A page as its script declares it in `PAGE`. rank: its place within its section; the lowest of all opens first."""

    path: Path
    section: str
    rank: int
    title: str
    icon: str

    @property
    def address(self) -> str:
        """What stands in the URL."""
        return self.path.stem


@cache
def page_files(folder: Path = Path(__file__).parent) -> tuple[PageFile, ...]:
    """The pages by section and rank. A script is read, not run: running it draws the page.

    Raises ValueError for a script that declares no `PAGE` of section, rank, title and icon.
    """
    found = [
        PageFile(path=path, **_declared(path)) for path in folder.glob("*.py") if not path.name.startswith("_")
    ]  # fmt: skip
    order = {section: place for place, section in enumerate(SECTIONS)}
    return tuple(sorted(found, key=lambda page: (order.get(page.section, len(order)), page.section, page.rank)))


def _declared(path: Path) -> dict[str, Any]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["PAGE"]:
            told = ast.literal_eval(node.value)
            if isinstance(told, dict) and told.keys() == {"section", "rank", "title", "icon"}:
                return told
    raise ValueError(f"{path} must declare PAGE with section, rank, title and icon, as the other pages do")


def navigation(*, hidden: bool = False) -> Any:
    """The pages in their order; returns the one to run. hidden: declared, not shown."""
    sections: dict[str, list[Any]] = {}
    for place, page in enumerate(page_files()):
        sections.setdefault(page.section, []).append(
            st.Page(page.path, title=page.title, icon=page.icon, url_path=page.address, default=place == 0)
        )
    return st.navigation(sections, position="hidden" if hidden else "sidebar")  # type: ignore[arg-type]
