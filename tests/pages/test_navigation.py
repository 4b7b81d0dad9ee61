"""A page is added by adding its file: where it stands is read from the script."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pages._navigation import page_files

ROOT = Path(__file__).resolve().parents[2]
EXTRA = """
import streamlit as st

PAGE = {"section": "Proof", "rank": 9, "title": "Notes", "icon": ":material/note:"}
st.write("an added page")
"""
LOOK = """
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("app.py", default_timeout=300).switch_page("pages/notes.py").run()
assert not page.exception, page.exception
print([words.value for words in page.markdown][-1])
"""


def test_pages_stand_in_the_order_they_ask_for() -> None:
    assert [page.title for page in page_files()][:3] == ["Pool", "Features", "Design"]


def test_an_added_file_is_a_page(tmp_path: Path) -> None:
    for folder in ("pages", "data"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "app.py", tmp_path)
    (tmp_path / "pages" / "notes.py").write_text(EXTRA)
    assert [(page.address, page.title) for page in page_files(tmp_path / "pages")][-1] == ("notes", "Notes")
    paths = {"CURATION_HOME": str(tmp_path / "home"), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    ran = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=tmp_path, env={**os.environ, **paths}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().splitlines()[-1] == "an added page"


def test_a_script_that_does_not_say_where_it_stands_is_named(tmp_path: Path) -> None:
    (tmp_path / "lost.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"lost\.py must declare PAGE"):
        page_files(tmp_path)
