"""The frame of the pages: how far the work is, what has moved on, and the page that comes next."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from streamlit.testing.v1 import AppTest

from tests.desk.golden_runs import call, decided

APP = Path(__file__).resolve().parents[2] / "app.py"
ORDER = ["Pool", "Features", "Design", "Coverage", "Map", "Weights", "Review", "Sign-off", "Evidence"]


@contextlib.contextmanager
def entered(folder: Path) -> Iterator[None]:
    settings = {
        "CURATION_HOME": str(folder), "CURATION_POOLS": str(folder / "pools"), "LOGNAME": "ana",
        "CURATION_SIGNING_KEY": str(folder.parent / "key.pem"), "CURATION_ALLOW_REMOTE": "1",
    }  # fmt: skip
    with mock.patch.dict(os.environ, settings):
        os.environ.pop("DATABASE_URL", None)
        yield


def see(folder: Path, name: str, **query: str) -> AppTest:
    page = AppTest.from_file(str(APP), default_timeout=500)
    for key, value in {"budget": "12", **query}.items():
        page.query_params[key] = value
    with entered(folder):
        page.switch_page(f"pages/{name}.py").run()
    assert not page.exception
    return page


def states(page: AppTest) -> dict[str, str]:
    """Page -> what stands beside its name in the list."""
    labels = [link.proto.label for link in page.sidebar.get("page_link")]
    return {label.split(" :gray")[0]: label.partition(":small[")[2].rstrip("]").replace("\\", "") for label in labels}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch of the demo's design of twelve labels, approved by ana and signed by cat."""
    folder = tmp_path_factory.mktemp("frame") / "home"
    batch = folder / "batches" / "of-twelve"
    with entered(folder):
        demo = APP.parent / "data" / "demo.jsonl.gz"
        features = demo.with_name("demo.features.parquet")
        batch.parent.mkdir(parents=True)
        call("solve", demo, "--features", features, "--budget", 12, "--out", batch, "--as", "ana")
        decided(batch, folder / "d.csv")
        call("sign", batch, "--as", "cat", "--acknowledge", "all")
    return folder


def test_the_list_stands_in_the_order_of_the_work_and_says_how_far_it_is(tmp_path: Path) -> None:
    page = see(tmp_path, "design")
    told = states(page)
    assert list(told) == ORDER
    assert told["Pool"] == "62 prompts"
    assert told["Features"] == "ready"
    assert told["Design"] == "12 labels"
    assert told["Sign-off"] == "not signed"
    assert told["Evidence"] == "not tested"
    assert told["Coverage"] == told["Map"] == told["Weights"] == ""


def test_the_list_solves_nothing(tmp_path: Path) -> None:
    with mock.patch("curation.run.solve.solve", side_effect=AssertionError("solved for the list")):
        told = states(see(tmp_path, "pool", budget="11"))
    assert told["Design"] == "not solved yet"


def test_every_page_but_the_last_leads_to_the_next(tmp_path: Path) -> None:
    page = see(tmp_path, "pool")
    assert [link.proto.label for link in page.main.get("page_link")][-1] == "Next: Features"


def test_a_pool_that_cannot_be_read_leaves_the_list_usable(tmp_path: Path) -> None:
    page = see(tmp_path, "pool", pool="gone.jsonl")
    assert page.error
    assert list(states(page)) == ORDER


def test_a_signed_batch_is_told_and_so_is_that_the_settings_moved_on(signed: Path) -> None:
    page = see(signed, "design")
    assert states(page)["Sign-off"] == "signed by cat"
    assert states(page)["Review"] == "12/12"
    assert not [text for text in page.sidebar.caption if "moved on" in text.value]
    moved = see(signed, "design", budget="10")
    assert states(moved)["Design"] == "10 labels, changed"
    assert states(moved)["Sign-off"] == "not signed"
    assert [text for text in moved.sidebar.caption if "signed by cat" in text.value and "moved on" in text.value]
    (button,) = [one for one in moved.sidebar.button if one.label == "Open the signed batch"]
    with entered(signed):
        button.click().run()
    opened = see(signed, "design", budget="10", batch=moved.session_state["page_batch"])
    assert states(opened)["Sign-off"] == "signed by cat"
    assert not [text for text in opened.sidebar.caption if "moved on" in text.value]


def test_every_tab_is_titled_by_its_page(tmp_path: Path) -> None:
    titles = []
    with mock.patch("streamlit.set_page_config", side_effect=lambda **told: titles.append(told.get("page_title"))):
        see(tmp_path, "pool")
    assert titles[-1] == "Pool · Pairwright"
