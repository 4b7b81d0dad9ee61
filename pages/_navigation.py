"""Which pages there are: the scripts of this folder, each of which says at its top where it stands."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

ICON = str(Path(__file__).resolve().parents[1] / "data" / "icon.png")
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


def navigation() -> Any:
    """Declare the pages in their order; returns the one to run. `pages/_steps.py` draws their list, not Streamlit.

    The icon comes first: without it the browser would fetch each page's own from a server outside.
    """
    st.set_page_config(page_title="Pairwright", page_icon=ICON, layout="wide", initial_sidebar_state=280)
    sections: dict[str, list[Any]] = {}
    for place, page in enumerate(page_files()):
        sections.setdefault(page.section, []).append(_declared_page(page, first=place == 0))
    return st.navigation(sections, position="hidden")


def linked_pages() -> list[Any]:
    """The pages in the order of the work, as links take them."""
    return [_declared_page(page, first=place == 0) for place, page in enumerate(page_files())]


def _declared_page(page: PageFile, *, first: bool) -> Any:
    return st.Page(page.path, title=page.title, icon=page.icon, url_path=page.address, default=first)
