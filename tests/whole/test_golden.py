"""Nothing that a user relies on changed: ids of batches, the command line, what it prints, addresses of pages.

`tests/golden.py` says how what is held was made. A new command, option, key or page is written down there with the
change that brings it; a test here that fails over something old is right until a commit says why not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import golden
from tests.desk import golden_ids, golden_json, golden_url
from tests.desk.golden_runs import DEMO, call, read, workspace


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


@pytest.fixture(scope="module")
def ids(place: Path) -> dict[str, Any]:
    """Every case solved once, by the command line."""
    found: dict[str, Any] = golden.present("ids.json", place)
    return found


HELD = golden.held("ids.json")


@pytest.mark.parametrize("name", HELD["batches"])
def test_a_batch_of_these_settings_has_the_id_it_had(name: str, ids: dict[str, Any]) -> None:
    found, held = ids["batches"][name], HELD["batches"][name]
    sure = {key: value for key, value in held.items() if value is not None}
    assert {key: found[key] for key in sure} == sure


def test_every_case_is_held_and_most_with_their_drawn_pairs(ids: dict[str, Any]) -> None:
    assert ids["batches"].keys() == HELD["batches"].keys()
    assert set(golden_ids.CASES) <= set(HELD["batches"])
    settings_ids = {held["settings_id"] for name, held in HELD["batches"].items() if name in golden_ids.CASES}
    assert len(settings_ids) == len(golden_ids.CASES) - len(golden_ids.NO_ID)  # every setting but these changes the id
    assert sum(held["batch_id"] is not None for held in HELD["batches"].values()) > len(HELD["batches"]) / 2


def test_an_id_is_what_its_folder_says_digested(ids: dict[str, Any], place: Path) -> None:
    """The digest of tests/desk/golden_ids.py, written a second time, gives every batch's own id."""
    folders = [path for path in (place / "batches").iterdir() if path.is_dir()]
    assert len(folders) > len(golden_ids.CASES)
    for folder in folders:
        manifest = read(folder)[0]
        assert golden_ids.digest(manifest, golden_ids.drawn(folder)) == manifest["batch_id"], folder.name


def test_a_batch_folder_has_the_files_and_columns_it_had(ids: dict[str, Any]) -> None:
    assert ids["folder"] == HELD["folder"]


def test_the_same_seed_gives_the_same_batch_to_the_byte(tmp_path: Path) -> None:
    features = DEMO.with_name("demo.features.parquet")
    with workspace(tmp_path):
        for name in ("one", "two"):
            call("solve", DEMO, "--features", features, "--budget", 12, "--out", tmp_path / name)
    assert (tmp_path / "one" / "batch.jsonl").read_bytes() == (tmp_path / "two" / "batch.jsonl").read_bytes()


def test_commands_options_defaults_and_help_are_what_they_were() -> None:
    assert golden.help_text().splitlines() == golden.held("help.txt").splitlines()


@pytest.mark.parametrize("name", ["json_keys.json", pytest.param("json_keys_slow.json", marks=pytest.mark.slow)])
def test_commands_print_the_keys_they_printed(name: str, tmp_path: Path) -> None:
    found, held = golden.present(name, tmp_path), golden.held(name)
    assert found.keys() == held.keys()
    for command in held:
        assert golden_json.fits(found[command], held[command]), (command, found[command], held[command])


def test_a_shape_that_differs_does_not_fit() -> None:
    held = golden_json.shape(golden_json.kind({"a": 1, "b": {"c": "x", "d": None}, "e": []}))
    assert golden_json.fits(golden_json.shape(golden_json.kind({"a": 0.5, "b": {"c": "", "d": 3}, "e": ["f"]})), held)
    for other in ({"a": "1"}, {"b": {"c": "x"}}, {"b": {"c": "x", "d": 1, "n": 1}}, {"e": {}}):
        changed = {"a": 1, "b": {"c": "x", "d": None}, "e": []} | other
        assert not golden_json.fits(golden_json.shape(golden_json.kind(changed)), held), other


def test_pages_and_addresses_are_what_they_were(tmp_path: Path) -> None:
    found, held = golden.present("url.json", tmp_path), golden.held("url.json")
    assert found == held
    assert found["unusual"] == golden_url.ALL  # what is asked for in an address stands in it, to the digit


def test_every_setting_of_a_view_has_a_key_that_is_held() -> None:
    assert golden_url.keys() == set(golden_url.ALL)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault of an address
@given(
    st.fixed_dictionaries(
        {
            "ridge": st.floats(1e-12, 1e12), "prior_power": st.floats(0, 1), "temperature": st.floats(1e-3, 1e6),
            "generator_share": st.floats(0, 1), "max_length_difference": st.floats(0, 100), "overlap": st.floats(0, 0.5),
            "max_labels": st.floats(1), "budget": st.integers(0, 10_000_000), "seed": st.integers(0, 2**53 - 1),
            "dim": st.integers(1, 100_000), "per_prompt": st.integers(0, 10_000_000),
        }
    )
)  # fmt: skip
def test_any_number_survives_an_address(values: dict[str, Any]) -> None:
    assert golden_url.round_trip(values) == values
