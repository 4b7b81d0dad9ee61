"""Two parts of a budget: a pilot, its labels back, and the design that goes on from what they say."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit

from curation.batch.folder import read_batch
from curation.batch.presentation import decode_side, sheet_original
from curation.batch.records import solved_identity
from curation.cli.app import main
from curation.declared import setting
from curation.errors import DesignError
from curation.exchange.receive import import_labels
from curation.exchange.send import export_batch
from curation.insight.learning_rule import Bets
from curation.representation.features_file import write_features
from curation.review.again import design_again, labelled_batches, lesson, pilot_labels, plan_pilot
from curation.review.earlier import earlier_batches
from curation.review.store.store import Store, open_store
from curation.run.prepare import load_pool, prepare
from curation.run.solve import solve
from curation.run.taught import learn_from
from curation.settings import DesignSettings, SpaceSettings

SPACE = SpaceSettings(dim=12, length=False)
HEAVY = Bets(ridges=((-1.0, 30.0), (-0.5, 10.0)))
SETTINGS = DesignSettings(budget=180, ridge=0.1, prior_power=0.0, spread="capped", tol=1e-3)


@dataclass(frozen=True)
class Determined(DesignSettings):
    """Settings of another criterion."""

    criterion: str = setting("determinant", help="What the design minimises.", group="solving", since="0.3.0")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """150 prompts of four answers whose quality is the feature they differ most in."""
    folder = tmp_path_factory.mktemp("pilot")
    rng = np.random.default_rng(0)
    pool_file = folder / "pool.jsonl"
    with pool_file.open("w") as handle:
        for x in range(150):
            answers = [{"text": f"a{x}.{k} " + "word " * int(rng.integers(1, 30))} for k in range(4)]
            handle.write(json.dumps({"prompt_id": f"p{x}", "prompt": f"q {x}", "responses": answers}) + "\n")
    pool = load_pool(pool_file).pool
    matrix = rng.standard_normal((600, 12)) * np.array([3.0] + [1.0] * 11) / np.sqrt(20)
    features = write_features(folder / "f.parquet", pool.ids(), matrix, metadata={"model": "m"})
    quality = dict(zip(pool.ids(), 4.0 * matrix[:, 0], strict=True))
    return {"pool": pool, "pool_file": pool_file, "features": features, "quality": quality}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    opened = open_store()
    yield opened
    opened.close()


def label(world: dict[str, Any], store: Store, folder: Path, *, seed: int = 0, ties: bool = False) -> Path:
    """Approve, export, answer by Bradley and Terry on the planted quality, import."""
    batch = read_batch(folder)
    rng = np.random.default_rng(seed)
    from curation.review.register import record_batch

    record_batch(store, batch, who="ana")
    store.decide_many(batch.batch_id, [r["pair_id"] for r in batch.records], "approve", who="ana")
    out = export_batch(
        folder, to="csv", out=folder.parent / f"{batch.batch_id}.csv", force=True, store=store, who="ana"
    )["out"]
    with Path(out).open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    by_id = {r["pair_id"]: r for r in batch.records}
    for row in rows:
        record = by_id[sheet_original(row["pair_id"])]
        sides = [decode_side(row[name], record, batch.manifest["batch_seed"]) for name in ("left_id", "right_id")]
        left, right = (world["quality"][record["prompt_id"], record[f"response_{side}_id"]] for side in sides)
        won = "left" if rng.random() < expit(left - right) else "right"
        row |= {"preference": "tie" if ties else won, "annotator": "u"}
    with Path(out).open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    import_labels(folder, out, store=store, who="ana")
    return Path(out)


def earlier_of(world: dict[str, Any], store: Store, *folders: Path) -> Any:
    return earlier_batches(folders, world["pool"], space=SPACE, features_metadata={"model": "m"}, store=store)


def test_outcomes_come_back_as_wins_of_the_first_response(world: dict[str, Any], store: Store) -> None:
    prepared = prepare(world["pool"], world["features"], space=SPACE, device="cpu")
    batch = plan_pilot(prepared, SETTINGS, 60, store=store, who="ana")
    label(world, store, batch.path)
    outcomes = earlier_of(world, store, batch.path).outcomes
    won = {answer.pair_id: answer.outcome for answer in store.labels(batch.batch_id)}
    for number, record in enumerate(sorted(batch.records, key=lambda r: int(r["prompt_id"][1:]))):
        at = [r["pair_id"] for r in batch.records].index(record["pair_id"])
        assert outcomes.wins[at] == (won[record["pair_id"]] == "a"), number
        assert world["pool"].prompts[outcomes.groups[at]].prompt_id == record["prompt_id"]
        expected = np.log1p(len(record["response_a"])) - np.log1p(len(record["response_b"]))
        assert outcomes.length[at] == pytest.approx(expected)
    label(world, store, batch.path, ties=True)
    tied = earlier_of(world, store, batch.path).outcomes
    assert set(tied.wins / tied.trials) == {0.5}


def test_a_pilot_leads_to_a_heavier_ridge_and_buys_nothing_twice(world: dict[str, Any], store: Store) -> None:
    prepared = prepare(world["pool"], world["features"], space=SPACE, device="cpu")
    pilot = plan_pilot(prepared, SETTINGS, 150, store=store, who="ana")
    assert pilot.manifest["pilot"] == {"labels": 150, "of": 180}
    plain = solve(prepared, DesignSettings(**{**vars(SETTINGS), "budget": 150}))
    assert pilot.batch_id != solved_identity(plain, (), ())  # a pilot is another undertaking
    assert labelled_batches(store, world["pool"], prepared.table.fingerprint) is None
    label(world, store, pilot.path)
    labelled = labelled_batches(store, world["pool"], prepared.table.fingerprint)
    assert labelled is not None
    assert (labelled.batch_ids, labelled.unspent, labelled.space) == ((pilot.batch_id,), 30, SPACE)
    told = lesson(labelled, world["pool"], world["features"], SETTINGS, store=store, bets=HEAVY)
    assert told.learnt.leading[0].share.value > told.learnt.leading[0].chance
    rest = DesignSettings(**{**vars(SETTINGS), "budget": 30})
    made = design_again(told, rest, store=store, who="ana")
    assert not {r["pair_id"] for r in made.records} & {r["pair_id"] for r in pilot.records}
    assert made.manifest["learnt"]["labels"] == 150
    assert made.manifest["previous"]["batches"] == [pilot.batch_id]
    assert made.manifest["settings"]["ridge"] == told.next.changes["ridge"] >= 10
    pinned = told.earlier.labelled[:2]
    assert design_again(told, rest, pinned=pinned, store=store, who="ana").batch_id == made.batch_id


def test_without_learning_the_criterion_is_ridge_and_plain_information(world: dict[str, Any], store: Store) -> None:
    prepared = prepare(world["pool"], world["features"], space=SPACE, device="cpu")
    pilot = plan_pilot(prepared, SETTINGS, 150, store=store, who="ana")
    label(world, store, pilot.path)
    earlier = earlier_of(world, store, pilot.path)
    rest = DesignSettings(**{**vars(SETTINGS), "budget": 30})
    plain = solve(prepared, rest, earlier=earlier, with_baselines=False)
    uniform = prepared.geometry.uniform_information().numpy()
    ridge = 0.1 * np.trace(uniform) / prepared.space.dim * np.eye(prepared.space.dim)
    z = earlier.outcomes.vectors
    np.testing.assert_allclose(plain.criterion.prior.numpy(), ridge + z.T @ z / 30, atol=1e-12)
    np.testing.assert_allclose(plain.criterion.fisher.numpy(), prepared.fisher, atol=1e-12)
    heavy = Bets(ridges=((-1.0, 7.0), (-0.5, 7.0), (0.0, 7.0), (0.5, 7.0), (1.0, 7.0)), prior="posterior")
    taught = learn_from(earlier, prepared, rest, bets=heavy)
    learnt = solve(prepared, rest, earlier=taught, with_baselines=False)
    assert taught.taught.learnt.verdict == "leading"
    assert learnt.settings.ridge == 7.0
    assert taught.taught.ridge_share == pytest.approx(200 / 350)  # 1 - n / (n + nu)
    expected = 70 * taught.taught.ridge_share * ridge + taught.taught.information / 30
    np.testing.assert_allclose(learnt.criterion.prior.numpy(), expected, atol=1e-10)
    assert solved_identity(learnt, (), ()) != solved_identity(plain, (), ())
    weighed = learn_from(earlier, prepared, rest, bets=Bets(factors=True, half_trust=1e-9))
    factored = solve(prepared, rest, earlier=weighed, with_baselines=False)
    eta = prepared.geometry.differences(factored.batch.pairs).numpy() @ weighed.taught.learnt.theta
    expected = 4 * expit(eta) * expit(-eta)
    factor = factored.feasible.geometry.factor[factored.batch.pairs].numpy()
    np.testing.assert_allclose(factor, expected, rtol=1e-6)
    other = Determined(**vars(rest))
    bought = solve(prepared, other, earlier=earlier, with_baselines=False)
    assert torch.equal(bought.criterion.prior, plain.criterion.prior)
    with pytest.raises(DesignError, match="'determinant' does not look at that; use --no-learn, or criterion 'trace'"):
        solve(prepared, other, earlier=taught, with_baselines=False)
    kept = learn_from(earlier, prepared, rest, bets=HEAVY, keep=("ridge",))
    assert "ridge" not in kept.taught.next.changes


def test_a_pilot_of_everything_is_refused(world: dict[str, Any], store: Store) -> None:
    prepared = prepare(world["pool"], world["features"], space=SPACE, device="cpu")
    with pytest.raises(DesignError, match="leaves nothing of the budget 180"):
        plan_pilot(prepared, SETTINGS, 180, store=store, who="ana")
    assert [pilot_labels(budget) for budget in (1, 30, 100)] == [1, 10, 33]


def test_the_command_line_goes_from_pilot_to_the_rest(
    world: dict[str, Any], store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*more: object) -> dict[str, Any]:
        given = ["solve", world["pool_file"], "--features", world["features"], "--dim", 12, "--no-length", *more]
        assert main([str(word) for word in [*given, "--spread", "capped", "--tol", 1e-3, "--json"]]) == 0
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return told

    first = run("--budget", 180, "--pilot", 150, "--out", tmp_path / "one")
    assert first["pilot"] == {"labels": 150, "of": 180}
    assert first["selected_labels"] == 150
    assert first["learnt"] is None
    label(world, store, tmp_path / "one")
    again = ("--budget", 30, "--previous", tmp_path / "one")
    told = run(*again, "--out", tmp_path / "two")
    assert told["learnt"]["labels"] == 150
    assert told["learnt"]["sentences"]
    assert json.loads((tmp_path / "two" / "manifest.json").read_text())["learnt"] == told["learnt"]
    asked = run(*again, "--ridge", 0.3, "--out", tmp_path / "three")
    assert read_batch(tmp_path / "three").manifest["settings"]["ridge"] == 0.3
    assert asked["learnt"]["next"]["changes"] == {}
    plain = run(*again, "--no-learn", "--out", tmp_path / "four")
    assert plain["learnt"] is None
    assert plain["previous_labels"] == 150
