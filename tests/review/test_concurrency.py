"""Many at once on one store, SQLite and PostgreSQL alike: nothing lost, nothing false, refusals in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.batch.folder import read_batch
from curation.batch.records import save_batch
from curation.errors import StoreError
from curation.pool.labels import Label
from curation.review.register import record_batch
from curation.review.signing_key import KEY
from curation.review.signoff import sign_batch, verify_batch
from curation.review.store.store import Store
from curation.review.store.tables import PersonRow
from tests.desk.stores import BATCH, at_once, errors, fill, stores

ROUNDS = [2, pytest.param(40, marks=pytest.mark.slow)]
PEOPLE = 20


@pytest.mark.parametrize("rounds", ROUNDS)
def test_twenty_people_decide_one_pair_and_every_decision_is_kept(database: str, rounds: int) -> None:
    with stores(database, PEOPLE) as people:
        fill(people[0])
        for n in range(rounds):
            pair = f"p{n}"
            seen = 0 if n % 2 else None  # with the version that all of them saw, one only may write
            acts = [
                lambda s=s, w=w, pair=pair, seen=seen: s.decide(
                    BATCH, pair, "approve", who=f"r{w}", expected_version=seen
                )
                for w, s in enumerate(people)
            ]
            refused = errors(at_once(*acts))
            history = people[0].history(BATCH, pair)
            if seen is None:
                assert refused == []
                assert [entry.version for entry in history] == list(range(1, PEOPLE + 1))
                assert {entry.who for entry in history} == {f"r{w}" for w in range(PEOPLE)}
            else:
                assert len(refused) == PEOPLE - 1
                assert all("was decided (approve) by r" in words for words in refused), refused
                assert len(history) == 1
        assert people[0].check_log(BATCH) == []


@pytest.mark.parametrize("rounds", ROUNDS)
def test_bulk_acts_in_opposite_order_both_hold(database: str, rounds: int) -> None:
    pairs = [f"p{n:03d}" for n in range(60)]
    with stores(database, 2) as (one, two):
        fill(one)
        for n in range(rounds):
            results = at_once(
                lambda: one.decide_many(BATCH, pairs, "approve", who="ana"),
                lambda: two.decide_many(BATCH, pairs[::-1], "flag", who="bo"),
            )
            assert errors(results) == []
            held = one.decisions(BATCH)
            assert {held[pair].version for pair in pairs} == {2 * n + 2}
            assert len({held[pair].action for pair in pairs}) == 1, "one of the two acts holds, whole"
        assert len(one.history(BATCH)) == 120 * rounds
        assert one.check_log(BATCH) == []


@pytest.mark.parametrize("rounds", ROUNDS)
def test_the_first_administrator_is_named_once_and_the_last_one_stays(database: str, rounds: int) -> None:
    with stores(database, 2) as (one, two):
        for _ in range(rounds):
            with one._writer.begin() as connection:
                connection.execute(PersonRow.__table__.delete())
            refused = errors(
                at_once(lambda: one.set_role("ada", "admin", who="ada"), lambda: two.set_role("bo", "admin", who="bo"))
            )
            assert len(refused) == 1
            assert "is not named in this workspace" in refused[0]
            (first,) = one.people()
            other = {"ada": "bo", "bo": "ada"}[first]
            one.set_role(other, "admin", who=first)
            for role in ("viewer", "none"):
                refused = errors(
                    at_once(
                        lambda role=role: one.set_role("bo", role, who="ada"),
                        lambda role=role: two.set_role("ada", role, who="bo"),
                    )
                )
                named = one.people()
                assert list(named.values()).count("admin") == 1, named
                assert len(refused) == 1, refused
                admin = next(name for name, held in named.items() if held == "admin")
                one.set_role({"ada": "bo", "bo": "ada"}[admin], "admin", who=admin)


def labels(offset: int, annotator: str) -> list[Label]:
    return [Label(f"p{n}", "ab"[(n + offset) % 2], annotator, "a", 1, None) for n in range(8)]  # type: ignore[arg-type]


@pytest.mark.parametrize("rounds", ROUNDS)
def test_two_label_files_at_once_are_both_kept_and_no_tampering_is_seen(database: str, rounds: int) -> None:
    with stores(database, 2) as (one, two):
        fill(one)

        def bring(store: Store, file: str, found: list[Label]) -> Any:
            return store.record_labels(BATCH, found, file=file, sha256=file, format="csv", counts={}, who="ana")

        for n in range(rounds):
            results = at_once(
                lambda n=n: bring(one, f"a{n}", [*labels(n, "same"), *labels(n, f"x{n}")]),
                lambda n=n: bring(two, f"b{n}", [*labels(n + 1, "same"), *labels(n, f"y{n}")]),
            )
            assert errors(results) == []
            assert one.check_log(BATCH) == []
        assert len(one.labels(BATCH)) == 8 * (1 + 2 * rounds)
        assert len(one.imports(BATCH)) == 2 * rounds


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_signature_holds_the_decisions_that_its_place_in_the_log_says(
    database: str,
    rounds: int,
    solved: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sign against decide: whoever comes second is seen, so that nothing is signed that nobody could have seen."""
    monkeypatch.setenv(KEY, str(tmp_path / "key.pem"))
    batch = read_batch(save_batch(solved["made"], tmp_path / "batch"))
    keys = [record["pair_id"] for record in batch.records]
    with stores(database, 2) as (one, two):
        record_batch(one, batch, who="ana")
        for n in range(rounds):
            one.decide_many(batch.batch_id, keys, "approve", who="bea")
            results = at_once(
                lambda: sign_batch(batch.path, who="cat", acknowledged=["all"], store=one),
                lambda n=n: two.decide(batch.batch_id, keys[n % len(keys)], "flag", who="bea"),
            )
            assert not isinstance(results[1], Exception)
            log = one.events(batch.batch_id)
            signed = [event for event in log if event.kind == "sign"]
            if signed:
                assert signed[-1].body["decisions"] == digest_at(log, signed[-1].id)
            if isinstance(results[0], dict):
                verdict = verify_batch(batch.path, store=one)
                assert verdict.void, "the flag came after the signature, or the signature would have been refused"
        assert one.check_log(batch.batch_id) == []


