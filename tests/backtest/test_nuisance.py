"""A judge's liking for length and other columns: measured, taken out, and told in every verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curation.backtest.arena import half_of, make_arena
from curation.backtest.nuisance import markdown_density, nuisance_columns, without
from curation.backtest.run import Options, read, run_backtest, write
from curation.errors import CurationError
from curation.pool.schema import Pool, PoolFile, Prompt, Response, Truth
from curation.representation.features_file import FeatureTable
from curation.settings import DesignSettings, SpaceSettings
from tests.desk.backtests import planted, write_features


def lengthy(seed: int, liking: float, *, prompts: int = 60, candidates: int = 6) -> tuple[Pool, Truth, FeatureTable]:
    """A pool whose quality is a linear function of the features plus a liking for log length, which they do not know."""
    pool, truth, table = planted(seed, prompts=prompts, candidates=candidates)
    rng = np.random.default_rng([seed, 1])
    entries, quality = [], {}
    for prompt in pool.prompts:
        lengths = np.exp(rng.normal(5, 0.8, len(prompt.responses))).astype(int) + 1
        responses = tuple(
            replace(r, text="x" * int(n), meta={"words": int(n) % 7})
            for r, n in zip(prompt.responses, lengths, strict=True)
        )
        entries.append(replace(prompt, responses=responses))
        for r, n in zip(responses, lengths, strict=True):
            quality[prompt.prompt_id, r.response_id] = truth.quality[prompt.prompt_id, r.response_id] + liking * float(
                np.log1p(n)
            )
    return Pool(tuple(entries), name="lengthy"), Truth(quality=quality), table


def test_a_planted_liking_for_length_is_found_and_what_is_left_is_the_quality_before_it() -> None:
    plain = lengthy(0, 0.0)
    liked = lengthy(0, 1.5)
    arena = make_arena(
        liked[0], liked[1], [liked[2]], reward="raw", temperature=1.0
    )  # fmt: skip
    base = make_arena(plain[0], plain[1], [plain[2]], reward="raw", temperature=1.0)
    twin, told = without(arena)
    column = nuisance_columns(arena.pool, ["length"])[:, 0]
    deviation = np.sqrt(np.mean(column**2))
    assert deviation == pytest.approx(1.0)
    both, _ = without(base)  # the chance correlation of quality with length goes from both
    np.testing.assert_allclose(
        twin.reward - _means(twin), both.reward - _means(both), atol=1e-9, err_msg="whatever the liking was"
    )
    residual = twin.reward - _means(twin)
    assert abs(column @ residual) < 1e-6 * len(column), "nothing of length is left within prompts"
    assert told.longer_wins > 0.6
    assert told.share > 0.3
    assert "length within a prompt explains" in told.sentence()


def _means(arena) -> np.ndarray:  # type: ignore[no-untyped-def]
    sizes = np.diff(arena.pool.offsets())
    return np.repeat(np.add.reduceat(arena.reward, arena.pool.offsets()[:-1]) / sizes, sizes)


def test_given_labels_lose_the_part_that_length_explains() -> None:
    rng = np.random.default_rng(0)
    prompts, labels = [], []
    for x in range(400):
        lengths = rng.integers(5, 400, 2)
        prompts.append(Prompt(f"p{x}", "q", tuple(Response(f"r{k}", "y" * int(n)) for k, n in enumerate(lengths))))
        longer = int(lengths[1] > lengths[0])
        winner = longer if rng.random() < 0.9 else 1 - longer
        labels.append((f"p{x}", f"r{winner}", f"r{1 - winner}", 1.0))
    pool = Pool(tuple(prompts), name="pairs")
    table = FeatureTable(rng.normal(size=(800, 4)).astype(np.float32), None, None, {}, 0, "f")
    arena = make_arena(pool, Truth(labels=tuple(labels)), [table])
    twin, told = without(arena)
    assert told.longer_wins == pytest.approx(0.9, abs=0.05)
    whole = half_of(twin, np.arange(twin.prompts))
    column = nuisance_columns(pool, ["length"])[:, 0]
    gap = column[whole.first] - column[whole.second]
    assert abs(gap @ (twin.probability - 0.5)) < 1e-9 * len(gap)
    assert abs(gap @ (arena.probability - 0.5)) > 0.1 * len(gap), "it was there before"


def test_markdown_marks_are_counted_and_prose_has_none() -> None:
    assert markdown_density("Plain prose - with a dash, 3 * 4 = 12 and a #hashtag.") == 0
    marked = "# Title\n\n- one\n- two\n1. three\n> quoted\n**bold** and `code`\n```\nx\n```"
    assert markdown_density(marked) == pytest.approx(100 * 9 / len(marked))


def test_further_columns_come_from_meta_and_a_missing_one_is_named() -> None:
    pool, truth, table = lengthy(3, 0.0, prompts=12)
    columns = nuisance_columns(pool, ["length", "words"])
    offsets = pool.offsets()
    np.testing.assert_allclose(np.add.reduceat(columns, offsets[:-1], axis=0), 0, atol=1e-9)
    with pytest.raises(CurationError, match="--nuisance tokens: 72 of 72 responses have no number"):
        nuisance_columns(pool, ["tokens"])
    arena = make_arena(pool, truth, [table], reward="raw")
    _, told = without(arena, ("length", "words"))
    assert told.names == ("length", "words")
    with pytest.raises(CurationError, match="--nuisance is empty"):
        without(arena, ())


@pytest.mark.slow
def test_where_quality_is_length_alone_the_verdict_says_that_length_is_what_was_won(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    prompts, quality = [], {}
    for x in range(80):
        lengths = np.exp(rng.normal(5, 0.9, 6)).astype(int) + 1
        prompts.append(Prompt(f"p{x}", "q", tuple(Response(f"r{k}", "z" * int(n)) for k, n in enumerate(lengths))))
        for k, n in enumerate(lengths):
            quality[f"p{x}", f"r{k}"] = 2.0 * float(np.log1p(n))
    pool = Pool(tuple(prompts), name="length is all")
    table = FeatureTable(rng.normal(size=(480, 6)).astype(np.float32), None, None, {}, 0, "noise")
    features = tmp_path / "f.parquet"
    write_features(features, pool, table)
    options = Options(
        space=SpaceSettings(dim=6, length=True),
        design=DesignSettings(budget=1, tol=1e-3, ridge=30.0, prior_power=0.0, spread="balanced"),
        budgets=(6, 12),
        seeds=12,
        reward="raw",
        label_temperature=1.0,
    )
    result = run_backtest(PoolFile(pool, Truth(quality=quality), (), "jsonl", 80, 80), features, options, workers=1)
    assert result.report.ahead, result.report.verdict
    assert result.without is not None
    assert not result.without.ahead, "nothing but rounding is left"
    assert not result.ahead
    assert result.verdict.startswith("Ahead of uniform sampling only while the judge's liking for length counts")
    assert result.explained is not None
    assert result.explained.share == pytest.approx(1.0)
    write(result, tmp_path / "kept")
    again = read(tmp_path / "kept")
    assert again is not None
    assert (again.verdict, again.ahead, again.explained) == (result.verdict, result.ahead, result.explained)


def test_both_outcomes_are_judged_on_the_same_batches(tmp_path: Path) -> None:
    pool, truth, table = lengthy(5, 0.0, prompts=24)
    features = tmp_path / "f.parquet"
    write_features(features, pool, table)
    options = Options(
        space=SpaceSettings(dim=8, normalize=False, length=False),
        design=DesignSettings(budget=1, tol=1e-3, ridge=1.0),
        seeds=2,
        reward="raw",
    )
    result = run_backtest(PoolFile(pool, truth, (), "jsonl", 24, 24), features, options, workers=1)
    assert result.without is not None
    assert result.without.budgets == result.report.budgets
    uniform = result.report.curve("uniform").reward[0].value
    assert result.without.curve("uniform").reward[0].value == pytest.approx(uniform, abs=0.2), "length said nothing"


def test_where_all_answers_are_equally_long_the_sentence_says_so() -> None:
    pool, truth, table = planted(0, prompts=12)
    _, told = without(make_arena(pool, truth, [table], reward="raw"))
    assert told.sentence().startswith("No decided pair is of unequal length; length within a prompt explains 0.0%")
