"""What a session looks at: a view survives its URL, paths stay inside the allowed folders, the queue is stable."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import PoolError
from curation.queue import Filter, decision_words, next_pair, review_queue
from curation.session import (
    View,
    allowed_path,
    default_budget,
    list_features,
    list_pools,
    save_upload,
    stem,
    view_from_query,
)


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
        {"cost": "  "},
    ],
)
def test_nonsense_in_a_url_is_left_at_the_default(query):
    assert view_from_query(query) == View()


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
        "generator_a": "g", "generator_b": "h", "drop_cost": cost, "score": 1.0, "feature_distance": 1.0,
    }  # fmt: skip


def test_the_queue_filters_sorts_and_goes_round():
    records = [record("a", 0.1), record("b", 0.3, "beta", "t"), record("c", 0.2)]
    decisions = {"a": SimpleNamespace(decision="approve"), "c": SimpleNamespace(decision="clear")}
    words = decision_words(decisions, records)
    assert words == {"a": "approve", "b": "undecided", "c": "undecided"}
    assert review_queue(records, words, Filter())["pair_id"].tolist() == ["b", "c", "a"]
    assert review_queue(records, words, Filter(states=("approve",)))["pair_id"].tolist() == ["a"]
    assert review_queue(records, words, Filter(words="BETA"))["pair_id"].tolist() == ["b"]
    assert review_queue(records, words, Filter(strata=("t",), generators=("h",)))["pair_id"].tolist() == ["b"]
    assert review_queue(records, words, Filter(only=("c",)))["pair_id"].tolist() == ["c"]
    assert len(review_queue(records, words, Filter(words="nothing"))) == 0
    assert next_pair(["b", "c", "a"], words, "c") == "b"
    assert next_pair(["a"], words, "a") == "a"
    assert next_pair([], words, None) is None
