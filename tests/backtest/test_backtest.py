"""The backtest: its parts against direct computation, its verdict where the truth is planted, its command."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from curation.backtest.arena import Arena, half_of, make_arena
from curation.backtest.linear_dpo import Batches, deal_folds, fit_linear_dpo
from curation.backtest.policy_value import Groups, pair_accuracy, reward_at_kl
from curation.backtest.report import labels_for, make_report
from curation.backtest.run import Options, make_plan, place, read, run_backtest, run_plan, write
from curation.backtest.search import run_search, study_rules
from curation.backtest.split import Outcome, Rule
from curation.errors import CurationError
from curation.insight.clustered import clustered_means
from curation.pool.schema import Pool, PoolFile, Truth
from curation.run.prepare import load_pool
from curation.settings import DesignSettings
from tests.desk.backtests import SPACE, planted, write_features
from tests.desk.pools import real_pool

ROOT = Path(__file__).resolve().parents[2]


def outcome_of(arena: Arena, *, seeds: int, budgets: tuple[int, ...], picks: tuple[str, ...]) -> Outcome:
    options = Options(space=SPACE, design=DesignSettings(budget=1, tol=1e-3, ridge=1.0), budgets=budgets)
    rules = tuple(Rule(p, p, SPACE, options.design) for p in picks)  # type: ignore[arg-type]
    return run_plan(arena, make_plan(arena, options, rules), seeds, workers=1)


# --- the parts against direct computation ---


def test_the_ridge_fit_is_the_minimum_of_the_stated_loss_and_the_ridge_the_one_its_folds_prefer() -> None:
    rng = np.random.default_rng(0)
    z, groups = rng.normal(size=(1, 40, 5)), np.arange(40)[None] // 2
    wins = (rng.random((1, 40)) < 1 / (1 + np.exp(-z @ np.array([2.0, -1, 0, 0, 0.5])))).astype(float)
    trials = np.ones((1, 40))
    ridges = (10.0, 1.0, 0.1)
    batch = Batches(torch.tensor(z), torch.tensor(wins), torch.tensor(trials), groups)
    fit = fit_linear_dpo(batch, rng=np.random.default_rng(3), ridges=ridges, folds=4)

    def direct(rows: np.ndarray, won: np.ndarray, ridge: float) -> np.ndarray:
        def loss(theta: np.ndarray) -> float:
            logits = rows @ theta
            return float(np.sum(np.logaddexp(0, logits) - won * logits) + ridge / 2 * theta @ theta)

        return np.asarray(minimize(loss, np.zeros(5), method="BFGS", options={"gtol": 1e-9}).x)

    fold = deal_folds(groups, 4, np.random.default_rng(3))[0]
    assert all(len(set(fold[groups[0] == g])) == 1 for g in range(20)), "a prompt is in one fold, whole"
    held = []
    for ridge in ridges:
        total = 0.0
        for f in range(4):
            logits = z[0][fold == f] @ direct(z[0][fold != f], wins[0][fold != f], ridge)
            total += float(np.sum(np.logaddexp(0, logits) - wins[0][fold == f] * logits))
        held.append(total / 40)
    np.testing.assert_allclose(fit.held_out[0], held, atol=1e-5)
    assert fit.ridge[0] == ridges[int(np.argmin(held))]
    np.testing.assert_allclose(fit.theta[0].numpy(), direct(z[0], wins[0], fit.ridge[0]), atol=1e-4)


def test_fewer_labels_than_dimensions_are_fitted_alike_in_the_span_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    z = torch.tensor(rng.normal(size=(1, 12, 30)))
    wins, trials = torch.tensor(rng.integers(0, 2, (1, 12)).astype(float)), torch.ones(1, 12, dtype=torch.float64)
    groups = np.arange(12)[None]
    short = fit_linear_dpo(Batches(z, wins, trials, groups), rng=np.random.default_rng(0), ridges=(1.0,))
    padded = torch.cat([z, torch.zeros(1, 30, 30, dtype=torch.float64)], 1)
    more = torch.zeros(1, 30, dtype=torch.float64)
    whole = fit_linear_dpo(
        Batches(padded, torch.cat([wins, more], 1), torch.cat([trials, more], 1), np.arange(42)[None] % 12),
        rng=np.random.default_rng(0),
        ridges=(1.0,),
    )
    np.testing.assert_allclose(short.theta.numpy(), whole.theta.numpy(), atol=1e-4)


def test_policies_are_compared_at_the_kl_asked_for_and_scale_of_the_scores_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    offsets = np.array([0, 3, 8, 12])
    groups = Groups(offsets, np.arange(3), np.array([0.2, 0.5, 0.3]), rng.normal(size=12))
    scores = rng.normal(size=(1, 12))
    reward, reached = reward_at_kl(np.concatenate([scores, 50 * scores + 3, 0 * scores]), groups, 0.4)
    np.testing.assert_allclose(reached[:2], 0.4, atol=1e-6)
    np.testing.assert_allclose(reward[0], reward[1], atol=1e-6)
    assert reached[2] == 0, "a policy without an opinion stays at the reference"
    np.testing.assert_allclose(reward[2], [groups.reward[a:b].mean() for a, b in itertools.pairwise(offsets)])
    best = 0.0
    for t in np.linspace(0.01, 20, 4000):
        kl = 0.0
        p = np.concatenate([_soft(t * scores[0, a:b]) for a, b in itertools.pairwise(offsets)])
        for g, (a, b) in enumerate(itertools.pairwise(offsets)):
            kl += groups.weights[g] * float(np.sum(p[a:b] * np.log(p[a:b] * (b - a))))
        if kl <= 0.4:
            best = float(groups.weights @ [p[a:b] @ groups.reward[a:b] for a, b in itertools.pairwise(offsets)])
    assert float(groups.weights @ reward[0]) == pytest.approx(best, abs=0.01)


def _soft(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max())
    return np.asarray(e / e.sum())


def test_pair_accuracy_leaves_out_true_ties_and_halves_undecided_ones() -> None:
    got = pair_accuracy(np.array([[1.0, -2.0, 0.0, 5.0]]), np.array([0.9, 0.8, 0.3, 0.5]), np.array([0, 0, 1, 2]), 3)
    np.testing.assert_allclose(got[0, :2], [0.5, 0.5])
    assert math.isnan(got[0, 2])


def test_two_way_clustered_means_agree_with_the_spread_of_means_drawn_anew() -> None:
    rng = np.random.default_rng(0)
    found, said = [], []
    for _ in range(400):
        values = rng.normal(0, 1, (12, 1, 1)) + rng.normal(0, 1.5, (1, 1, 40)) + rng.normal(0, 2, (12, 1, 40))
        values[rng.random(values.shape) < 0.5] = np.nan
        means = clustered_means(values, np.full(40, 1 / 40))
        interval, _ = means.contrast(np.ones(1))
        found.append(means.value[0])
        said.append((interval.high - interval.low) / 2 / 2.201)
    assert np.sqrt(np.mean(np.square(said))) == pytest.approx(np.std(found), rel=0.15)


def test_label_multiples_read_the_uniform_curve_backwards() -> None:
    steps, rewards = np.array([10.0, 20, 40, 80]), np.array([1.0, 2, 3, 4])
    got = np.exp(labels_for(np.array([2.5, 3.0, 0.5, 9.0]), steps, rewards))
    np.testing.assert_allclose(got[:2], [math.sqrt(20 * 40), 40], rtol=1e-6)
    assert got[2] == pytest.approx(5.0)
    assert np.isinf(got[3]), "more than was tried"


def test_the_halves_share_nothing_and_labels_depend_on_the_pair_not_on_who_asks() -> None:
    pool, truth, table = planted(0, prompts=20)
    arena = make_arena(pool, truth, [table], reward="raw")
    train, test = half_of(arena, np.arange(0, 10)), half_of(arena, np.arange(10, 20))
    assert not {p.prompt_id for p in train.pool.prompts} & {p.prompt_id for p in test.pool.prompts}
    np.testing.assert_array_equal(train.tables[0].matrix, table.matrix[:80])
    gaps = train.reward[train.first] - train.reward[train.second]
    np.testing.assert_allclose(train.probability, 1 / (1 + np.exp(-gaps / arena.temperature)))


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_processes() -> None:
    pool, truth, table = planted(3, prompts=24)
    arena = make_arena(pool, truth, [table], reward="raw")
    options = Options(space=SPACE, design=DesignSettings(budget=1, tol=1e-3), budgets=(6, 12))
    rules = tuple(Rule(p, p, SPACE, options.design) for p in ("design", "uniform"))  # type: ignore[arg-type]
    plan = make_plan(arena, options, rules)
    one, two = run_plan(arena, plan, 3, workers=1), run_plan(arena, plan, 3, workers=2)
    np.testing.assert_allclose(one.reward, two.reward, rtol=1e-9)


# --- the verdict where the truth is planted ---


@pytest.mark.slow
def test_on_a_planted_linear_pool_the_design_needs_at_most_half_of_uniforms_labels() -> None:
    pool, truth, table = planted(0, prompts=120)
    arena = make_arena(pool, truth, [table], reward="raw", temperature=1.0)
    outcome = outcome_of(arena, seeds=16, budgets=(15, 30, 60), picks=("design", "uniform"))
    report = make_report(outcome, arena)
    worth = report.curve("design").mean_multiple
    assert report.ahead, report.verdict
    assert worth.value >= 2, report.verdict
    assert "ahead of uniform" in report.verdict
    assert report.curve("uniform").multiple[1].value == pytest.approx(1, abs=0.35)


def test_on_random_quality_no_design_is_better_one_seed() -> None:
    pool, truth, table = planted(1, signal="random")
    arena = make_arena(pool, truth, [table], reward="raw", temperature=1.0)
    report = make_report(outcome_of(arena, seeds=8, budgets=(8, 15), picks=("design", "uniform")), arena)
    assert not report.ahead
    assert report.verdict.startswith("No design is better")


@pytest.mark.slow
def test_on_random_quality_no_design_is_better_in_at_least_19_of_20_seeds() -> None:
    calm = 0
    for seed in range(20):
        pool, truth, table = planted(100 + seed, signal="random")
        arena = make_arena(pool, truth, [table], reward="raw", temperature=1.0)
        report = make_report(outcome_of(arena, seeds=24, budgets=(8, 15, 30), picks=("design", "uniform")), arena)
        calm += report.verdict.startswith("No design is better")
    assert calm >= 19


def test_given_labels_are_outcomes_too() -> None:
    pool, truth, table = planted(5, prompts=40, candidates=2)
    labels = []
    for prompt in pool.prompts:
        a, b = (truth.quality[prompt.prompt_id, r.response_id] for r in prompt.responses)
        labels.append((prompt.prompt_id, "r1", "r0", float(b > a)))  # named second first, as files may
    arena = make_arena(pool, Truth(labels=tuple(labels)), [table])
    assert arena.source == "labels"
    expected = [float(truth.quality[p.prompt_id, "r0"] >= truth.quality[p.prompt_id, "r1"]) for p in pool.prompts]
    np.testing.assert_allclose(arena.probability, expected)
    report = make_report(outcome_of(arena, seeds=8, budgets=(5, 10), picks=("design", "uniform")), arena)
    assert 0 < report.curve("uniform").reward[1].value < 0.5, "share of held-out labels won, over a coin's half"


@pytest.mark.slow
def test_another_features_file_takes_part_in_the_search_and_wins_where_it_knows_more(tmp_path: Path) -> None:
    pool, truth, table = planted(0, prompts=160)
    good, blind = tmp_path / "good.parquet", tmp_path / "blind.parquet"
    write_features(good, pool, table)
    noise = np.random.default_rng(0).normal(size=table.matrix.shape).astype(np.float32)
    write_features(blind, pool, replace(table, matrix=noise))
    # all learn on `good`; the default chooses its pairs on it too, the other rule on noise
    options = Options(
        space=SPACE, design=DesignSettings(budget=1, tol=1e-3, ridge=1.0), budgets=(15, 40), seeds=8, reward="raw"
    )
    arena = make_arena(pool, truth, [table, replace(table, matrix=noise)], reward="raw", temperature=1.0)
    rules = study_rules(options, arena, ["good.parquet", "blind.parquet"])
    picked = {name: rule for name, (_, rule) in rules.items()}
    assert picked["features blind.parquet"].table == 1
    assert picked["design"].table == 0
    plan = make_plan(arena, options, (picked["design"], picked["features blind.parquet"], picked["uniform"]))
    report = make_report(run_plan(arena, plan, 16, workers=1), arena, references=("uniform", "features blind.parquet"))
    assert report.difference("design", "features blind.parquet").interval.low > 0
    found = run_search(
        PoolFile(pool, truth, (), "jsonl", 160, 160), good, replace(options, seeds=2), also=[blind], workers=1
    )
    assert "features blind.parquet" in {curve.rule for curve in found.tuning.curves}


@pytest.mark.slow
def test_a_search_tests_on_prompts_it_did_not_choose_on(tmp_path: Path) -> None:
    pool, truth, table = planted(7, prompts=40)
    arena = make_arena(pool, truth, [table], reward="raw")
    features = tmp_path / "f.parquet"
    write_features(features, pool, table)
    options = Options(space=SPACE, design=DesignSettings(budget=1, tol=1e-3), budgets=(4, 8), seeds=4, reward="raw")
    found = run_search(PoolFile(pool, truth, (), "jsonl", 40, 40), features, options, workers=1)
    assert found.tuning.prompts + found.test.prompts == arena.prompts
    assert {curve.rule for curve in found.test.curves} == {"uniform", "default", "chosen"}
    assert any("Tested on the other 20 prompts" in line for line in found.lines())


# --- bad input ---


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": 1}, "--seeds 1 is below 2"),
        ({"budgets": (20, 10)}, "must be whole numbers above 0 that rise"),
        ({"budgets": (10, 10_000)}, "--budgets 10000"),
        ({"kl": -1.0}, "--kl -1"),
        ({"reward": "logit"}, "no probability"),
        ({"label_temperature": 0.0}, "--temperature 0"),
        ({"design": DesignSettings(budget=1, quotas=(("a", 1, 2),))}, "costs and quotas"),
    ],
)
def test_what_cannot_be_tested_is_refused_with_a_remedy(change: dict[str, object], words: str) -> None:
    pool, truth, table = planted(0, prompts=20)

    def attempt() -> None:
        options = replace(Options(space=SPACE, seeds=2), **change)  # type: ignore[arg-type]
        make_plan(
            make_arena(pool, truth, [table], reward=options.reward, temperature=options.label_temperature), options
        )

    with pytest.raises(CurationError, match=words):
        attempt()


def test_a_pool_without_outcomes_is_refused() -> None:
    pool, _, table = planted(0, prompts=20)
    with pytest.raises(CurationError, match="0 of 20 prompts have"):
        make_arena(pool, Truth(), [table])


# --- real answers, the command, the file ---


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    pool, truth, table = planted(2, prompts=24)
    features = tmp_path / "f.parquet"
    write_features(features, pool, table)
    file = PoolFile(pool, truth, (), "jsonl", 24, 24)
    options = Options(space=SPACE, design=DesignSettings(budget=1, tol=1e-3), seeds=2, reward="raw")
    result = run_backtest(file, features, options, workers=1)
    write(result, tmp_path / "kept")
    again = read(tmp_path / "kept")
    assert again is not None
    assert again.report.to_dict() == result.report.to_dict()
    assert again.options == result.options
    assert result.misled is not None
    assert again.misled is not None
    assert again.misled.to_dict() == result.misled.to_dict()
    assert result.misled.reference.sum() == pytest.approx(1)
    assert result.misled.cost_fitted.sum() == pytest.approx(1)
    assert 0 < result.misled.gained <= 1.0 + 1e-3
    (tmp_path / "kept" / "backtest.json").write_text("{half")
    with pytest.raises(CurationError, match="is not a backtest"):
        read(tmp_path / "kept")


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "curation", "backtest", *arguments],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "CURATION_HOME": str(home)}, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_command_says_a_verdict_with_intervals_on_real_answers(tmp_path: Path) -> None:
    pool = real_pool("answers_dev.jsonl.gz")
    features = real_pool("answers_dev.features.parquet")
    done = command(tmp_path, str(pool), "--features", str(features), "--seeds", "4", "--budgets", "20,60", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "uniform" in told["verdict"]
    assert {c["rule"] for c in told["curves"]} >= {"design", "paper", "uniform", "farthest_fisher", "greedy"}
    kept = read(Path(place_in(tmp_path, load_pool(pool).pool)))
    assert kept is not None
    assert kept.verdict == told["verdict"]
    refused = command(tmp_path, str(pool), "--features", str(features), "--budgets", "20;60")
    assert refused.returncode == 2
    assert "--budgets" in refused.stderr
    refused = command(tmp_path, str(pool), "--features", str(features), "--budgets", "99999")
    assert refused.returncode == 1
    assert "give less" in refused.stderr


def place_in(home: Path, pool: Pool) -> Path:
    before = os.environ.get("CURATION_HOME")
    os.environ["CURATION_HOME"] = str(home)
    try:
        return place(pool)
    finally:
        if before is None:
            os.environ.pop("CURATION_HOME")
        else:
            os.environ["CURATION_HOME"] = before


@pytest.mark.slow
def test_the_switches_visibly_change_the_backtest_and_the_old_default_wins_length(tmp_path: Path) -> None:
    pool, features = real_pool("answers_dev.jsonl.gz"), real_pool("answers_dev.features.parquet")
    told = {}
    for name, switch in {
        "old": [],
        "norm": ["--no-normalize"],
        "raw": ["--pca", "raw"],
        "free": ["--spread", "free"],
    }.items():
        done = command(
            tmp_path, str(pool), "--features", str(features), "--json", "--preset", "0.2.0", "--seeds", "12", *switch
        )
        assert done.returncode == 0, done.stderr
        told[name] = json.loads(done.stdout)

    def lead(report: dict[str, Any]) -> dict[str, float]:
        key = ("design", "uniform", None)
        found = next(d for d in report["differences"] if (d["rule"], d["reference"], d["budget"]) == key)
        return dict(found["interval"])

    leads = {name: lead(t)["value"] for name, t in told.items()}
    assert all(abs(leads[name] - leads["old"]) > 0.02 for name in ("norm", "raw", "free")), leads
    assert leads["free"] < leads["old"]
    assert lead(told["old"])["low"] > 0, "ahead on the scores it was tuned on, as they are"
    left = lead(told["old"]["without"])["value"]
    assert left < 0.5 * leads["old"], "most of that lead is the judge's liking for length"
    assert told["old"]["explained"]["longer_wins"] > 0.7