def digest_at(log: list[Any], event: int) -> str:
    """The digest of the decisions that the log held before an event."""
    held: dict[str, Any] = {}
    for act in log:
        if act.id < event and act.kind in ("decide", "undo"):
            for pair, decision, reason, note, version in act.body["rows"]:
                held[pair] = (decision, reason, note, act.who, version)
    plain = [[key, *held[key]] for key in sorted(held)]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def test_words_of_a_store_never_hold_the_drivers_own(database: str) -> None:
    """A lone surrogate is refused in every column, and the next act of somebody else goes through."""
    with stores(database, 1) as (store,):
        fill(store)
        bad = "caf\udce9"
        acts: list[Callable[[], Any]] = [
            lambda: store.decide(BATCH, bad, "approve", who="ana"),
            lambda: store.decide(BATCH, "p1", "reject", who="ana", reason=bad),
            lambda: store.decide(BATCH, "p1", "flag", who="ana", note=bad),
            lambda: store.decide(BATCH, "p1", "flag", who=bad),
            lambda: store.decide(bad, "p1", "flag", who="ana"),
            lambda: store.record_pool("x", bad, who="ana"),
            lambda: store.record_pool("x", "x", Path(bad), who="ana"),
            lambda: store.save_scenario("p" * 16, bad, settings={}, figures={}),
            lambda: store.save_scenario("p" * 16, "x", settings={"pool": bad}, figures={}),
            lambda: store.save_scenario("p" * 16, "x", settings={bad: 1}, figures={}),
            lambda: store.save_view(bad, {}, who="ana"),
            lambda: store.save_view("x", {"filter_words": bad}, who="ana"),
            lambda: store.delete_view(bad, who="ana"),
            lambda: store.comment(BATCH, "p1", bad, who="ana"),
            lambda: store.set_role(bad, "admin", who="ana"),
            lambda: store.record_labels(BATCH, [], file=bad, sha256="", format="csv", counts={}, who="ana"),
            lambda: store.record_labels(
                BATCH, [Label("p1", "a", bad, "a", 1, None)], file="x", sha256="", format="csv", counts={}, who="ana"
            ),
            lambda: store.record_export(
                BATCH, format="csv", file=bad, sha256="", rows=1, left_out={}, signed=False, who="ana"
            ),
            lambda: store.history(BATCH, bad),
            lambda: store.decisions(bad),
            lambda: store.views(bad),
            lambda: store.batches(bad),
        ]
        for number, act in enumerate(acts):
            with pytest.raises(StoreError, match=r"U\+DCE9"):
                act()
            store.decide(BATCH, "p9", "approve", who="bo")
            assert len(store.history(BATCH, "p9")) == number + 1
        assert store.check_log(BATCH) == []
        assert store.decisions(BATCH).keys() == {"p9"}
