"""Somebody who may only look: every call of the service layer that would change a batch refuses, and nothing is written."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sqlite3
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from curation.batch.folder import read_batch
from curation.dashboard.exclusions import exclude_more
from curation.dashboard.jobs import cancel_job, start_features_job, start_job
from curation.dashboard.places import save_upload
from curation.errors import StoreError
from curation.exchange.receive import import_labels
from curation.exchange.second_rater import rate
from curation.exchange.send import export_batch, export_signed, export_trl
from curation.experiments.judge import EndpointJudge
from curation.review.again import design_again, plan_pilot
from curation.review.desk import keep_desk
from curation.review.register import decide_from_file, record_batch, save_for_review
from curation.review.settling import settle
from curation.review.signoff import sign_batch
from curation.review.store.batches import NewBatch
from curation.review.store.decisions import new_decision
from curation.review.store.store import Store
from curation.review.topup import reject_and_replace, top_up
from curation.settings import DesignSettings
from tests.desk.viewing import POOL, contents, files_of

CALLS: dict[str, Callable[[Any], Any]] = {
    "decide": lambda d: d.store.decide(d.batch.batch_id, d.keys[0], "approve", who=d.who),
    "decide_many": lambda d: d.store.decide_many(d.batch.batch_id, d.keys, "approve", who=d.who),
    "record_decisions": lambda d: d.store.record_decisions(
        d.batch.batch_id, [new_decision(d.keys[0], "approve", None, None)], who=d.who
    ),
    "undo_action": lambda d: d.store.undo_action(d.batch.batch_id, who=d.who),
    "decide_from_file": lambda d: decide_from_file(d.batch.path, d.csv, who=d.who, store=d.store),
    "comment": lambda d: d.store.comment(d.batch.batch_id, d.keys[0], "fine", who=d.who),
    "sign_batch": lambda d: sign_batch(d.batch.path, who=d.who, store=d.store),
    "record_signature": lambda d: d.store.record_signature(d.batch.batch_id, who=d.who, body={}, second_person=False),
    "export_batch": lambda d: export_batch(
        d.batch.path, to="jsonl", out=d.folder / "o.jsonl", who=d.who, store=d.store
    ),
    "export_signed": lambda d: export_signed(d.batch.path, to="csv", out=d.folder / "o.csv", who=d.who, store=d.store),
    "import_labels": lambda d: import_labels(d.batch.path, d.labels, who=d.who, store=d.store),
    "rate": lambda d: rate(d.batch.path, judge_of(d), name="m", who=d.who, store=d.store),
    "a copy of the batch, rated": lambda d: rate(d.copied(), judge_of(d), name="m", who=d.who, store=d.store),
    "top_up": lambda d: top_up(d.batch.path, d.pool, d.features, who=d.who, store=d.store),
    "reject_and_replace": lambda d: reject_and_replace(
        d.batch.path, d.pool, d.features, d.keys[0], (0, 0, 1), who=d.who, store=d.store
    ),
    "set_role": lambda d: d.store.set_role(d.who, "admin", who=d.who),
    "set_role none": lambda d: d.store.set_role("bea", "none", who=d.who),
    "record_pool": lambda d: d.store.record_pool(POOL, "renamed", "/etc/passwd", who=d.who),
    "record_batch": lambda d: d.store.record_batch(NewBatch("9" * 16, pool_name="theirs", **BATCH), who=d.who),
    "save_scenario": lambda d: d.store.save_scenario(POOL, "mine", settings={}, figures={}, who=d.who),
    "replace a scenario": lambda d: d.store.save_scenario(
        POOL, "kept", settings={}, figures={}, replace=True, who=d.who
    ),
    "delete_scenario": lambda d: d.store.delete_scenario(POOL, "kept", who=d.who),
    "keep_desk": lambda d: keep_desk(d.store, d.batch.batch_id, {"blind": True}, who=d.who),
    "exclude_more": lambda d: exclude_more(d.pool, "", [], who=d.who, store=d.store),
    "save_view": lambda d: d.store.save_view("mine", {"filter_words": "x"}, who=d.who),
    "delete_view": lambda d: d.store.delete_view("mine", who=d.who),
    "record_labels": lambda d: d.store.record_labels(
        d.batch.batch_id, [], file="x", sha256="", format="csv", counts={}, who=d.who
    ),
    "record_export": lambda d: d.store.record_export(
        d.batch.batch_id, format="csv", file="x", sha256="", rows=1, left_out={}, signed=False, who=d.who
    ),
    "settle_pair": lambda d: d.store.settle_pair(d.batch.batch_id, d.keys[0], "a", who=d.who),
    "settle": lambda d: settle(d.batch.path, d.keys[0], "a", who=d.who, store=d.store),
    "export_trl": lambda d: export_trl(d.batch.path, d.folder / "t.jsonl", who=d.who, store=d.store),
    "a copy of the batch, decided": lambda d: decide_from_file(d.copied(), d.csv, who=d.who, store=d.store),
    "a copy of the batch, signed": lambda d: sign_batch(d.copied(), who=d.who, store=d.store),
    "a copy of the batch, exported": lambda d: export_batch(
        d.copied(), to="jsonl", out=d.folder / "o.jsonl", who=d.who, store=d.store
    ),
    "a copy of the batch, labels imported": lambda d: import_labels(d.copied(), d.labels, who=d.who, store=d.store),
    "a folder of one's own, decided": lambda d: decide_from_file(d.copied("7" * 16), d.csv, who=d.who, store=d.store),
    "a folder of one's own, signed": lambda d: sign_batch(d.copied("7" * 16), who=d.who, store=d.store),
    "handover.record_batch": lambda d: record_batch(d.store, read_batch(d.copied("7" * 16)), who=d.who),
    "save_for_review": lambda d: save_for_review(d.made, pinned=[], excluded=[], store=d.store, who=d.who),
    "go_on": lambda d: d.store.go_on(
        d.batch.batch_id, NewBatch("9" * 16, **BATCH), present=d.keys, gone=[], publish=d.copied, who=d.who
    ),
    "design_again": lambda d: design_again(d.lesson, DesignSettings(budget=5), store=d.store, who=d.who),
    "plan_pilot": lambda d: plan_pilot(d.made.prepared, d.made.settings, 5, store=d.store, who=d.who),
    "start_job": lambda d: start_job("synthetic", "tabular", {"kind": "tabular", "seeds": 1}, who=d.who, store=d.store),
    "start_features_job": lambda d: start_features_job(d.pool_file, POOL, model="fit", who=d.who, store=d.store),
    "cancel_job": lambda d: cancel_job("0" * 12, who=d.who, store=d.store),
    "save_upload": lambda d: save_upload("u.csv", b"a,b\n", who=d.who, store=d.store),
}
BATCH: dict[str, Any] = {
    "folder": "/x", "pool_fingerprint": POOL, "features_fingerprint": "f" * 16, "budget": 1.0, "settings": {},
    "objective": None, "lower_bound": None, "realised": None,
}  # fmt: skip


def judge_of(d: Any) -> EndpointJudge:
    """A judge that nobody may ask: no request is waited for."""
    return EndpointJudge("http://127.0.0.1:9/v1", "m", d.folder / "judge.sqlite", retries=0)


@pytest.mark.parametrize("who", ["vic", "nobody named"])
def test_no_call_lets_a_viewer_or_a_stranger_change_anything(ready: Any, who: str) -> None:
    ready.who = who
    ready.copied()
    before, files = contents(ready.store.place), files_of(ready.folder)
    for name, call in CALLS.items():
        with pytest.raises(StoreError, match="may not do this"):
            call(ready)
        assert contents(ready.store.place) == before, name
        assert files_of(ready.folder) == files, name


READS = (
    "batches binding check_log close comments decided decisions decisions_after events exports history imports "
    "keep_head labels log_report may people require scenarios settlements standing tallies views"
).split()


def test_every_method_of_the_store_reads_or_stands_among_the_calls_that_ask() -> None:
    public = [name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")]
    assert set(public) == {*READS, *(name for name in CALLS if hasattr(Store, name))}
    for name in public:
        used = attributes_of(getattr(Store, name))
        assert "_writer" not in used, f"{name} writes past the gate"
        if name in READS:
            assert not used & {"_act", *(call for call in CALLS if hasattr(Store, call))}, f"{name} writes"


def attributes_of(function: Any) -> set[str]:
    """Names of the attributes a function's code uses."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


