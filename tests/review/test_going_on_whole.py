"""A batch goes on whole or not at all: kill -9 at every step, several at once, on both databases."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import event

from curation.batch import writing
from curation.batch.folder import read_batch
from curation.errors import StoreError
from curation.review.register import record_batch
from curation.review.store import anchor
from curation.review.store.store import Store, open_store
from curation.review.topup import REPLACED, ToppedUp, reject_and_replace, top_up
from curation.run.solve import solve
from curation.system.outputs import locked_place
from tests.desk.stores import at_once, errors, stores


class Desk:
    """A reviewed batch of which the first pair is to be replaced, or the first four were rejected."""

    def __init__(self, database: str, solved: dict[str, Any], home: Path, kind: str) -> None:
        self.database, self.home, self.kind = database, home, kind
        self.pool, self.features, self.prepared = solved["pool"], solved["features"], solved["made"].prepared
        self.batch = read_batch(solved["folder"])
        self.keys = [record["pair_id"] for record in self.batch.records]
        self.rejected = self.keys[:1] if kind == "replace" else self.keys[:4]
        store = open_store(database)
        record_batch(store, self.batch, who="ana")
        store.decide_many(self.batch.batch_id, self.keys[len(self.rejected) :], "approve", who="bea")
        if kind == "fill up":
            store.decide_many(self.batch.batch_id, self.rejected, "reject", who="bea", reason="other")
        store.close()

    def act(self, store: Store, *, who: str = "cat", take: int = 0) -> ToppedUp:
        """take: which of the pairs that are not in the batch takes the place."""
        given: Any = (self.batch.path, self.pool, self.features)
        if self.kind == "fill up":
            return top_up(*given, who=who, store=store, prepared=self.prepared)
        return reject_and_replace(
            *given, self.keys[0], self.free()[take], who=who, store=store, expected_version=0, prepared=self.prepared
        )

    def free(self) -> list[tuple[int, int, int]]:
        """Pairs of prompts that the batch leaves out."""
        present = {record["prompt_id"] for record in self.batch.records}
        return [(x, 0, 1) for x, prompt in enumerate(self.pool.prompts) if prompt.prompt_id not in present]

    def new(self) -> str | None:
        """The id of the batch that goes on; None where all is as it was. Anything between the two fails."""
        store = open_store(self.database)
        try:
            recorded = {one.batch_id: Path(one.folder) for one in store.batches()}
            for batch_id, folder in recorded.items():
                assert read_batch(folder).batch_id == batch_id, "every recorded batch has its folder"
                assert store.check_log(batch_id) == []
            old = store.decisions(self.batch.batch_id)
            ids = set(recorded) - {self.batch.batch_id}
            if not ids:
                assert self.kind == "fill up" or self.keys[0] not in old
                return None
            (batch_id,) = ids
            if self.kind == "replace":
                assert (old[self.keys[0]].decision, old[self.keys[0]].reason) == ("reject", REPLACED)
            kept = {key: made.decision for key, made in store.decisions(batch_id).items()}
            assert kept == dict.fromkeys(self.keys[len(self.rejected) :], "approve")
            return batch_id
        finally:
            store.close()


@pytest.fixture(params=["replace", "fill up"])
def desk(
    request: pytest.FixtureRequest,
    database: str,
    solved: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """Every design is solved once: what is tried here comes after."""
    known: dict[str, Any] = {}

    def once(*given: Any, **named: Any) -> Any:
        key = repr((named["pinned"], named["excluded"]))
        if key not in known:
            known[key] = solve(*given, **named, with_baselines=False)
        return known[key]

    monkeypatch.setattr("curation.review.topup.solve", once)
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    return Desk(database, solved, tmp_path / "home", request.param)


def killed_at(step: int | str, desk: Desk) -> bool:
    """Whether the act, in a process of its own, came to a step, by number or name, at which it was killed."""

    def run() -> None:
        store, count = open_store(desk.database), [0]

        def tick(name: str) -> None:
            count[0] += 1
            if step in (count[0], name):
                os.kill(os.getpid(), signal.SIGKILL)

        def around(place: Any, name: str) -> Any:
            work = getattr(place, name)

            def done(*given: Any, **named: Any) -> Any:
                tick(f"before {name}")
                result = work(*given, **named)
                tick(f"after {name}")
                return result

            return mock.patch.object(place, name, done)

        for moment in ("before_cursor_execute", "begin", "commit"):
            event.listen(store._engine, moment, lambda *_, moment=moment: tick(moment))
        with around(writing, "_write_files"), around(writing, "_swap"), around(anchor, "keep"):
            desk.act(store)
        os._exit(0)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(120)
    assert child.exitcode in (0, -signal.SIGKILL), "the act failed"
    return child.exitcode != 0


def test_a_kill_at_a_moment_that_matters_leaves_the_old_state_or_the_new_one(desk: Desk) -> None:
    place = desk.home / "batches"
    for moment in ("before _write_files", "after _write_files", "before _swap"):
        assert killed_at(moment, desk)
        assert desk.new() is None
        assert [path.name[0] for path in place.iterdir()] == ["."], "what the kill before left was cleared away"
    assert killed_at("after _swap", desk)
    assert desk.new() is None
    (left,) = place.iterdir()
    made = left.stat().st_ino
    assert killed_at("before keep", desk), "committed"
    assert desk.new() == left.name
    assert [path.stat().st_ino for path in place.iterdir()] == [made], "the folder that nobody knew of was taken"
    store = open_store(desk.database)
    if desk.kind == "fill up":
        again = desk.act(store)
        assert (again.batch.batch_id, again.carried) == (left.name, 0)
    else:
        with pytest.raises(StoreError, match="by cat"):
            desk.act(store)
    kinds = [(one.kind, one.batch_id) for one in store.events() if one.who == "cat"]
    expected = [("batch", left.name), ("decide", left.name), ("decide", desk.batch.batch_id)]
    assert kinds == expected[: 3 if desk.kind == "replace" else 2], "one act each, in this order"
    store.close()


@pytest.mark.slow
def test_a_kill_at_every_step_leaves_the_old_state_or_the_new_one(desk: Desk) -> None:
    step = 0
    while desk.new() is None:
        if (desk.home / "batches").exists():
            shutil.rmtree(desk.home / "batches")
        step += 1
        assert killed_at(step, desk), "killed at every step before it was done"
    assert step > 20


def test_what_is_refused_leaves_nothing_behind(desk: Desk) -> None:
    store = open_store(desk.database)
    late = desk.keys[-1]
    with (
        mock.patch("curation.review.topup.Store.standing", autospec=True, side_effect=_then_reject(late)),
        pytest.raises(StoreError, match="1 pairs were rejected meanwhile, so nothing was written; do it again"),
    ):
        desk.act(store)
    assert [one.batch_id for one in store.batches()] == [desk.batch.batch_id]
    assert list((desk.home / "batches").iterdir()) == []
    store.close()


def _then_reject(late: str) -> Callable[..., Any]:
    real = Store.standing

    def standing(store: Store, batch_id: str, *rest: Any) -> Any:
        found = real(store, batch_id, *rest)
        store.decide(batch_id, late, "reject", who="bea", reason="other")
        return found

    return standing


def test_of_two_at_once_one_replaces_a_pair_and_both_may_fill_up(desk: Desk) -> None:
    with stores(desk.database, 2) as (one, two):
        results = at_once(
            lambda: desk.act(one, who="cat", take=0), lambda: desk.act(two, who="dan", take=1)
        )  # fmt: skip
        refused = errors(results)
        stands = desk.new()
        assert [path.name for path in (desk.home / "batches").iterdir()] == [stands]
        if desk.kind == "replace":
            assert len(refused) == 1
            assert f"pair {desk.keys[0]} was decided (reject) by" in refused[0]
        else:
            assert refused == []
            assert {result.batch.batch_id for result in results} == {stands}
            assert sorted(result.carried for result in results) == [0, len(desk.keys) - 4]


def test_who_waits_for_the_place_of_the_folder_does_not_hold_the_database(desk: Desk) -> None:
    """Signing holds the folder of all batches, then the database; in the other order the two would wait for good."""
    staged, taken = threading.Event(), threading.Event()
    write = writing._write_files

    def slow(*given: Any) -> None:
        write(*given)
        staged.set()
        assert taken.wait(60)

    with stores(desk.database, 2) as (one, two), mock.patch.object(writing, "_write_files", slow):
        going = threading.Thread(target=desk.act, args=(one,))
        going.start()
        assert staged.wait(60)
        with locked_place(desk.home / "batches" / "any"):
            taken.set()
            time.sleep(1)
            started = time.monotonic()
            two.comment(desk.batch.batch_id, desk.keys[0], "meanwhile", who="dan")
            assert time.monotonic() - started < 10
            assert desk.new() is None
        going.join(60)
    assert desk.new() is not None
