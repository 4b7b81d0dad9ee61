"""`decide FILE`: a file that comes again overrules nothing that was decided meanwhile, and says what it left."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.review.register import decide_from_file
from curation.review.store.store import Store
from tests.desk.signing import batch_id, pairs


def file(folder: Path, rows: list[str], header: str = "pair_id,decision,reason") -> Path:
    path = folder.parent / "decisions.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_decision_made_meanwhile_is_named_and_kept(desk: tuple[Path, Store]) -> None:
    folder, store = desk
    keys, key = pairs(folder), batch_id(folder)
    store.decide_many(key, keys, "clear", who="ana")
    path = file(folder, [f"{pair},approve," for pair in keys])
    assert decide_from_file(folder, path, who="ana", store=store)["recorded"] == len(keys)
    store.decide(key, keys[1], "reject", who="bea", reason="both poor")
    store.decide(key, keys[2], "flag", who="ana")  # the same person, by hand
    told = decide_from_file(folder, path, who="ana", store=store)
    assert [(kept["pair_id"], kept["decision"], kept["who"]) for kept in told["kept"]] == [
        (keys[1], "reject", "bea"),
        (keys[2], "flag", "ana"),
    ]
    assert {pair: store.decisions(key)[pair].decision for pair in keys[:4]} == dict(
        zip(keys, ["approve", "reject", "flag", "approve"], strict=False)
    )


def test_the_file_s_own_earlier_decisions_may_be_corrected_and_cleared_ones_decided_again(
    desk: tuple[Path, Store],
) -> None:
    folder, store = desk
    keys, key = pairs(folder), batch_id(folder)
    store.decide_many(key, keys, "clear", who="ana")
    decide_from_file(folder, file(folder, [f"{pair},approve," for pair in keys]), who="ana", store=store)
    told = decide_from_file(folder, file(folder, [f"{keys[0]},reject,both poor"]), who="ana", store=store)
    assert (told["recorded"], told["kept"]) == (1, [])
    store.undo_action(key, who="ana")
    assert store.decisions(key)[keys[0]].decision == "approve"


def test_a_pair_that_somebody_decided_before_the_first_file_is_kept_unless_its_version_is_given(
    desk: tuple[Path, Store],
) -> None:
    folder, store = desk
    keys, key = pairs(folder), batch_id(folder)  # bea approved all of them
    told = decide_from_file(
        folder, file(folder, [f"{keys[0]},reject,both poor", f"{keys[1]},approve,"]), who="cat", store=store
    )
    assert told["recorded"] == 0
    assert [kept["pair_id"] for kept in told["kept"]] == [keys[0]]
    header = "pair_id,decision,reason,version"
    for version, recorded in ((0, 0), (told["kept"][0]["version"], 1), (told["kept"][0]["version"], 0)):
        rows = [f"{keys[0]},reject,both poor at {version},{version}"]
        assert decide_from_file(folder, file(folder, rows, header), who="cat", store=store)["recorded"] == recorded
    assert store.decisions(key)[keys[0]].decision == "reject"


def test_a_decision_that_comes_while_the_file_is_being_written_is_kept(
    desk: tuple[Path, Store],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, store = desk
    keys, key = pairs(folder), batch_id(folder)
    store.decide_many(key, keys, "clear", who="ana")
    record, once = store.record_decisions, iter([True])

    def late(*given, **named):  # type: ignore[no-untyped-def]
        if named.get("filed") and next(once, False):
            record(key, [type(given[1][0])(keys[3], "flag")], who="bea")
        return record(*given, **named)

    monkeypatch.setattr(store, "record_decisions", late)
    told = decide_from_file(folder, file(folder, [f"{pair},approve," for pair in keys]), who="ana", store=store)
    assert [kept["pair_id"] for kept in told["kept"]] == [keys[3]]
    assert told["recorded"] == len(keys) - 1
    assert store.decisions(key)[keys[3]].decision == "flag"


def test_a_version_that_is_no_number_is_refused(desk: tuple[Path, Store]) -> None:
    from curation.errors import StoreError

    folder, store = desk
    path = file(folder, [f"{pairs(folder)[0]},approve,,x"], "pair_id,decision,reason,version")
    with pytest.raises(StoreError, match="line 2: version 'x'"):
        decide_from_file(folder, path, who="ana", store=store)


def test_a_version_that_was_never_reached_is_refused_and_nothing_is_written(desk: tuple[Path, Store]) -> None:
    from curation.errors import StoreError

    folder, store = desk
    keys, key = pairs(folder), batch_id(folder)
    before = store.history(key)
    present = store.decisions(key)[keys[1]].version
    rows = [f"{keys[0]},flag,,", f"{keys[1]},flag,,{present + 5}"]
    with pytest.raises(StoreError, match=rf"pair {keys[1]} has no version {present + 5}: its present one is {present}"):
        decide_from_file(folder, file(folder, rows, "pair_id,decision,reason,version"), who="ana", store=store)
    assert store.history(key) == before
