"""Decisions, files of decisions, batches and scenarios in the store: what is written stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.errors import StoreError
from curation.review.store.batches import NewBatch
from curation.review.store.decisions import new_decision, read_decisions_csv
from tests.desk.stores import BATCH, POOL, pools


def test_the_newest_decision_holds_and_the_history_keeps_all(store):
    store.decide(BATCH, "p1", "approve", who="ana")
    store.decide(BATCH, "p1", "flag", who="bo", note="look again")
    store.decide(BATCH, "p2", "approve", who="ana")
    assert {key: d.decision for key, d in store.decisions(BATCH).items()} == {"p1": "flag", "p2": "approve"}
    assert [(d.version, d.decision, d.who) for d in store.history(BATCH, "p1")] == [
        (1, "approve", "ana"),
        (2, "flag", "bo"),
    ]
    assert len(store.history(BATCH)) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"decision": "reject"}, "without a reason"),
        ({"decision": "reject", "reason": "  "}, "without a reason"),
        ({"decision": "maybe"}, "'maybe'.*unknown"),
        ({"decision": "approve", "who": " "}, "nobody is named"),
        ({"decision": "approve", "pair_id": ""}, "pair_id"),
        ({"decision": "approve", "batch_id": "other"}, "batch other is not in the review store"),
        ({"decision": "approve", "note": "\ud800"}, "cannot be used"),
    ],
)
def test_a_decision_that_breaks_a_rule_is_refused_and_not_written(store, arguments, words):
    given = {"batch_id": BATCH, "pair_id": "p1", "who": "ana", **arguments}
    with pytest.raises(StoreError, match=words):
        store.decide(given.pop("batch_id"), given.pop("pair_id"), given.pop("decision"), **given)
    assert store.history(BATCH) == []


def test_a_newer_decision_is_not_overwritten_and_the_error_says_whose_it_is(store):
    seen = store.decide(BATCH, "p1", "approve", who="ana")
    theirs = store.decide(BATCH, "p1", "flag", who="bo", expected_version=seen.version)
    with pytest.raises(StoreError, match=rf"flag.*by bo at {theirs.at:%Y-%m-%d %H:%M:%S} UTC"):
        store.decide(BATCH, "p1", "reject", who="ana", reason="bad", expected_version=seen.version)
    with pytest.raises(StoreError, match="by bo"):
        store.decide(BATCH, "p1", "approve", who="cy", expected_version=0)
    assert store.decisions(BATCH)["p1"].decision == "flag"
    assert store.decide(BATCH, "p2", "approve", who="ana", expected_version=0).version == 1


def test_many_decisions_are_all_or_none(store):
    store.decide(BATCH, "p2", "flag", who="bo")
    with pytest.raises(StoreError, match=r"pair p2 .* by bo"):
        store.decide_many(BATCH, ["p1", "p2"], "approve", who="ana", expected_versions={"p1": 0, "p2": 0})
    assert set(store.decisions(BATCH)) == {"p2"}
    done = store.decide_many(BATCH, ["p1", "p2", "p1"], "approve", who="ana", expected_versions={"p2": 1})
    assert [(d.pair_id, d.version) for d in done] == [("p1", 1), ("p2", 2)]
    assert store.decide_many(BATCH, [], "approve", who="ana") == []


# Undo ---------------------------------------------------------------------------------------------------------------


def test_undo_walks_back_through_this_persons_decisions_only(store):
    store.decide(BATCH, "p1", "approve", who="ana", note="fine")
    store.decide(BATCH, "p9", "flag", who="bo")
    store.decide(BATCH, "p1", "reject", who="ana", reason="no")
    store.decide(BATCH, "p2", "flag", who="ana")
    steps = [store.undo_action(BATCH, who="ana") for _ in range(4)]
    assert [[(s.pair_id, s.decision, s.note) for s in step] for step in steps] == [
        [("p2", "clear", None)],
        [("p1", "approve", "fine")],
        [("p1", "clear", None)],
        [],
    ]
    assert {k: d.decision for k, d in store.decisions(BATCH).items()} == {"p1": "clear", "p2": "clear", "p9": "flag"}
    assert len(store.history(BATCH)) == 7  # nothing was removed


def test_a_decision_after_an_undo_is_the_next_to_be_taken_back(store):
    store.decide(BATCH, "p1", "approve", who="ana")
    store.undo_action(BATCH, who="ana")
    store.decide(BATCH, "p1", "flag", who="ana")
    assert [made.decision for made in store.undo_action(BATCH, who="ana")] == ["clear"]
    assert store.undo_action(BATCH, who="ana") == []


def test_undo_does_not_overwrite_a_later_decision_of_somebody_else(store):
    store.decide(BATCH, "p1", "approve", who="ana")
    store.decide(BATCH, "p1", "reject", who="bo", reason="cut off")
    with pytest.raises(StoreError, match=r"reject.*by bo"):
        store.undo_action(BATCH, who="ana")
    assert store.decisions(BATCH)["p1"].decision == "reject"
    assert [made.decision for made in store.undo_action(BATCH, who="bo")] == ["approve"]
    assert [made.decision for made in store.undo_action(BATCH, who="ana")] == ["clear"]


def test_undo_of_an_act_takes_back_all_it_decided_and_leaves_what_others_changed(store):
    store.decide(BATCH, "p1", "flag", who="ana")
    store.decide_many(BATCH, ["p1", "p2", "p3"], "approve", who="ana")
    store.decide(BATCH, "p3", "reject", who="bo", reason="cut off")
    assert {d.pair_id: d.decision for d in store.undo_action(BATCH, who="ana")} == {"p1": "flag", "p2": "clear"}
    assert store.decisions(BATCH)["p3"].who == "bo"
    with pytest.raises(StoreError, match="by bo"):
        store.undo_action(BATCH, who="ana")
    assert store.undo_action(BATCH, who="nobody else") == []


# Decisions from a file ----------------------------------------------------------------------------------------------


def decisions_file(tmp_path: Path, text: str, **how) -> Path:
    path = tmp_path / "decisions.csv"
    path.write_bytes(text.encode(**how))
    return path


def test_a_csv_is_read_in_order_with_its_reasons_and_notes(tmp_path, store):
    text = 'pair_id,decision,reason,note\np1,approve,,\n\np2,Reject,"cut, off","two\nlines"\np3,flag,,x\np1,approve,,\n'
    rows = read_decisions_csv(decisions_file(tmp_path, text, encoding="utf-8-sig"), {"p1", "p2", "p3"})
    assert rows == [
        new_decision("p1", "approve"),
        new_decision("p2", "reject", "cut, off", "two\nlines"),
        new_decision("p3", "flag", note="x"),
    ]
    written = store.record_decisions(BATCH, rows, who="ana")
    assert len({d.action for d in written}) == 1
    assert store.decisions(BATCH)["p2"].note == "two\nlines"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("p1,approve,,\nzz,approve,,\n", "line 3: pair_id 'zz' is not in this batch"),
        ("p1,yes,,\n", "line 2: decision 'yes' is unknown"),
        ("p1,clear,,\n", "line 2: decision 'clear' is unknown"),
        ("p1,reject,,\n", "line 2: pair p1 is rejected without a reason"),
        ('p1,approve,,"two\nlines"\np1,flag,,\n', "line 4: pair p1 is decided otherwise on line 2"),
        ("p1,approve,too,many,cells\n", "line 2: more cells"),
        ("zz,approve,,\np1,yes,,\n", "line 2: .*line 3: "),
        ("", "no decisions"),
        ('p1,approve,,"never closed\n', "not a UTF-8 CSV"),
    ],
)
def test_one_bad_line_is_named_and_nothing_is_written(tmp_path, store, rows, words):
    path = decisions_file(tmp_path, "pair_id,decision,reason,note\n" + rows)
    with pytest.raises(StoreError, match=words):
        store.record_decisions(BATCH, read_decisions_csv(path, {"p1", "p2"}), who="ana")
    assert store.history(BATCH) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"pair;decision\np1;approve\n", "needs pair_id and decision"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"", "needs pair_id and decision"),
    ],
)
def test_a_file_of_another_shape_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "decisions.csv"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"decisions\.csv.*{words}"):
        read_decisions_csv(path, {"p1"})
    with pytest.raises(StoreError, match="cannot be read"):
        read_decisions_csv(tmp_path / "absent.csv", {"p1"})


# Pools, batches, scenarios, exports ---------------------------------------------------------------------------------


def test_recording_again_updates_the_pool_and_only_moves_the_batch(store):
    first = store.batches(POOL)[0]
    store.record_pool(POOL, "renamed", None)
    moved = NewBatch(
        BATCH, folder="/moved", pool_fingerprint=POOL, features_fingerprint="", budget=1, settings={}, objective=None,
        lower_bound=None, realised=None,
    )  # fmt: skip
    again = store.record_batch(moved, who="bo")
    assert pools(store) == [("renamed", "/data/pool.jsonl")]
    store.record_pool(POOL, "renamed", Path("/moved/pool.jsonl"))
    store.record_pool("second", "second")
    assert pools(store) == [("renamed", "/moved/pool.jsonl"), ("second", None)]
    assert again.folder == "/moved"
    assert (again.budget, again.created_by, again.created_at) == (first.budget, "ana", first.created_at)
    assert len(store.batches()) == 1
    assert store.batches("another pool") == []


def test_a_batch_needs_a_recorded_pool_and_keeps_to_it(store):
    rest = {
        "folder": "/x",
        "features_fingerprint": "",
        "budget": 1,
        "settings": {},
        **dict.fromkeys(("objective", "lower_bound", "realised")),
    }
    with pytest.raises(StoreError, match="pool unknown is not in the review store"):
        store.record_batch(NewBatch("new", pool_fingerprint="unknown", **rest), who="ana")
    store.record_pool("second", "second")
    with pytest.raises(StoreError, match="is recorded for pool"):
        store.record_batch(NewBatch(BATCH, pool_fingerprint="second", **rest), who="ana")


def test_scenario_names_are_unique_within_a_pool_and_replaced_only_when_asked(store):
    store.record_pool("second", "second")
    store.save_scenario(POOL, "a", settings={"ridge": 3}, figures={})
    store.save_scenario("second", "a", settings={}, figures={})
    with pytest.raises(StoreError, match="'a' exists"):
        store.save_scenario(POOL, " a ", settings={"ridge": 30}, figures={})
    assert store.scenarios(POOL)[0].settings == {"ridge": 3}
    store.save_scenario(POOL, "a", settings={"ridge": 30}, figures={}, replace=True)
    assert [s.settings for s in store.scenarios(POOL)] == [{"ridge": 30}]
    assert store.delete_scenario(POOL, "a") is True
    assert store.delete_scenario(POOL, "a") is False
    assert len(store.scenarios("second")) == 1
    with pytest.raises(StoreError, match="needs a name"):
        store.save_scenario(POOL, "  ", settings={}, figures={})
    with pytest.raises(StoreError, match="cannot be stored"):
        store.save_scenario(POOL, "b", settings={"x": object()}, figures={})


def test_exports_belong_to_a_recorded_batch(store):
    with pytest.raises(StoreError, match="batch other is not"):
        store.record_export("other", format="csv", file="x", sha256="", rows=1, left_out={}, signed=True, who="ana")
    assert store.exports() == []
