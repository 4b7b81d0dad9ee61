"""The backtest of answers: the binary backtest found again, graded answers where they must and must not pay, the JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import isotonic_regression
from typer.testing import CliRunner

from curation.backtest.arena import Arena, half_of, make_arena
from curation.backtest.draw import Drawer
from curation.backtest.graded import run_graded
from curation.backtest.graded_report import GradedReport, log_multiples, make_graded_report, monotone
from curation.backtest.graded_split import GradedPlan, _Answers, noise_for, run_graded_seed
from curation.backtest.run import Options, each_split, make_plan
from curation.backtest.split import Rule, run_seed
from curation.cli.app import app
from curation.design.selection.sampling import Batch
from curation.insight.graded import Answering, GradedError
from curation.pool.schema import Pool, PoolFile, Truth
from curation.settings import DesignSettings
from tests.desk.backtests import SPACE, planted, write_features

OPTIONS = Options(space=SPACE, design=DesignSettings(budget=1, tol=1e-3, ridge=1.0), budgets=(8, 15), reward="raw")
RULES = tuple(Rule(pick, pick, SPACE, OPTIONS.design) for pick in ("design", "uniform"))  # type: ignore[arg-type]


def arena_of(seed: int, *, signal: str = "linear", prompts: int = 40) -> Arena:
    pool, truth, table = planted(seed, prompts=prompts, signal=signal)
    return make_arena(pool, truth, [table], reward="raw", temperature=1.0)


def report_of(arena: Arena, rules: tuple[Rule, ...], *, seeds: int) -> GradedReport:
    answering = Answering()
    plan = GradedPlan(make_plan(arena, OPTIONS, rules), ((noise_for(arena, 0.64, answering),),), answering)
    splits = each_split(run_graded_seed, (arena,), plan, seeds, workers=1)
    return make_graded_report(plan, [split for (split,) in splits], arena)


def test_binary_answers_are_the_backtests_own_with_the_same_pairs_labels_and_folds() -> None:
    arena = arena_of(0)
    base = make_plan(arena, OPTIONS, RULES, repeats=2)
    answering = Answering()
    noises = tuple(noise_for(arena, agreement, answering) for agreement in (0.64, None))
    shifted = replace(arena, reward=-arena.reward)
    plan = GradedPlan(base, (noises, noises), answering)
    graded, other = run_graded_seed((arena, shifted), plan, 3, Drawer())
    (binary,) = run_seed((arena,), base, 3, Drawer())
    np.testing.assert_allclose(graded.reward[1, 0], binary.reward, atol=1e-9)
    np.testing.assert_allclose(graded.further[1, 1], binary.uniform_reward, atol=1e-9)
    np.testing.assert_allclose(graded.baseline, binary.baseline)
    assert np.nanmax(np.abs(graded.reward[0, 0] - binary.reward)) > 1e-3, "another noise, other labels"
    assert np.nanmax(np.abs(other.reward - graded.reward)) > 0.1, "every outcome is answered and judged by itself"


def test_the_answer_to_a_pair_is_one_draw_whoever_asks_and_its_side_is_the_binary_one() -> None:
    arena = arena_of(1)
    answering = Answering()
    noise = noise_for(arena, 0.64, answering)
    half = half_of(arena, np.arange(20))
    plan = GradedPlan(make_plan(arena, OPTIONS, RULES), ((noise,),), answering)
    answers = _Answers(half, plan, [0, 0], 0)
    every = np.arange(len(half.first))
    wins, counts = answers.of(Batch(every, np.ones(len(every), dtype=np.int64), None), noise)
    levels = counts.argmax(1)
    assert (counts.sum(1) == 1).all()
    assert np.array_equal(levels[levels != 2] > 2, wins[levels != 2] > 0.5)
    some = every[::7]
    twice, more = answers.of(Batch(some, np.full(len(some), 2), None), noise)
    assert (more.sum(1) == 2).all()
    assert (more >= counts[some]).all(), "the first of two answers is the answer that one label would have been"
    assert (twice >= wins[some]).all()
    whole = noise_for(arena, 0.64, answering)
    share = levels == 2
    assert share.mean() == pytest.approx(0.2, abs=0.05)
    assert whole.targets[4] > whole.targets[3] > 0.5


def test_jitter_moves_levels_and_never_sides() -> None:
    arena = arena_of(1)
    half = half_of(arena, np.arange(20))
    plain, shaken = Answering(), Answering(jitter=0.5)
    noise = noise_for(arena, 0.64, plain)
    base = make_plan(arena, OPTIONS, RULES)
    every = np.arange(len(half.first))
    batch = Batch(every, np.ones(len(every), dtype=np.int64), None)
    (wins, counts), (again, moved) = (
        _Answers(half, GradedPlan(base, ((noise,),), way), [0, 0], 0).of(batch, noise) for way in (plain, shaken)
    )
    assert np.array_equal(wins, again)
    changed = np.mean(counts.argmax(1) != moved.argmax(1))
    assert 0.05 < changed < 0.6
    assert not np.any((counts[:, 3:].sum(1) == 1) & (moved[:, :2].sum(1) == 1))


def test_graded_answers_pay_where_annotators_are_noisy() -> None:
    report = report_of(arena_of(2, prompts=100), RULES[1:], seeds=8).noises[0]
    assert report.difference("uniform").interval.low > 0
    assert report.ahead
    assert "ahead of binary ones" in report.verdict
    assert 1.1 < report.curve("uniform").mean_multiple.value < 6
    assert report.agreement == pytest.approx(0.64, abs=1e-6)


def test_a_label_is_worth_what_the_monotone_ladder_of_binary_labels_says() -> None:
    steps, budgets = np.array([5.0, 10, 20, 40]), np.array([10.0, 20])
    ladder = np.array([[0.1, 0.2, 0.4, 0.8]])

    def multiples(reward: list[float], rungs: np.ndarray) -> np.ndarray:
        return np.exp(log_multiples(np.array([reward]), budgets, rungs, steps)[0])

    np.testing.assert_allclose(multiples([0.2, 0.4], ladder), 1, atol=1e-6)
    np.testing.assert_allclose(multiples([0.4, 0.4], ladder), [2, 1], atol=1e-6)
    np.testing.assert_allclose(multiples([0.1, 0.6], ladder), [0.5, 2**0.5], atol=1e-6)
    assert np.isinf(multiples([0.2, 0.9], ladder)[1]), "more than was tried"
    bent = np.array([[0.1, 0.45, 0.35, 0.8]])  # level between 10 and 20 labels: the fewer count
    np.testing.assert_allclose(multiples([0.4, 0.4], bent), [1, 0.5], atol=1e-6)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_rows_made_monotone_are_their_isotonic_regressions(count: int) -> None:
    values = np.random.default_rng(count).normal(size=(200, count))
    np.testing.assert_allclose(monotone(values), [isotonic_regression(row).x for row in values], atol=1e-12)


@pytest.mark.slow
def test_on_random_quality_the_paired_differences_interval_covers_zero() -> None:
    for seed in (200, 201):  # fixed: one in twenty would miss by chance
        report = report_of(arena_of(seed, signal="random"), RULES, seeds=6).noises[0]
        for rule in ("design", "uniform"):
            interval = report.difference(rule).interval
            assert interval.low <= 0 <= interval.high
        assert not report.ahead


def test_the_json_of_a_run_has_every_curve_difference_and_noise(tmp_path: Path) -> None:
    pool, truth, table = planted(3, prompts=24)
    longer = [
        replace(p, responses=tuple(replace(r, text="word " * (k + 1)) for k, r in enumerate(p.responses)))
        for p in pool.prompts
    ]
    pool = Pool(tuple(longer), name="of several lengths")
    features = tmp_path / "f.parquet"
    write_features(features, pool, table)
    file = PoolFile(pool, truth, (), "jsonl", 24, 24)
    result = run_graded(file, features, replace(OPTIONS, seeds=2, budgets=(4, 8)), agreements=(0.64, None), workers=1)
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told["answers"] == "graded"
    assert told["budgets"] == [4, 8]
    assert [noise["noise"]["agreement"] for noise in told["noises"]] == [0.64, None]
    for noise in told["noises"]:
        assert {(c["rule"], c["answers"]) for c in noise["curves"]} == {
            (rule, answers)
            for rule in ("design", "uniform")
            for answers in ("binary", "graded", "soft", "soft estimated")
        }
        assert len(noise["differences"]) == 2 * 4 * 3
        assert sum(noise["shares"]) == pytest.approx(1)
        assert "raded" in noise["verdict"]
    assert "Declared before looking" in told["declared"]
    assert any("two annotators agree on 64.0%" in line for line in result.lines())
    assert "With length taken out:" in result.lines()
    assert told["without"]["unit"].endswith("length taken out")
    assert told["without"]["noises"][0]["agreement"] == pytest.approx(0.64), "calibrated to what is left"
    assert told["without"]["noises"][0]["differences"] != told["noises"][0]["differences"]


@pytest.mark.slow
def test_the_command_tests_answers_and_keeps_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, truth, table = planted(3, prompts=24)
    features, lines = tmp_path / "f.parquet", tmp_path / "pool.jsonl"
    write_features(features, pool, table)
    with lines.open("w") as handle:
        for prompt in pool.prompts:
            responses = [
                {
                    "response_id": r.response_id,
                    "text": r.text,
                    "quality": truth.quality[prompt.prompt_id, r.response_id],
                }
                for r in prompt.responses
            ]
            row = {"prompt_id": prompt.prompt_id, "prompt": f"question {prompt.prompt_id}", "responses": responses}
            handle.write(json.dumps(row) + "\n")
    asked = [
        "backtest", str(lines), "--features", str(features), "--reward", "raw", "--seeds", "2", "--budgets", "4,8", "--dim", "8",
        "--answers", "graded", "--workers", "1",
    ]  # fmt: skip
    monkeypatch.setenv("CURATION_HOME", str(tmp_path))
    done = CliRunner().invoke(app, [*asked, "--agreement", "0.7,given", "--jitter", "0.2", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [noise["noise"]["agreement"] for noise in told["noises"]] == [0.7, None]
    assert told["noises"][0]["agreement"] == pytest.approx(0.7)
    assert json.loads(Path(told["out"]).read_text())["noises"] == told["noises"]
    assert told["answering"]["jitter"] == 0.2
    for extra, words in ((["--study"], "leave --search"), (["--agreement", "most"], "not a share like 0.64")):
        refused = CliRunner().invoke(app, [*asked, *extra])
        assert refused.exit_code == 2
        assert words in " ".join(refused.stderr.replace("│", " ").split())


def test_given_labels_cannot_be_graded() -> None:
    pool, _, table = planted(5, prompts=40, candidates=2)
    labels = tuple((prompt.prompt_id, "r0", "r1", 1.0) for prompt in pool.prompts)
    with pytest.raises(GradedError, match="this pool has only labels; add quality"):
        noise_for(make_arena(pool, Truth(labels=labels), [table]), 0.64, Answering())