SERVICE_READS = {
    "curation.review.again.labelled_batches", "curation.review.again.lesson", "curation.review.earlier.earlier_batches",
    "curation.exchange.receive.label_report", "curation.review.checklist.checklist", "curation.review.register.check_recorded",
    "curation.review.register.seeds_of", "curation.review.signoff.verify_batch", "curation.exchange.second_rater.estimate",
    "curation.review.again.design_meanwhile", "curation.review.desk.kept_desk", "curation.review.desk.named_views",
    "curation.review.may_sign.hindrance", "curation.review.outline.outline", "curation.review.outline.pace_of",
    "curation.review.overview.batch_states",
}  # fmt: skip


def test_every_function_that_is_given_a_store_reads_or_stands_among_the_calls_that_ask() -> None:
    import curation

    asked = {name.split(".")[-1] for name in CALLS}
    found = set()
    for module in pkgutil.walk_packages(curation.__path__, "curation."):
        if module.name == "curation.__main__" or ".migrations" in module.name:
            continue
        loaded = importlib.import_module(module.name)
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            if function.__module__ == module.name and "store" in inspect.signature(function).parameters:
                found.add(f"{module.name}.{name}")
    public = {name for name in found if not name.split(".")[-1].startswith("_")}
    assert {name for name in public if name.split(".")[-1] not in asked} == SERVICE_READS


