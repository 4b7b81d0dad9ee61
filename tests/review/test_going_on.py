"""A batch goes on at any number of labels per pair, with costs and shares, after earlier batches, and through a crash."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.design.selection.sampling import sample
from curation.design.sets.make import make_feasible
from curation.design.solvers.newton import newton
from curation.errors import DesignError
from curation.insight.explain import best_replacement
from curation.pool.pair_lists import admissible_pairs, pairs_by_id
from curation.review.register import save_for_review
from curation.review.staying import design_labels
from curation.review.store.store import Store, open_store
from curation.review.topup import reject_and_replace, replacement_in, top_up
from curation.run.prepare import prepare
from curation.run.solve import design_problem, solve
from curation.settings import DesignSettings
from tests.desk.builders import random_case, random_geometry
from tests.desk.going_on import BASE, SPACE
from tests.desk.pretend_device import NAME, pretended


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    opened = open_store()
    yield opened
    opened.close()


SETTINGS = {
    **{f"r = {r:g}": replace(BASE, max_labels_per_pair=r) for r in (1.0, 2.0, 3.0, math.inf)},
    **{f"free, r = {r:g}": replace(BASE, spread="free", max_labels_per_pair=r) for r in (2.0, math.inf)},
    **{f"balanced, r = {r:g}": replace(BASE, spread="balanced", max_labels_per_pair=r) for r in (2.0, math.inf)},
    **{f"costs, r = {r:g}": replace(BASE, cost="price", max_labels_per_pair=r) for r in (1.0, 2.0, math.inf)},
    "shares": replace(BASE, generator_share=0.6, max_labels_per_pair=2.0),
    "shares, simplex": replace(BASE, generator_share=0.6, max_labels_per_pair=math.inf),
    "quotas": replace(BASE, quotas=(("a", 8.0, 12.0),), max_labels_per_pair=3.0),
    "costs and quotas": replace(BASE, cost="price", quotas=(("a", 8.0, 10.0),)),
    "exact": replace(BASE, select="exact", max_labels_per_pair=2.0),
    "paper": replace(BASE, select="paper", spread="free", max_labels_per_pair=math.inf),
}  # fmt: skip


def batch_of(made: dict[str, Any], store: Store, settings: DesignSettings, **more: Any) -> tuple[Any, Any]:
    solved = solve(made["prepared"], settings, with_baselines=False, **more)
    return solved, save_for_review(solved, pinned=(), excluded=(), store=store, who="ana")


@pytest.mark.parametrize("name", SETTINGS)
def test_filling_up_keeps_every_approved_pair_with_its_labels(name: str, made: dict[str, Any], store: Store) -> None:
    settings = SETTINGS[name]
    _, batch = batch_of(made, store, settings)
    keys, labels = [r["pair_id"] for r in batch.records], design_labels(batch)
    store.decide_many(batch.batch_id, keys[:3], "reject", who="bea", reason="other")
    store.decide_many(batch.batch_id, keys[3:], "approve", who="bea")
    new = top_up(batch.path, made["pool"], made["features"], who="cat", store=store).batch
    now = {r["pair_id"]: r["copies"] for r in new.records}
    assert {key: now.get(key) for key in keys[3:]} == {key: labels[key] for key in keys[3:]}
    assert not set(keys[:3]) & set(now)
    if settings.cost is None:
        assert sum(now.values()) == 20
    if max(now.values()) > settings.max_labels_per_pair:
        raise AssertionError("more labels than a pair may have")


@pytest.mark.parametrize("name", SETTINGS)
def test_reject_and_replace_changes_one_pair_at_any_bound(name: str, made: dict[str, Any], store: Store) -> None:
    solved, batch = batch_of(made, store, SETTINGS[name])
    labels = design_labels(batch)
    dropped, replacement = None, None
    for dropped in solved.batch.pairs[::-1].tolist():
        replacement = best_replacement(
            solved.criterion,
            solved.feasible,
            solved.batch_information,
            solved.batch.pairs,
            dropped,
            copies=solved.batch.copies,
        )
        key = batch.records[solved.batch.pairs.tolist().index(dropped)]["pair_id"]
        if replacement is not None and labels[key] == 1:
            break
    assert replacement is not None
    geometry = made["prepared"].geometry
    (x,) = geometry.prompt_of(np.array([replacement.pair]))
    first, second = (int(end[0] - geometry.offsets[x]) for end in geometry.endpoints(np.array([replacement.pair])))
    done = reject_and_replace(
        batch.path,
        made["pool"],
        made["features"],
        key,
        (int(x), first, second),
        who="cat",
        store=store,
        expected_version=0,
    )
    now = {r["pair_id"]: r["copies"] for r in done.batch.records}
    stay = {other: count for other, count in labels.items() if other != key}
    assert {other: now.get(other) for other in stay} == stay
    assert key not in now
    assert store.decisions(batch.batch_id)[key].decision == "reject"
    if SETTINGS[name].cost is None:
        assert sum(now.values()) == 20
        assert len(set(now) - set(stay)) == 1


def test_what_is_closed_comes_in_neither_by_filling_up_nor_as_a_replacement(made: dict[str, Any], store: Store) -> None:
    solved, batch = batch_of(made, store, BASE)
    geometry, pool, keys = made["prepared"].geometry, made["pool"], [r["pair_id"] for r in batch.records]

    def local(pair: int) -> tuple[int, int, int]:
        return next((x, i, j) for x in range(len(pool.prompts)) for _, i, j in admissible_pairs(pool, x)
                    if geometry.number(x, i, j) == pair)  # fmt: skip

    dropped = int(solved.batch.pairs[0])
    best = replacement_in(solved, batch, solved.batch.pairs, solved.batch.copies, dropped)
    assert best is not None
    second = replacement_in(solved, batch, solved.batch.pairs, solved.batch.copies, dropped, closed=[local(best.pair)])
    assert second is not None
    assert second.pair != best.pair
    assert second.net >= best.net
    store.decide_many(batch.batch_id, keys[:2], "reject", who="bea", reason="other")
    store.decide_many(batch.batch_id, keys[2:10], "approve", who="bea")
    free = top_up(batch.path, pool, made["features"], who="cat", store=store).batch
    new = sorted({r["pair_id"] for r in free.records} - set(keys))
    shut = {*pairs_by_id(pool, set(new)).values(), *pairs_by_id(pool, set(keys[8:10])).values()}
    closed = top_up(batch.path, pool, made["features"], who="cat", store=store, closed=shut).batch
    now = {r["pair_id"] for r in closed.records}
    assert new
    assert not now & set(new)
    assert set(keys[2:10]) <= now, "what is approved stays, closed or not"


def test_repeats_for_agreement_are_no_labels_of_the_design(made: dict[str, Any], store: Store) -> None:
    settings = replace(BASE, max_labels_per_pair=2.0)
    solved, batch = batch_of(made, store, settings, overlap=0.25)
    assert sum(r["copies"] for r in batch.records) == 20
    assert sum(design_labels(batch).values()) == 15
    plain = np.round(solved.design.weights.numpy()[solved.batch.pairs] * solved.feasible.labels, 9)
    kept = np.array(list(design_labels(batch).values()))
    assert (kept >= np.floor(plain)).all()
    assert (kept <= np.ceil(plain)).all()
    keys = [r["pair_id"] for r in batch.records]
    store.decide(batch.batch_id, keys[0], "reject", who="bea", reason="other")
    store.decide_many(batch.batch_id, keys[1:], "approve", who="bea")
    new = top_up(batch.path, made["pool"], made["features"], who="cat", store=store).batch
    assert sum(r["copies"] for r in new.records) == 20
    assert new.manifest["overlap_labels"] == 5


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("r", [pytest.param(1.0, marks=pytest.mark.slow), math.inf])
def test_a_batch_made_with_previous_goes_on_in_its_space_and_buys_nothing_twice(
    learn: bool, r: float, made: dict[str, Any], store: Store
) -> None:
    from curation.exchange.receive import import_labels
    from curation.exchange.send import export_batch
    from curation.review.earlier import earlier_batches
    from curation.run.taught import learn_from
    from curation.settings import workspace

    _, first = batch_of(made, store, BASE)
    store.decide_many(first.batch_id, [r["pair_id"] for r in first.records], "approve", who="bea")
    out = workspace() / "labels.csv"
    export_batch(first.path, to="csv", out=out, store=store, who="ana")
    lines = out.read_text().splitlines()
    out.write_text(
        "\n".join(
            [
                lines[0] + ",preference",
                *(line + ("," + ("left" if k % 3 else "right")) for k, line in enumerate(lines[1:])),
            ]
        )
        + "\n"
    )
    import_labels(first.path, out, store=store, who="ana")
    earlier = earlier_batches(
        [first.path], made["pool"], space=SPACE, features_metadata=made["prepared"].table.metadata, store=store
    )
    settings = replace(BASE, budget=12, max_labels_per_pair=r)
    if learn:
        earlier = learn_from(earlier, made["prepared"], settings)
    solved, batch = batch_of(made, store, settings, earlier=earlier)
    assert (batch.manifest["learnt"] is not None) == learn
    keys = [r["pair_id"] for r in batch.records]
    store.decide_many(batch.batch_id, keys[:2], "reject", who="bea", reason="other")
    store.decide_many(batch.batch_id, keys[2:], "approve", who="bea")
    new = top_up(batch.path, made["pool"], made["features"], who="cat", store=store).batch
    now = {r["pair_id"] for r in new.records}
    assert set(keys[2:]) <= now
    assert not now & {r["pair_id"] for r in first.records}
    assert new.manifest["previous"] == batch.manifest["previous"]
    assert new.manifest["settings"] == batch.manifest["settings"]
    assert (new.manifest["learnt"] is None) == (batch.manifest["learnt"] is None)
    again = solve(made["prepared"], settings, earlier=earlier, with_baselines=False)
    assert float((again.criterion.prior - solved.criterion.prior).abs().max()) == 0


@pytest.mark.parametrize("spread", ["free", "capped", "balanced"])
@pytest.mark.parametrize("r", [1.0, 2.0, 3.0, math.inf])
def test_pins_with_an_amount_are_held_at_it_and_the_rest_is_certified(spread: Any, r: float) -> None:
    geometry = random_geometry(3, prompts=8, dim=4)
    case = random_case(3, "free", 1.0, pins=False, outs=False)
    counts = {
        int(geometry.pair_offsets[0]): 1.0,
        int(geometry.pair_offsets[2]): min(r, 2.0),
        int(geometry.pair_offsets[5]): min(r, 3.0),
    }
    feasible = make_feasible(
        geometry,
        budget=14,
        max_labels_per_pair=r,
        spread=spread,
        pinned=counts,
        excluded=[int(geometry.pair_offsets[3])],
    )
    from curation.design.criteria.trace import make_criterion

    criterion = make_criterion(geometry, case.criterion.fisher, ridge=0.1, kind="relative")
    design = newton(criterion, feasible, tol=1e-5)
    assert design.stopped == "certificate"
    assert float(design.weights.sum()) == pytest.approx(1.0)
    for pair, count in counts.items():
        assert float(design.weights[pair]) * 14 == pytest.approx(count)
    drawn = dict(
        zip(
            *(
                part.tolist()
                for part in (
                    sample(feasible, design.weights, seed=0).pairs,
                    sample(feasible, design.weights, seed=0).copies,
                )
            ),
            strict=True,
        )
    )
    assert {pair: drawn.get(pair) for pair in counts} == {pair: round(count) for pair, count in counts.items()}


def test_a_list_of_pins_means_the_labels_per_pair_and_needs_a_finite_bound(made: dict[str, Any]) -> None:
    _, feasible = design_problem(made["prepared"], replace(BASE, max_labels_per_pair=2.0), pinned=[(0, 0, 1)])
    assert float(feasible.held[0]) * feasible.labels == pytest.approx(2.0)
    with pytest.raises(DesignError, match="finite --max-labels-per-pair"):
        design_problem(made["prepared"], replace(BASE, max_labels_per_pair=math.inf), pinned=[(0, 0, 1)])
    with pytest.raises(DesignError, match="pinned at 3 labels"):
        design_problem(made["prepared"], replace(BASE, max_labels_per_pair=2.0), pinned={(0, 0, 1): 3.0})


def test_a_batch_on_an_accelerator_is_filled_up_as_on_the_cpu(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparing, solving, what a batch has to do with length, filling up and replacing: on a pretended device."""
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def work(device: str) -> list[Any]:
        monkeypatch.setenv("CURATION_HOME", str(tmp_path / device))
        monkeypatch.setattr("curation.run.prepare.resolve_device", lambda _: device)
        opened = open_store()
        settings = replace(BASE, generator_share=0.7, max_labels_per_pair=2.0)
        prepared = prepare(made["pool"], made["features"], space=SPACE)
        assert prepared.geometry.device == device
        solved = solve(prepared, settings, with_baselines=False)
        batch = save_for_review(solved, pinned=(), excluded=(), store=opened, who="ana")
        keys = [record["pair_id"] for record in batch.records]
        opened.decide_many(batch.batch_id, keys[:3], "reject", who="bea", reason="other")
        opened.decide_many(batch.batch_id, keys[3:], "approve", who="bea")
        new = top_up(batch.path, made["pool"], made["features"], who="cat", store=opened).batch
        opened.close()
        return [[(record["pair_id"], record["copies"]) for record in one.records] for one in (batch, new)] + [
            new.manifest["length"],
            new.manifest["realised"],
        ]

    here = work("cpu")
    with pretended():
        there = work(NAME)
    assert there[:2] == here[:2]
    assert there[2] == pytest.approx(here[2])
    assert there[3] == pytest.approx(here[3])
