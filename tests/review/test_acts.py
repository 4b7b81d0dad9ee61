"""Acts on many pairs, batches that go on, saved views: told before, exact, taken back by one undo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event

from curation.batch.folder import read_batch, read_criterion, read_selected
from curation.batch.records import save_batch
from curation.errors import BatchError, CurationError, StoreError
from curation.insight.explain import best_replacement
from curation.pool.schema import Pool
from curation.representation.features_file import write_features
from curation.review.acts import label_costs, price_of
from curation.review.store.store import open_store
from curation.review.topup import REPLACED, reject_and_replace, replacement_in, settings_of, top_up
from curation.run.constraints import pair_costs
from curation.run.solve import solve
from curation.settings import DesignSettings
from tests.desk.acting import LABELS, ids
from tests.desk.pools import ROOT

# --- the price of an act ---


def test_the_price_is_the_criterion_recomputed_from_the_pairs_that_stay(desk: Any, solved: dict[str, Any]) -> None:
    batch, _ = desk
    gone = ids(batch)[:7]
    price = price_of(batch, {}, gone, "reject")
    fisher, prior = read_criterion(batch.path)  # type: ignore[misc]
    chosen = read_selected(batch.path)

    def f(left_out: set[str]) -> float:
        S = prior.copy()
        for key, copies, z in zip(chosen.pair_ids, chosen.copies, chosen.vectors, strict=True):
            if key not in left_out:
                S += copies / batch.manifest["labels"] * np.outer(z, z)
        return float(np.trace(fisher @ np.linalg.inv(S)))

    assert price.before.criterion == pytest.approx(f(set()), rel=1e-9)
    assert price.before.criterion == pytest.approx(batch.manifest["realised"], rel=1e-6)
    assert price.after.criterion == pytest.approx(f(set(gone)), rel=1e-9)
    assert price.rise > 0
    assert price.before.least == pytest.approx(1)
    assert 0 < price.after.least < 1
    assert price.after.labels == LABELS - 7
    lost = {name: price.before.strata[name] - price.after.strata.get(name, 0) for name in price.before.strata}
    strata = [r["stratum"] for r in batch.records if r["pair_id"] in gone]
    assert lost == {name: strata.count(name) for name in price.before.strata}


def test_approving_costs_nothing_and_whose_decision_is_overruled_is_said(desk: Any) -> None:
    batch, store = desk
    every = ids(batch)
    store.decide_many(batch.batch_id, every[:3], "reject", who="bea", reason="other")
    store.decide(batch.batch_id, every[3], "approve", who="cat")
    price = price_of(batch, store.decisions(batch.batch_id), every[:5], "approve")
    assert price.overruled == {"bea": 3}
    assert price.before.labels == LABELS - 3
    assert price.after.labels == LABELS
    assert price.rise < 0
    again = price_of(batch, {}, every, "approve")
    assert again.rise == 0
    assert again.after.undecided == 0
    assert ("undecided", str(len(every)), "0") in again.rows()


def test_rejecting_everything_leaves_the_prior(desk: Any) -> None:
    batch, _ = desk
    price = price_of(batch, {}, ids(batch), "reject")
    fisher, prior = read_criterion(batch.path)  # type: ignore[misc]
    assert price.after.criterion == pytest.approx(float(np.trace(fisher @ np.linalg.inv(prior))))
    assert (price.after.pairs, price.after.labels, price.after.strata) == (0, 0, {})


def test_one_undo_takes_an_act_back_and_a_conflict_writes_nothing(desk: Any) -> None:
    batch, store = desk
    every = ids(batch)
    store.decide_many(batch.batch_id, every, "approve", who="ana", expected_versions=dict.fromkeys(every, 0))
    assert len(store.undo_action(batch.batch_id, who="ana")) == len(every)
    assert all(made.decision == "clear" for made in store.decisions(batch.batch_id).values())
    seen = {key: made.version for key, made in store.decisions(batch.batch_id).items()}
    store.decide(batch.batch_id, every[4], "flag", who="bea")
    with pytest.raises(StoreError, match="bea"):
        store.decide_many(batch.batch_id, every, "reject", who="ana", reason="other", expected_versions=seen)
    words = {made.decision for made in store.decisions(batch.batch_id).values()}
    assert words == {"clear", "flag"}


def test_where_labels_cost_differently_the_price_says_what_they_cost(solved: dict[str, Any], tmp_path: Path) -> None:
    made = solve(
        solved["made"].prepared, DesignSettings(budget=0.5, ridge=1.0, cost="characters"), with_baselines=False
    )
    save_batch(made, tmp_path / "batch")
    batch = read_batch(tmp_path / "batch")
    costs = label_costs(batch, solved["pool"])
    assert costs is not None
    every = pair_costs(solved["pool"], made.prepared.geometry, "characters")
    assert sorted(costs.values()) == pytest.approx(sorted(every[made.batch.pairs]))
    price = price_of(batch, {}, ids(batch)[:3], "reject", costs=costs)
    assert price.before.cost == pytest.approx(batch.manifest["cost_total"])
    assert (
        price.before.cost - price.after.cost
        == pytest.approx(  # type: ignore[operator]
            sum(costs[record["pair_id"]] * record["copies"] for record in batch.records[:3])
        )
    )
    assert "cost" in [row[0] for row in price.rows()]
    assert label_costs(read_batch(solved["folder"]), solved["pool"]) is None


def test_an_act_on_thousands_of_pairs_is_taken_back_with_a_handful_of_queries(desk: Any) -> None:
    _, store = desk
    batch_id, count = store.batches()[0].batch_id, [0]
    many = [f"{n:016x}" for n in range(3000)]
    store.decide_many(batch_id, many, "approve", who="ana")
    store.decide(batch_id, many[0], "flag", who="bea")

    def counted(*_: Any) -> None:
        count[0] += 1

    event.listen(store._engine, "before_cursor_execute", counted)
    back = store.undo_action(batch_id, who="ana")
    event.remove(store._engine, "before_cursor_execute", counted)
    assert count[0] < 30
    assert len(back) == len(many) - 1
    words = store.decisions(batch_id)
    assert words[many[0]].decision == "flag", "bea's decision stays"
    assert {words[key].decision for key in many[1:]} == {"clear"}


# --- going on ---


def test_filling_up_keeps_what_was_approved_drops_what_was_rejected_and_spends_all_labels(
    desk: Any, solved: dict[str, Any]
) -> None:
    batch, store = desk
    every = ids(batch)
    store.decide_many(batch.batch_id, every[:6], "reject", who="bea", reason="other")
    store.decide_many(batch.batch_id, every[6:16], "approve", who="bea")
    made = top_up(batch.path, solved["pool"], solved["features"], who="cat", store=store)
    new = ids(made.batch)
    assert set(every[6:16]) <= set(new)
    assert not set(every[:6]) & set(new)
    assert sum(record["copies"] for record in made.batch.records) == LABELS
    assert made.kept + made.new == len(new)
    assert made.new >= 6
    carried = store.decisions(made.batch.batch_id)
    assert {key for key, d in carried.items() if d.decision == "approve"} == set(every[6:16])
    assert {d.who for d in carried.values()} == {"cat"}
    assert all(f"approve by bea in batch {batch.batch_id}" == d.note for d in carried.values())
    assert made.carried == 10
    assert store.undo_action(made.batch.batch_id, who="cat") == [], "what came over is no act of cat's to take back"
    store.decide(made.batch.batch_id, every[6], "flag", who="cat")
    store.undo_action(made.batch.batch_id, who="cat")
    assert store.decisions(made.batch.batch_id)[every[6]].decision == "approve"
    manifest = made.batch.manifest
    assert manifest["settings"] == batch.manifest["settings"]
    assert manifest["space"]["fingerprint"] == batch.manifest["space"]["fingerprint"]
    assert read_batch(batch.path).records == batch.records, "the first batch is as it was"
    again = top_up(batch.path, solved["pool"], solved["features"], who="cat", store=store)
    assert again.batch.batch_id == made.batch.batch_id
    assert again.carried == 0, "decided there already"


def test_rejecting_and_replacing_changes_one_pair_for_the_one_named(desk: Any, solved: dict[str, Any]) -> None:
    batch, store = desk
    made, pool = solved["made"], solved["pool"]
    dropped = int(made.batch.pairs[0])
    best = best_replacement(
        made.criterion, made.feasible, made.batch_information, made.batch.pairs, dropped, copies=made.batch.copies
    )
    assert best is not None
    old, new = (_local(pool, made, number) for number in (dropped, best.pair))
    key = next(r["pair_id"] for r in batch.records if _same(pool, r, old))
    store.decide_many(batch.batch_id, [k for k in ids(batch) if k != key][:5], "approve", who="bea")
    done = reject_and_replace(
        batch.path, pool, solved["features"], key, new, who="cat", store=store, expected_version=0
    )
    assert (done.kept, done.new, done.carried) == (len(batch.records) - 1, 1, 5)
    added = next(r for r in done.batch.records if r["pair_id"] not in ids(batch))
    assert _same(pool, added, new)
    assert set(added) == set(batch.records[0]), "a complete audit record"
    held = store.decisions(batch.batch_id)[key]
    assert (held.decision, held.reason, held.who) == ("reject", REPLACED, "cat")
    assert done.batch.manifest["realised"] == pytest.approx(made.realised * (1 + best.net), rel=1e-6)
    assert store.undo_action(done.batch.batch_id, who="cat") == []
    number = made.prepared.geometry.number
    pairs = np.sort([number(*local) for local in _locals(pool, done.batch)])
    copies = np.ones(len(pairs), dtype=int)
    found = [replacement_in(made, done.batch, pairs, copies, int(pair)) for pair in pairs]
    assert dropped not in {one.pair for one in found if one is not None}, "a rejected pair is not offered again"
    with pytest.raises(BatchError, match="rejected or excluded before"):
        reject_and_replace(
            done.batch.path, pool, solved["features"], added["pair_id"], old, who="bea", store=store, expected_version=0
        )
    assert added["pair_id"] not in store.decisions(done.batch.batch_id)


def test_a_replacement_that_is_refused_leaves_everything_as_it_was(desk: Any, solved: dict[str, Any]) -> None:
    batch, store = desk
    key, pool = ids(batch)[0], solved["pool"]
    free = next(local for local in ((x, 0, 1) for x in range(40)) if local not in _locals(pool, batch))
    with pytest.raises(BatchError, match="give the pool it was made from"):
        reject_and_replace(
            batch.path, Pool(pool.prompts[:20], name="other"), solved["features"], key, free, who="cat", store=store
        )
    store.decide(batch.batch_id, key, "approve", who="bea")
    with pytest.raises(StoreError, match="bea"):
        reject_and_replace(batch.path, pool, solved["features"], key, free, who="cat", store=store, expected_version=0)
    assert {k: d.decision for k, d in store.decisions(batch.batch_id).items()} == {key: "approve"}
    assert [stored.batch_id for stored in store.batches()] == [batch.batch_id]


def test_a_pair_rejected_while_the_batch_was_solved_does_not_stay(
    desk: Any, solved: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, store = desk
    every = ids(batch)
    store.decide(batch.batch_id, every[0], "reject", who="bea", reason="other")
    store.decide_many(batch.batch_id, every[1:], "approve", who="bea")

    def slow(*given: Any, **options: Any) -> Any:
        store.decide(batch.batch_id, every[1], "reject", who="ana", reason="other")
        return solve(*given, **options)

    monkeypatch.setattr("curation.review.topup.solve", slow)
    with pytest.raises(StoreError, match="1 pairs were rejected meanwhile"):
        top_up(batch.path, solved["pool"], solved["features"], who="cat", store=store)
    assert [stored.batch_id for stored in store.batches()] == [batch.batch_id]


def _locals(pool: Pool, batch: Any) -> set[tuple[int, int, int]]:
    place = {prompt.prompt_id: (x, [r.response_id for r in prompt.responses]) for x, prompt in enumerate(pool.prompts)}
    found = set()
    for record in batch.records:
        x, names = place[record["prompt_id"]]
        i, j = sorted((names.index(record["response_a_id"]), names.index(record["response_b_id"])))
        found.add((x, i, j))
    return found


def _local(pool: Pool, made: Any, number: int) -> tuple[int, int, int]:
    geometry = made.prepared.geometry
    x = int(geometry.prompt_of(np.array([number]))[0])
    i, j = (int(end[0]) - int(geometry.offsets[x]) for end in geometry.endpoints(np.array([number])))
    return x, i, j


def _same(pool: Pool, record: dict[str, Any], local: tuple[int, int, int]) -> bool:
    x, i, j = local
    names = {pool.prompts[x].responses[k].response_id for k in (i, j)}
    return record["prompt_id"] == pool.prompts[x].prompt_id and names == {
        record["response_a_id"],
        record["response_b_id"],
    }


def test_what_cannot_be_filled_up_is_refused(desk: Any, solved: dict[str, Any], tmp_path: Path) -> None:
    batch, store = desk
    with pytest.raises(BatchError, match="no rejected pair"):
        top_up(batch.path, solved["pool"], solved["features"], who="cat", store=store)
    store.decide(batch.batch_id, ids(batch)[0], "reject", who="bea", reason="other")
    other = Pool(solved["pool"].prompts[:20], name="other")
    with pytest.raises(BatchError, match="give the pool it was made from"):
        top_up(batch.path, other, solved["features"], who="cat", store=store)
    changed = write_features(
        tmp_path / "g.parquet", solved["pool"].ids(), np.random.default_rng(9).standard_normal((160, 8))
    )
    with pytest.raises(BatchError, match="give the features it was made with"):
        top_up(batch.path, solved["pool"], changed, who="cat", store=store)
    with pytest.raises(BatchError, match="is not in batch"):
        reject_and_replace(batch.path, solved["pool"], solved["features"], "0" * 16, (0, 0, 1), who="c", store=store)


def test_settings_come_back_from_the_manifest(desk: Any, solved: dict[str, Any]) -> None:
    batch, _ = desk
    assert settings_of(batch.manifest) == solved["made"].settings
    rich = {
        **batch.manifest,
        "settings": {**batch.manifest["settings"], "quotas": [["a", 1, "inf"]], "max_labels_per_pair": "inf"},
    }
    found = settings_of(rich)
    assert found.quotas == (("a", 1, float("inf")),)
    assert found.max_labels_per_pair == float("inf")


def test_the_command_fills_up(desk: Any, solved: dict[str, Any], tmp_path: Path) -> None:
    batch, store = desk
    store.decide_many(batch.batch_id, ids(batch)[:2], "reject", who="bea", reason="other")
    store.decide_many(batch.batch_id, ids(batch)[2:], "approve", who="bea")
    done = subprocess.run(
        [sys.executable, "-m", "curation", "topup", str(batch.path), str(solved["pool_file"]), "--features",
         str(solved["features"]), "--as", "cat", "--json"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "CURATION_HOME": str(tmp_path / "home")}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["kept"], told["new"], told["carried"]) == (len(batch.records) - 2, 2, len(batch.records) - 2)
    assert len(read_batch(told["out"]).records) == len(batch.records)


# --- views ---


def test_views_are_each_persons_own_and_the_last_one_of_a_name_holds(database: str) -> None:
    store = open_store(database)
    store.save_view("mine", {"filter_states": ["flag"]}, who="ana")
    store.save_view(" mine ", {"filter_states": ["reject"], "filter_words": "x"}, who="ana")
    store.save_view("mine", {"filter_sort": "prompt"}, who="bea")
    assert store.views("ana") == {"mine": {"filter_states": ["reject"], "filter_words": "x"}}
    assert store.views("bea") == {"mine": {"filter_sort": "prompt"}}
    assert store.delete_view("mine", who="ana")
    assert not store.delete_view("mine", who="ana")
    assert store.views("ana") == {}
    with pytest.raises(CurationError, match="needs a name"):
        store.save_view("  ", {}, who="ana")
    store.close()
