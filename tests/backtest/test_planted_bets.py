"""Where quality is planted: in a weak direction under a dominating style, or in the leading one.

The default bets on neither; a heavy ridge bets on the leading directions and is ruinous where they are style.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curation.backtest.arena import Arena, make_arena
from curation.backtest.run import run_plan
from curation.backtest.split import Plan, Rule
from curation.backtest.suite_report import label_multiple, standings
from curation.insight.learning_rule import Bets
from curation.pool.schema import Pool, Prompt, Response, Truth
from curation.representation.features_file import FeatureTable
from curation.settings import PRESETS, DesignSettings, SpaceSettings

SPACE = SpaceSettings(dim=64, normalize=False, length=False)
DEFAULT = DesignSettings(budget=1, tol=1e-3)


def style_over_quality(seed: int, *, prompts: int = 240, candidates: int = 8) -> Arena:
    """One style direction of variance 9 that no annotator cares for. In two prompts of five, two answers of ordinary
    style differ in a direction of a hundredth of that variance, and only that is quality."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(prompts, candidates, 3)) * 0.3
    rows[:, :, 0] = rng.normal(size=(prompts, candidates)) * 3
    rows[:, :2, 0] *= 0.05
    rows[:, :, 2] = rng.normal(size=(prompts, candidates)) * 0.02
    has, sign = rng.random(prompts) < 0.4, rng.choice([-1, 1], size=prompts)
    rows[has, 0, 2] = 0.5 * sign[has]
    rows[has, 1, 2] = -0.5 * sign[has]
    return arena_of(rows, rows[:, :, 2] * 4)


def quality_leads(seed: int, *, prompts: int = 200, candidates: int = 8, dim: int = 32) -> Arena:
    """Quality is the direction in which answers differ most; a few answers stand out in everything."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(prompts, candidates, dim)) * np.r_[2.0, np.ones(dim - 1)]
    rows *= np.where(rng.random((prompts, candidates, 1)) < 0.15, 1.0, 0.2)
    return arena_of(rows, rows[:, :, 0] / rows[:, :, 0].std() * 0.6)


def arena_of(rows: np.ndarray, quality: np.ndarray) -> Arena:
    entries, truth = [], {}
    for x, line in enumerate(quality):
        responses = tuple(Response(f"r{k}", f"answer {x:03d} {k}") for k in range(len(line)))
        entries.append(Prompt(f"p{x:03d}", f"question {x}", responses))
        truth |= {(f"p{x:03d}", f"r{k}"): float(value) for k, value in enumerate(line)}
    table = FeatureTable(rows.reshape(-1, rows.shape[2]).astype(np.float32), None, None, {}, 0, "planted")
    return make_arena(
        Pool(tuple(entries), name="planted"), Truth(quality=truth), [table], reward="raw", temperature=1.0
    )


def multiples(arena: Arena, rules: tuple[Rule, ...], *, seeds: int = 6) -> dict[str, float]:
    """Uniform labels a label of each rule is worth."""
    uniform = Rule("uniform", "uniform", SPACE, DEFAULT)
    plan = Plan((uniform, *rules), (40, 80, 160), SPACE, uniform_budgets=(10, 20, 320, 640), kl=0.5)
    ground, rows = standings(run_plan(arena, plan, seeds, workers=1), arena, pool="planted", kind="as given")
    assert ground.learns, "else a multiple means nothing"
    return {row.rule: row.multiple for row in rows}


def test_under_a_dominating_style_the_default_is_worth_three_uniform_labels_and_the_old_one_half() -> None:
    old = PRESETS["0.2.0"]
    found = multiples(
        style_over_quality(0),
        (
            Rule("default", "design", SPACE, DEFAULT),
            Rule("ridge 30", "design", SPACE, old.design(DEFAULT)),
            Rule("farthest", "farthest", SPACE, DEFAULT),
        ),
    )
    assert found["default"] >= 3, found
    assert found["ridge 30"] <= 0.5, found
    assert found["farthest"] <= 0.5, found
    assert found["uniform"] == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_where_quality_leads_the_default_is_ahead_and_a_pilot_that_is_learnt_from_further() -> None:
    found = multiples(
        quality_leads(0),
        (
            Rule("default", "design", SPACE, DEFAULT),
            Rule("pilot", "design", SPACE, DEFAULT, pilot=1 / 3, bets=Bets()),
        ),
    )
    assert found["default"] >= 1.5, found
    assert found["pilot"] >= 3, found


def test_a_label_multiple_is_the_factor_that_uniforms_labels_must_grow_by() -> None:
    steps, smooth = np.array([10.0, 20, 40, 80]), np.array([1.0, 2, 3, 4])
    assert label_multiple(np.array([2.0, 3.0]), [20, 40], steps, smooth) == pytest.approx(1)
    assert label_multiple(np.array([3.0, 4.0]), [20, 40], steps, smooth) == pytest.approx(2)
    assert label_multiple(np.array([1.0]), [20], steps, smooth) == pytest.approx(0.5)
    assert label_multiple(np.array([0.5]), [20], steps, smooth) == pytest.approx(0.25), "in proportion below"
    assert label_multiple(np.array([9.0, 9.0]), [20, 40], steps, smooth) == pytest.approx(4), "the largest tried"
    uneven = label_multiple(np.array([-0.3, 5.3]), [20, 40], steps, smooth)
    assert uneven == pytest.approx(1), "what one budget lacks another may bring"


def test_only_pilots_and_generator_contrasts_are_told_of_outcomes() -> None:
    plain = Rule("design", "design", SPACE, DEFAULT)
    assert not plain.informed
    assert replace(plain, pilot=0.3).informed
    assert replace(plain, pick="generator_gap").informed
