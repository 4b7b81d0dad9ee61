"""Synthetic ground truth: the pieces against direct computation, the orderings with a statistical margin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curation.charts.synthetic import gap_curves
from curation.errors import CurationError
from curation.experiments.synthetic import (
    CONTEXTUAL,
    DESIGNS,
    TABULAR,
    Curves,
    Settings,
    designs,
    draw_instance,
    estimate,
    optimal,
    pairs_of,
    policy,
    read,
    run,
    value,
    write,
)

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "tabular": replace(TABULAR, candidates=6, dim=6),
    "contextual": replace(CONTEXTUAL, prompts=4, candidates=4, dim=3),
}


@pytest.mark.parametrize("kind", ["tabular", "contextual"])
def test_the_optimum_is_the_reference_tilted_by_the_reward(kind: str) -> None:
    settings = replace(SMALL[kind], beta=0.7)
    instance = draw_instance(settings, np.random.default_rng(0))
    best = policy(instance, instance.theta, settings.beta)
    tilted = np.exp(instance.reference + instance.rewards / settings.beta)
    np.testing.assert_allclose(best, tilted / tilted.sum(axis=1, keepdims=True))
    top = value(instance, best, settings.beta)
    rng = np.random.default_rng(1)
    for _ in range(200):
        other = best * np.exp(rng.normal(0, 0.3, best.shape))
        assert value(instance, other / other.sum(axis=1, keepdims=True), settings.beta) < top


def test_the_estimate_has_no_gradient_left_and_finds_the_truth() -> None:
    settings = SMALL["contextual"]
    instance = draw_instance(settings, np.random.default_rng(0))
    z = pairs_of(settings, instance)[3]
    p = 1 / (1 + np.exp(-(z @ instance.theta)))
    counts = np.full((1, len(z)), 1e6)
    theta = estimate(z, counts * p, counts, 0.01)
    np.testing.assert_allclose(theta[0], instance.theta, atol=1e-4)
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 5, (3, len(z))).astype(float)
    wins = rng.binomial(counts.astype(int), p[None, :]).astype(float)
    theta = estimate(z, wins, counts, 0.5)

    def objective(t: np.ndarray) -> np.ndarray:
        m = t @ z.T
        return (wins * m - counts * np.logaddexp(0, m)).sum(axis=1) - 0.25 * (t**2).sum(axis=1)

    for k in range(z.shape[1]):
        step = np.zeros(z.shape[1])
        step[k] = 1e-5
        slope = (objective(theta + step) - objective(theta - step)) / 2e-5
        np.testing.assert_allclose(slope, 0, atol=1e-6)


@pytest.mark.parametrize("kind", ["tabular", "contextual"])
def test_the_oracle_design_is_the_one_a_conic_solver_finds(kind: str) -> None:
    import cvxpy as cp

    from curation.experiments.synthetic import RIDGE

    settings = replace(SMALL[kind], reward_deviation=2.0)  # so that the curvature matters
    instance = draw_instance(settings, np.random.default_rng(3))
    z = pairs_of(settings, instance)[3]
    p = policy(instance, instance.theta, settings.beta)
    margin = z @ instance.theta
    curvature = 4 / ((1 + np.exp(-margin)) * (1 + np.exp(margin)))
    assert curvature.min() < 0.7
    weights = optimal(settings, instance, p, curvature)
    assert weights.sum() == pytest.approx(1)
    centred = instance.phi - np.einsum("pk,pkd->pd", p, instance.phi)[:, None]
    M = np.einsum("pk,pkd,pke->de", p, centred, centred) / settings.prompts
    scaled = z * np.sqrt(curvature)[:, None]
    prior = RIDGE * np.trace(scaled.T @ scaled / len(z)) / z.shape[1] * np.eye(z.shape[1])

    def criterion(w: np.ndarray) -> float:
        return float(np.trace(np.linalg.solve(scaled.T @ (scaled * w[:, None]) + prior, M)))

    values, vectors = np.linalg.eigh(M)
    root = vectors * np.sqrt(np.maximum(values, 0))
    w = cp.Variable(len(z), nonneg=True)
    goal = cp.Problem(cp.Minimize(cp.matrix_frac(root, scaled.T @ cp.diag(w) @ scaled + prior)), [cp.sum(w) == 1])
    goal.solve(solver=cp.CLARABEL)
    assert criterion(weights) == pytest.approx(goal.value, rel=3e-4)
    plain = optimal(settings, instance, p, np.ones(len(z)))
    assert criterion(weights) < criterion(plain)


def test_the_designs_are_measures_and_the_reference_weighs_by_both_probabilities() -> None:
    settings = SMALL["tabular"]
    instance = draw_instance(settings, np.random.default_rng(0))
    found = designs(settings, instance)
    assert tuple(found) == DESIGNS
    for weights in found.values():
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1)
    x, i, j, _ = pairs_of(settings, instance)
    p0 = np.exp(instance.reference)
    ratio = found["reference_weighted"] / (p0[x, i] * p0[x, j])
    np.testing.assert_allclose(ratio, ratio[0])


def _ordered(curves: Curves, *, least: float, least_reference: float) -> None:
    last = slice(-3, None)
    _, ahead = curves.difference("uniform", "plug_in")
    assert (ahead[last] > least).all(), ahead
    _, oracle = curves.difference("uniform", "oracle")
    assert (oracle[last] > least).all(), oracle
    apart = curves.mean("plug_in")[last] / curves.mean("oracle")[last]
    assert (np.abs(np.log(apart)) < 0.25).all(), apart
    _, behind = curves.difference("reference_weighted", "plug_in")
    assert (behind[-4:-1] > least_reference).all(), behind  # heavy tails: a few seeds decide the last
    assert curves.mean("uniform")[-1] < 0.2 * curves.mean("uniform")[0]  # uniform does improve


@pytest.mark.slow
def test_the_published_ordering_holds_on_few_seeds() -> None:
    curves = run(replace(TABULAR, seeds=40))
    _ordered(curves, least=3, least_reference=2)
    _, worse = curves.difference("reference_weighted", "uniform")
    assert worse[4:7].max() > 3
    spread = {name: curves.gaps[name].std(axis=0)[5] for name in DESIGNS}
    assert max(spread, key=lambda name: spread[name]) == "reference_weighted"


@pytest.mark.slow
@pytest.mark.parametrize("settings", [TABULAR, CONTEXTUAL], ids=lambda s: s.kind)
def test_the_published_orderings_hold_on_two_hundred_seeds(settings: Settings) -> None:
    curves = run(settings)
    _ordered(curves, least=5, least_reference=3)
    _, worse = curves.difference("reference_weighted", "uniform")
    assert worse.max() > 3
    assert curves.multiple(5) > 1.3


def test_the_same_settings_give_the_same_figures_and_files_are_read_back(tmp_path: Path) -> None:
    settings = replace(SMALL["contextual"], seeds=3, labels=(50, 100))
    seen: list[int] = []
    first, second = run(settings, progress=lambda done, *_: seen.append(done)), run(settings)
    assert seen == [1, 2, 3]
    for name in DESIGNS:
        np.testing.assert_array_equal(first.gaps[name], second.gaps[name])
    told = write(first, tmp_path / "r")
    again = read(tmp_path / "r")
    assert again is not None
    assert again.settings == settings
    np.testing.assert_allclose(again.mean("oracle"), first.mean("oracle"))
    assert told["sentences"] == again.sentences()
    assert len((tmp_path / "r" / "table.csv").read_text().splitlines()) == 3
    assert read(tmp_path / "nowhere") is None
    (tmp_path / "r" / "result.json").write_text("{")
    assert read(tmp_path / "r") is None
    assert len(gap_curves(first).data) == 8


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(CurationError, match="--seeds 1 is below 2"):
        run(replace(TABULAR, seeds=1))
    with pytest.raises(CurationError, match="do not rise"):
        run(replace(TABULAR, labels=(100, 50)))


def test_the_command_writes_where_the_dashboard_looks(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "curation", "experiment", "tabular", "--seeds", "2", "--json"],
        cwd=ROOT, env={**os.environ, "CURATION_HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert (tmp_path / "experiments" / "tabular" / "result.json").exists()
    assert result["settings"]["seeds"] == 2
    assert len(result["mean"]["plug_in"]) == len(TABULAR.labels)
