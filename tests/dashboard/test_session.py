"""What a session looks at: a view survives its URL, paths stay inside the allowed folders, the queue is stable."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.dashboard.places import allowed_path, list_features, list_pools, save_upload, stem
from curation.dashboard.view import View, default_budget, scenario_settings, view_from_query
from curation.errors import PoolError
from curation.review.queue import Filter, QueueTable, decision_words, next_pair
from curation.review.store.store import open_store
from curation.settings import DEFAULT_DESIGN, DEFAULT_SPACE, PRESETS


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        View,
        pool=st.sampled_from(["demo", "/a/pool.jsonl"]),
        budget=st.integers(0, 10_000),
        ridge=st.sampled_from([0.06, 1.0, 30.0]),
        dim=st.integers(1, 500),
        normalize=st.booleans(),
        length=st.booleans(),
        pca=st.sampled_from(["within", "raw"]),
        fisher=st.sampled_from(["auto", "uniform"]),
        spread=st.sampled_from(["auto", "balanced", "capped", "free"]),
        max_labels=st.sampled_from([1.0, 3.0, float("inf")]),
        overlap=st.sampled_from([0.0, 0.1]),
        per_prompt=st.integers(0, 50),
        quotas=st.sampled_from(["", "a=1..5;b=..9", "law & order=2..", "a=b=0.5..1.5"]),
        generator_share=st.sampled_from([0.0, 0.25, 1.0]),
        cost=st.sampled_from(["", "characters", "minutes"]),
        select=st.sampled_from(["sample", "exact", "paper"]),
        seed=st.integers(0, 99),
    )
)
def test_a_view_survives_its_url(view):
    assert view_from_query(view.to_query()) == view


@pytest.mark.parametrize(
    "query",
    [
        {"ridge": "-1"},
        {"ridge": "nan"},
        {"dim": "0"},
        {"budget": "x"},
        {"spread": "sideways"},
        {"seed": "-2"},
        {"max_labels": "0"},
        {"select": "magic"},
        {"per_prompt": "-1"},
        {"per_prompt": "1.5"},
        {"quotas": "a"},
        {"quotas": "a=5..1"},
        {"quotas": "a=1..2;a=1..2"},
        {"quotas": "a=nan.."},
        {"generator_share": "1.5"},
        {"generator_share": "-0.1"},
        {"max_length_difference": "-0.1"},
        {"max_length_difference": "nan"},
        {"cost": "  "},
    ],
)
def test_nonsense_in_a_url_is_left_at_the_default(query):
    assert view_from_query(query) == View()


def test_a_bare_address_gets_the_defaults_and_every_address_names_what_was_once_another_default():
    plain = view_from_query({})
    assert plain.design_settings(10) == replace(DEFAULT_DESIGN, budget=10)
    assert plain.space_settings() == DEFAULT_SPACE
    assert set(plain.to_query()) == {"ridge", "spread", "length", "prior_power"}
    before = view_from_query({"ridge": "30", "spread": "auto", "length": "1"})
    assert before.prior_power == 0, "written before there was a prior power"
    assert before.to_query() == {"ridge": "30", "spread": "auto", "length": "1", "prior_power": "0"}


def test_a_scenario_of_the_old_version_keeps_its_settings_and_a_new_one_its_own(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'review.db'}")
    store.record_pool("f" * 16, "pool", "pool.jsonl")
    kept = {
        "old": {"budget": "40", "seed": "3"},  # 0.2.0 left its defaults out
        "light": {"budget": "40", "ridge": "0.1", "length": "0"},
        "new": View(budget=40, ridge=2.0).to_query(),
    }
    for name, query in kept.items():
        store.save_scenario("f" * 16, name, settings=query, figures={})
    found = {s.name: view_from_query(scenario_settings(s.settings)) for s in store.scenarios("f" * 16)}
    store.close()
    assert found == {
        "old": View(budget=40, seed=3, ridge=30.0, prior_power=0.0, spread="auto", length=True),
        "light": View(budget=40, ridge=0.1, prior_power=0.0, spread="auto", length=False),
        "new": View(budget=40, ridge=2.0),
    }


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_the_view_and_is_told_until_something_differs(name):
    own = View(budget=40, dim=12, seed=5, ridge=7.0, cost="minutes", per_prompt=2)
    view = own.with_preset(name)
    assert view.preset == name
    assert (view.budget, view.dim, view.seed, view.cost, view.per_prompt) == (40, 12, 5, "minutes", 2)
    asked = view.design_settings(10)
    assert asked == PRESETS[name].design(asked)
    assert view.space_settings() == PRESETS[name].space(view.space_settings())
    assert view_from_query(view.to_query()).preset == name
    for other in (replace(view, ridge=7.0), replace(view, length=not view.length), replace(view, max_labels=3.0)):
        assert other.preset is None
    assert replace(view, seed=6, budget=9).preset == name


def test_every_preset_governs_the_same_settings():
    assert len({frozenset(preset.values) for preset in PRESETS.values()}) == 1
    assert View().preset == "default"


def test_limits_of_a_view_reach_the_design():
    query = {"per_prompt": "2", "quotas": "a=1..5; b=..9", "generator_share": "0.4", "cost": "minutes"}
    asked = view_from_query(query).design_settings(10)
    assert (asked.per_prompt, asked.generator_share, asked.cost) == (2, 0.4, "minutes")
    assert asked.quotas == (("a", 1.0, 5.0), ("b", 0.0, 9.0))
    plain = View().design_settings(10)
    assert (plain.per_prompt, plain.quotas, plain.generator_share, plain.cost) == (None, (), None, None)


def test_paths_outside_the_allowed_folders_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "workspace"))
    monkeypatch.setenv("CURATION_POOLS", str(tmp_path / "pools"))
    (tmp_path / "pools").mkdir()
    inside, outside = tmp_path / "pools" / "a.jsonl", tmp_path / "secret.jsonl"
    inside.write_text("x")
    outside.write_text("x")
    assert allowed_path(inside) == inside.resolve()
    for path in (outside, tmp_path / "pools" / ".." / "secret.jsonl", "/etc/passwd"):
        with pytest.raises(PoolError, match="outside the folders"):
            allowed_path(path)
    link = tmp_path / "pools" / "link.jsonl"
    link.symlink_to(outside)
    with pytest.raises(PoolError, match="outside the folders"):
        allowed_path(link)
    with pytest.raises(PoolError, match="does not exist"):
        allowed_path(tmp_path / "pools" / "none.jsonl")
    assert inside in list_pools()


def test_an_upload_keeps_a_safe_name_and_its_content(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    path = save_upload("../../etc/po ol.jsonl", b"abc")
    assert path.parent == (tmp_path / "uploads").resolve()
    assert path.name.endswith("po_ol.jsonl")
    assert path.read_bytes() == b"abc"
    assert save_upload("../../etc/po ol.jsonl", b"abc") == path


def test_features_beside_the_pool_and_made_in_the_workspace_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "w"))
    pool = tmp_path / "a.jsonl.gz"
    assert stem(pool) == "a"
    (tmp_path / "a.features.parquet").touch()
    (tmp_path / "ab.features.parquet").touch()
    made = tmp_path / "w" / "features" / "f1-fit.parquet"
    made.parent.mkdir(parents=True)
    made.touch()
    assert list_features(pool, "f1") == [made, tmp_path / "a.features.parquet"]


def test_the_first_budget_follows_the_pool():
    assert [default_budget(p) for p in (2, 62, 300, 9000)] == [10, 37, 180, 500]


def record(key, cost, text="alpha", stratum="s"):
    return {
        "pair_id": key, "prompt_id": key, "prompt": text, "stratum": stratum, "response_a": "one", "response_b": "two",
        "generator_a": "g", "generator_b": "h", "drop_cost": cost, "score": 1.0, "feature_distance": 1.0, "left": "a",
    }  # fmt: skip


def test_the_queue_filters_sorts_and_goes_round():
    records = [record("a", 0.1), record("b", 0.3, "beta", "t"), record("c", 0.2)]
    decisions = {"a": SimpleNamespace(decision="approve"), "c": SimpleNamespace(decision="clear")}
    words = decision_words(decisions, records)
    assert words == {"a": "approve", "b": "undecided", "c": "undecided"}
    table = QueueTable(records)
    assert table.select(words, Filter())["pair_id"].tolist() == ["b", "c", "a"]
    assert table.select(words, Filter(states=("approve",)))["pair_id"].tolist() == ["a"]
    assert table.select(words, Filter(words="BETA"))["pair_id"].tolist() == ["b"]
    assert table.select(words, Filter(strata=("t",), generators=("h",)))["pair_id"].tolist() == ["b"]
    assert table.select(words, Filter(only=("c",)))["pair_id"].tolist() == ["c"]
    assert len(table.select(words, Filter(words="nothing"))) == 0
    assert next_pair(["b", "c", "a"], words, "c") == "b"
    assert next_pair(["a"], words, "a") == "a"
    assert next_pair([], words, None) is None


def test_the_same_file_sent_by_many_sessions_at_once_is_kept_whole_by_all(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    for n in range(20):
        content = bytes([n]) * 300_000
        together = threading.Barrier(6)

        def send(content=content, together=together):
            together.wait()
            path = save_upload("pool.jsonl", content)
            return path.read_bytes()

        with ThreadPoolExecutor(6) as people:
            sent = [people.submit(send) for _ in range(6)]
            assert all(one.result() == content for one in sent)
    assert not list((tmp_path / "uploads").glob(".*"))
    assert len(list((tmp_path / "uploads").iterdir())) == 20


@pytest.mark.parametrize(
    "name",
    ["x" * 4000 + ".jsonl", "字" * 200 + ".jsonl", "a\x00b.jsonl", "\ud800.jsonl", "..", "/", "", ".jsonl", "é.csv"],
)
def test_any_name_of_an_upload_becomes_a_file_of_the_folder(tmp_path, monkeypatch, name):
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    path = save_upload(name, b"abc")
    assert path.parent == (tmp_path / "uploads").resolve()
    assert path.read_bytes() == b"abc"


def test_an_upload_that_cannot_be_kept_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    (tmp_path / "uploads").write_text("a file where the folder should be")
    with pytest.raises(PoolError, match="cannot be kept"):
        save_upload("pool.jsonl", b"abc")


def test_a_pool_of_ones_own_called_demo_is_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    monkeypatch.setenv("CURATION_POOLS", "")
    own = tmp_path / "demo.jsonl"
    own.write_text("x")
    assert list_pools() == [own]