def test_somebody_who_may_is_not_refused_by_the_same_calls(ready: Any) -> None:
    ready.who = "ada"
    for name in ("decide", "record_pool", "save_scenario", "delete_scenario", "save_view", "export_trl", "save_upload"):
        CALLS[name](ready)
    sent = ready.store.exports(ready.batch.batch_id)[-1]
    assert (sent.format, sent.who, sent.signed) == ("trl", "ada", False)
    last = ready.store.events(ready.batch.batch_id)[-1]
    assert (last.kind, last.who, last.body["format"], last.body["sha256"]) == ("export", "ada", "trl", sent.sha256)
    assert ready.store.check_log(ready.batch.batch_id) == []


def test_comments_are_kept_in_order_and_a_changed_one_is_found(ready: Any) -> None:
    store, batch = ready.store, ready.batch
    store.comment(batch.batch_id, ready.keys[0], " looks odd ", who="bea")
    store.comment(batch.batch_id, ready.keys[0], "agreed", who="ada")
    store.comment(batch.batch_id, ready.keys[1], "<b>fine</b>", who="bea")
    said = store.comments(batch.batch_id)
    assert [(c.who, c.text) for c in said[ready.keys[0]]] == [("bea", "looks odd"), ("ada", "agreed")]
    assert said[ready.keys[1]][0].text == "<b>fine</b>"
    with pytest.raises(StoreError, match="1 to 4,000 characters"):
        store.comment(batch.batch_id, ready.keys[0], "   ", who="bea")
    with sqlite3.connect(store.place) as connection:
        connection.execute("UPDATE events SET body = replace(body, 'agreed', 'refused') WHERE kind = 'comment'")
    assert store.check_log(batch.batch_id), "the log no longer holds"
