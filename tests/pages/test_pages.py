"""Every page in every state, in a simulated browser: it says what it is for and what it found, and no page breaks.

The states are made as people make them: the Review page saves the batch, the command line decides, signs, sends out and
takes labels back. All share one process, so the demo's design is solved once.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from streamlit.testing.v1 import AppTest

from curation.batch.folder import read_manifest
from curation.review.store.store import open_store
from pages._navigation import page_files
from tests.desk.golden_runs import answered, call, decided

APP = Path(__file__).resolve().parents[2] / "app.py"
# Page -> title, and what stands on it once the demo's design is there.
PAGES = {
    "pool": ("Pool", "A look at the texts"),
    "features": ("Features", "Fisher uniform: "),
    "design": ("Design", "The equivalence theorem bounds what any design could do"),
    "coverage": ("Coverage", "Bars sum to the criterion"),
    "map": ("Map", "neighbours, minimum distance"),
    "weights": ("Weights", "of what this batch is chosen for lies along answer length"),
    "review": ("Review", "Why this pair?"),
    "signoff": ("Sign-off", "May this go out?"),
    "evidence": ("Evidence", "a design batch is worse than a uniform one in"),
}


def test_every_page_is_tested_here() -> None:
    assert {page.address: page.title for page in page_files()} == {name: told[0] for name, told in PAGES.items()}


class Home:
    """A workspace of its own, and the simulated browser of whoever looks at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pools").mkdir(parents=True)
        self.settings = {
            "CURATION_HOME": str(folder), "CURATION_POOLS": str(folder / "pools"), "LOGNAME": "ana",
            "CURATION_SIGNING_KEY": str(folder.parent / "key.pem"), "CURATION_ALLOW_REMOTE": "1",
        }  # fmt: skip

    @contextlib.contextmanager
    def entered(self, who: str = "ana") -> Iterator[None]:
        with mock.patch.dict(os.environ, {**self.settings, "LOGNAME": who}):
            os.environ.pop("DATABASE_URL", None)
            yield

    def see(self, name: str, *, who: str = "ana", **query: str) -> AppTest:
        """A page opened by its address; neither an exception nor a traceback is on it, and its title is."""
        page = AppTest.from_file(str(APP), default_timeout=500)
        for key, value in {"budget": "12", **query}.items():
            page.query_params[key] = value
        with self.entered(who):
            page.switch_page(f"pages/{name}.py").run()
        assert not page.exception, page.exception
        assert "Traceback" not in words(page)
        assert [title.value for title in page.title] == [PAGES[name][0]]
        return page

    def run(self, *arguments: object) -> dict[str, Any]:
        with self.entered():
            return call(*arguments)

    def batch(self) -> Path:
        """The demo's design of twelve labels, kept from the Review page."""
        page = self.see("review")
        with self.entered():
            page.button(key="keep_batch").click().run()
        (batch,) = (self.folder / "batches").iterdir()
        return batch

    def events(self) -> int:
        """How many acts the workspace's trail holds."""
        with self.entered():
            return len(open_store().events())

    def files(self) -> set[str]:
        """Every file but the two that SQLite keeps while a connection is open, which come and go with it."""
        found = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}
        return {name for name in found if not name.endswith(("-wal", "-shm"))}


def words(page: AppTest) -> str:
    """Every text on a page."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success", "code")
    return "\n".join(str(element.value) for kind in kinds for element in page.get(kind))


def buttons(page: AppTest) -> dict[str, Any]:
    """Label -> button."""
    return {button.label: button for button in page.button}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Nothing was done here yet."""
    return Home(tmp_path_factory.mktemp("plain") / "home")


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A workspace of its own for what is done from a page that was only looked at."""
    return Home(tmp_path_factory.mktemp("looked") / "home")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """People are named; vic may only look. No batch is kept."""
    return with_people(Home(tmp_path_factory.mktemp("watched") / "home"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The same, and ana's batch is kept."""
    home = with_people(Home(tmp_path_factory.mktemp("kept") / "home"))
    home.batch()
    return home


def with_people(home: Home) -> Home:
    """ada is the administrator, ana may decide, vic may look."""
    for name, role in (("ada", "admin"), ("ana", "approver"), ("vic", "viewer")):
        home.run("people", name, "--role", role, "--as", "" if name == "ada" else "ada")
    return home


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Ana's batch is approved, signed by cat and sent out."""
    home = Home(tmp_path_factory.mktemp("signed") / "home")
    batch = home.batch()
    with home.entered():
        decided(batch, home.folder / "d.csv")
    home.run("sign", batch, "--as", "cat", "--acknowledge", "all")
    home.run("export", batch, "--to", "csv", "--out", home.folder / "out.csv", "--as", "ana")
    return home


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Ana's batch, one pair of it rejected, is labelled though nobody signed it."""
    home = Home(tmp_path_factory.mktemp("labelled") / "home")
    batch, out = home.batch(), home.folder / "out.csv"
    with home.entered():
        decided(batch, home.folder / "d.csv", reject=1)
    home.run("export", batch, "--to", "csv", "--out", out, "--unsigned", "--as", "ana")
    for who in ("eve", "fay"):
        home.run("import-labels", batch, answered(out, home.folder / f"{who}.csv", who), "--as", "ana")
    return home


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_the_demo_where_nothing_was_loaded(name: str, plain: Home) -> None:
    page = plain.see(name)
    assert PAGES[name][1] in words(page)
    assert "**Demo pool**" in words(page)
    assert not page.error


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(
    ("pool", "sentence"),
    [
        ("gone.jsonl", "gone.jsonl does not exist or is not a file; choose one from the list."),
        ("broken.jsonl", "none of the first 2 rows can be read"),
        ("../outside.jsonl", "is outside the folders this dashboard may open"),
    ],
)
def test_a_page_says_what_is_wrong_with_the_pool_of_an_address(
    name: str, pool: str, sentence: str, plain: Home
) -> None:
    (plain.folder / "pools" / "broken.jsonl").write_bytes(b"\x00\x01nothing\xff\n{")
    page = plain.see(name, pool=str(plain.folder / "pools" / pool) if "/" not in pool else pool)
    assert [error.value for error in page.error if sentence in error.value], words(page)
    assert PAGES[name][1] not in words(page) or name in ("review", "signoff")  # their question is their title's


@pytest.mark.parametrize("name", PAGES)
def test_a_page_leaves_out_what_is_out_of_range_and_shows_the_rest(name: str, plain: Home) -> None:
    page = plain.see(name, ridge="-1", overlap="7", seed="9" * 40)
    told = [box.value for box in page.warning if "The address asks for" in box.value]
    assert [text.split(" = ")[0].split()[-1] for text in told] == ["ridge", "overlap", "seed"]
    assert all("which is left out" in text for text in told)
    assert PAGES[name][1] in words(page)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_itself_to_a_viewer_and_writes_nothing(name: str, watched: Home) -> None:
    before = watched.files()
    page = watched.see(name, who="vic")
    assert PAGES[name][1] in words(page)
    assert "`vic`" in words(page)
    assert ("may only look" in words(page)) == (name in ("review", "signoff"))  # they would save the batch first
    assert watched.files() == before


@pytest.mark.parametrize("name", PAGES)
def test_looking_at_a_page_makes_no_batch(name: str, plain: Home) -> None:
    page = plain.see(name)
    assert not (plain.folder / "batches").exists()
    assert plain.events() == 0
    if name in ("review", "signoff"):
        assert "Keep this batch" in buttons(page)


def test_the_first_decision_makes_the_batch_and_its_folder_says_who_solved_it(looked: Home) -> None:
    page = looked.see("review")
    with looked.entered():
        page.button(key="approve").click().run()
    (folder,) = (looked.folder / "batches").iterdir()
    assert "Keep this batch" not in buttons(page)
    assert "**1 approved**" in words(page)
    (choice,) = [box for box in page.selectbox if box.label == "Batch"]
    assert "reviewed 1/12" in choice.options[0]
    assert read_manifest(folder)["author"] == "ana"


@pytest.mark.parametrize(("name", "sentence"), [("review", "12 pairs in the queue"), ("signoff", "12 undecided")])
def test_a_viewer_sees_the_batch_that_is_kept(name: str, sentence: str, kept: Home) -> None:
    before = kept.files()
    page = kept.see(name, who="vic")
    assert sentence in words(page)
    assert "may only look" not in words(page)
    assert kept.files() == before


@pytest.mark.parametrize("name", PAGES)
def test_a_page_stands_beside_a_signed_batch(name: str, signed: Home) -> None:
    page = signed.see(name)
    assert PAGES[name][1] in words(page)
    assert not page.error
    if name == "signoff":
        assert "Signed by cat at" in words(page)
        assert "Sign and freeze" not in buttons(page)
        assert "Export" in buttons(page)
        assert "Export as unsigned" not in buttons(page)
    if name == "review":
        assert "**12 approved**" in words(page)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_stands_beside_labels(name: str, labelled: Home) -> None:
    page = labelled.see(name)
    assert PAGES[name][1] in words(page)
    assert not page.error
    if name == "signoff":
        assert "Not signed" not in words(page)
        assert "Export as unsigned" in buttons(page)
        assert "No labels have come back" not in words(page)
    if name == "review":
        assert "**11 approved** · 1 rejected" in words(page)
    if name in ("design", "evidence"):
        assert "What your labels say" in words(page)
        assert "22 labels of 1 batch of this pool" in words(page)
