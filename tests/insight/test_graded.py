"""Answers with strength: the model of answering, its calibration, and the learner, each against direct computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit

from curation.backtest.graded_dpo import (
    CumulativeLogit,
    GradedBatches,
    fit_graded_dpo,
    fit_soft_dpo,
    soft_batches,
)
from curation.backtest.linear_dpo import Batches, deal_folds, fit_linear_dpo
from curation.design.factors import graded_information
from curation.insight import graded
from curation.insight.graded import Answering, GradedError

CUTS = (0.6, 1.7)


def drawn(seed: int, n: int, theta: np.ndarray, thresholds: tuple[float, float] = CUTS) -> tuple[np.ndarray, ...]:
    """Rows z (n, d), latents and levels of one label each."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, len(theta)))
    latent = z @ theta - logit(rng.random(n))
    return z, latent, graded.levels_of(latent, thresholds)


def batch_of(z: np.ndarray, levels: np.ndarray) -> GradedBatches:
    return GradedBatches(torch.tensor(z[None]), torch.tensor(np.eye(5)[levels][None]), np.arange(len(z))[None] // 2)


# --- how a person answers ---


def test_levels_are_the_bands_of_the_latent_and_the_binary_answer_is_its_sign() -> None:
    latent = np.array([-9.0, -1.71, -1.69, -0.61, -0.59, 0.59, 0.61, 1.69, 1.71, 9.0])
    levels = graded.levels_of(latent, CUTS)
    assert levels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    decided = levels != 2
    assert np.array_equal(levels[decided] > 2, latent[decided] > 0)
    assert np.array_equal(graded.levels_of(latent, (0.0, np.inf)), np.where(latent > 0, 3, 1))


def test_chances_of_levels_are_the_frequencies_of_the_same_draw_that_gives_the_binary_answer() -> None:
    rng = np.random.default_rng(0)
    for eta in (-1.3, 0.0, 2.0):
        chance = rng.random(200_000)
        latent = eta - logit(chance)
        assert np.array_equal(latent > 0, chance < expit(eta))
        seen = np.bincount(graded.levels_of(latent, CUTS), minlength=5) / len(latent)
        np.testing.assert_allclose(graded.level_probabilities(eta, CUTS), seen, atol=0.005)


def test_information_of_a_graded_answer_is_the_variance_of_its_score_at_these_thresholds() -> None:
    eta, h = np.linspace(-4, 4, 17), 1e-5
    p = graded.level_probabilities(eta, CUTS)
    ahead, behind = (np.log(graded.level_probabilities(eta + step, CUTS)) for step in (h, -h))
    score = (ahead - behind) / (2 * h)
    told = graded_information(torch.as_tensor(eta), graded.cuts_of(CUTS)).numpy()
    np.testing.assert_allclose(told, (p * score**2).sum(-1), rtol=1e-6)
    assert (told < 1 / 3).all(), "never more than the latent itself tells"


# --- calibration ---


@pytest.mark.parametrize("wanted", [0.52, 0.64, 0.9])
def test_the_temperature_gives_the_agreement_asked_for(wanted: float) -> None:
    gaps = np.random.default_rng(0).normal(size=4000) * 37
    temperature = graded.temperature_for_agreement(gaps, wanted)
    assert graded.agreement(gaps / temperature) == pytest.approx(wanted, abs=1e-8)
    rng = np.random.default_rng(1)
    one, two = (rng.random((100, 4000)) < expit(gaps / temperature) for _ in range(2))
    assert np.mean(one == two) == pytest.approx(wanted, abs=0.004)


def test_an_agreement_that_the_pool_cannot_give_is_refused() -> None:
    gaps = np.array([0.0, 0.0, 1.0, 2.0])
    with pytest.raises(GradedError, match=r"--agreement 0.8 cannot be had .* 0\.5 \(coins\) to 0\.75"):
        graded.temperature_for_agreement(gaps, 0.8)
    with pytest.raises(GradedError, match=r"--agreement 0\.5 "):
        graded.temperature_for_agreement(gaps, 0.5)


def test_thresholds_give_the_shares_asked_for_and_rise_with_the_latents_scale() -> None:
    rng = np.random.default_rng(2)
    for scale in (0.3, 2.0, 40.0):
        eta = rng.normal(size=3000) * scale
        thresholds = graded.thresholds_by_share(eta, ties=0.2, much=0.5)
        p = graded.level_probabilities(eta, thresholds).mean(0)
        assert p[2] == pytest.approx(0.2, abs=1e-6)
        assert p[0] + p[4] == pytest.approx(0.4, abs=1e-6)
    assert graded.thresholds_by_scale(np.zeros(3), slight=0.5, much=2.0) == pytest.approx(
        (0.5 * np.pi / np.sqrt(3), 2 * np.pi / np.sqrt(3))
    )


def test_soft_targets_are_what_a_second_binary_answer_says() -> None:
    rng = np.random.default_rng(3)
    eta = np.tile(rng.normal(size=500) * 1.5, 400)
    first = graded.levels_of(eta - logit(rng.random(len(eta))), CUTS)
    second = rng.random(len(eta)) < expit(eta)
    targets = graded.soft_targets(eta[:500], CUTS)
    assert targets[2] == pytest.approx(0.5)
    assert targets[0] == pytest.approx(1 - targets[4])
    for level in (0, 1, 3, 4):
        mirrored = np.concatenate([second[first == level], ~second[first == 4 - level]])
        assert targets[level] == pytest.approx(mirrored.mean(), abs=0.01)


def test_shares_that_are_none_are_refused() -> None:
    for change in ({"ties": 0.0}, {"much": 1.0}, {"jitter": -1.0}, {"annotators": 0}):
        with pytest.raises(GradedError):
            Answering(**change)  # type: ignore[arg-type]


# --- the learner ---


def direct(z: np.ndarray, levels: np.ndarray, ridge: float, prior: float = 0.1) -> np.ndarray:
    """theta and thresholds by a general minimiser of the likelihood as stated, without any of the learner's algebra."""

    def loss(x: np.ndarray) -> float:
        theta, low, high = x[:-2], np.exp(x[-2]), np.exp(x[-2]) + np.exp(x[-1])
        p = graded.level_probabilities(z @ theta, (low, high))[np.arange(len(z)), levels]
        at_zero = graded.level_probabilities(0.0, (low, high))
        return float(
            -np.log(np.maximum(p, 1e-300)).sum()
            - prior * np.log(np.maximum(at_zero, 1e-300)).sum()
            + ridge / 2 * theta @ theta
        )

    x = minimize(loss, np.zeros(z.shape[1] + 2), method="BFGS", options={"gtol": 1e-7}).x
    return np.concatenate([x[:-2], [np.exp(x[-2]), np.exp(x[-2]) + np.exp(x[-1])]])


def test_the_fit_is_the_minimum_of_the_stated_likelihood_and_the_ridge_the_one_its_folds_prefer() -> None:
    z, _, levels = drawn(4, 60, np.array([2.0, -1, 0, 0.5]))
    batch, ridges = batch_of(z, levels), (10.0, 1.0, 0.1)
    fit = fit_graded_dpo(batch, rng=np.random.default_rng(3), ridges=ridges, folds=4)
    fold = deal_folds(batch.groups, 4, np.random.default_rng(3))[0]
    held = []
    for ridge in ridges:
        total = 0.0
        for f in range(4):
            x = direct(z[fold != f], levels[fold != f], ridge)
            p = graded.level_probabilities(z[fold == f] @ x[:-2], (x[-2], x[-1]))
            total -= float(np.log(p[np.arange(len(p)), levels[fold == f]]).sum())
        held.append(total / 60)
    np.testing.assert_allclose(fit.held_out[0], held, atol=1e-4)
    assert fit.ridge[0] == ridges[int(np.argmin(held))]
    x = direct(z, levels, float(fit.ridge[0]))
    np.testing.assert_allclose(fit.theta[0].numpy(), x[:-2], atol=1e-3)
    np.testing.assert_allclose(fit.thresholds[0], x[-2:], atol=1e-3)


def test_gradient_and_hessian_agree_with_finite_differences() -> None:
    rng = np.random.default_rng(5)
    counts = torch.tensor(rng.integers(0, 3, (2, 3, 7, 5)).astype(float))
    objective = CumulativeLogit(
        torch.tensor(rng.normal(size=(2, 7, 4))),
        counts[..., 1:],
        counts[..., 1:] + counts[..., :-1],
        torch.stack([counts[..., 2].sum(-1), (counts[..., 1] + counts[..., 3]).sum(-1)], -1),
        ridge=0.7,
    )
    at = torch.tensor(np.concatenate([rng.normal(size=(2, 3, 4)), np.tile([0.4, 1.9], (2, 3, 1))], -1))
    gradient = objective.gradient(objective.logits(at), at)
    hessian = objective.hessian(objective.logits(at), at)
    for k in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[k] = 1e-6
        up, down = at + step, at - step
        slope = (objective.loss(objective.logits(up), up) - objective.loss(objective.logits(down), down)) / 2e-6
        torch.testing.assert_close(gradient[..., k], slope, rtol=1e-5, atol=1e-6)
        bend = (objective.gradient(objective.logits(up), up) - objective.gradient(objective.logits(down), down)) / 2e-6
        torch.testing.assert_close(hessian[..., k], bend, rtol=1e-5, atol=1e-5)
    crossed = at.clone()
    crossed[..., -1] = 0.3
    assert torch.isinf(objective.loss(objective.logits(crossed), crossed)).all(), "t2 below t1 is not allowed"


def test_theta_and_thresholds_are_recovered_from_many_labels() -> None:
    theta = np.array([1.5, -0.8, 0.0, 0.3])
    z, _, levels = drawn(6, 12_000, theta)
    fit = fit_graded_dpo(batch_of(z, levels), rng=np.random.default_rng(0))
    np.testing.assert_allclose(fit.theta[0].numpy(), theta, atol=0.07)
    np.testing.assert_allclose(fit.thresholds[0], CUTS, atol=0.06)


def test_where_only_the_sign_is_asked_the_fit_is_the_binary_learners() -> None:
    z, latent, _ = drawn(7, 80, np.array([1.0, -1.0, 0.5]))
    won = latent > 0
    levels = np.where(won, 3, 1)
    batch = batch_of(z, levels)
    fit = fit_graded_dpo(batch, rng=np.random.default_rng(1), thresholds=(0.0, float("inf")))
    labels = torch.ones(1, 80, dtype=torch.float64)
    binary = fit_linear_dpo(
        Batches(batch.vectors, torch.tensor(won[None].astype(float)), labels, batch.groups),
        rng=np.random.default_rng(1),
    )
    np.testing.assert_allclose(fit.theta.numpy(), binary.theta.numpy(), atol=1e-8)
    np.testing.assert_allclose(fit.held_out, binary.held_out, atol=1e-8)
    free = fit_graded_dpo(batch, rng=np.random.default_rng(1))
    cosine = torch.nn.functional.cosine_similarity(free.theta, binary.theta).item()
    assert cosine > 0.99, "estimated thresholds move out of the way too"


def test_batches_are_fitted_as_if_alone_padding_and_copies_change_nothing() -> None:
    z, _, levels = drawn(8, 30, np.array([1.0, -1.0, 0.5]))
    groups = np.arange(30) // 2
    alone = fit_graded_dpo(batch_of(z, levels), rng=np.random.default_rng(0), ridges=(1.0,))
    vectors, counts, owners = np.zeros((2, 45, 3)), np.zeros((2, 45, 5)), np.zeros((2, 45), dtype=np.int64)
    for row in range(2):
        vectors[row, :30], counts[row, :30], owners[row, :30] = z, np.eye(5)[levels], groups
    vectors[1, 30:], counts[1, 30:], owners[1, 30:] = z[:15], np.eye(5)[levels[:15]], groups[:15]
    both = fit_graded_dpo(
        GradedBatches(torch.tensor(vectors), torch.tensor(counts), owners), rng=np.random.default_rng(0), ridges=(1.0,)
    )
    np.testing.assert_allclose(both.theta[0].numpy(), alone.theta[0].numpy(), atol=1e-5)
    copied = np.eye(5)[levels]
    copied[:15] *= 2
    twice = fit_graded_dpo(
        GradedBatches(torch.tensor(z[None]), torch.tensor(copied[None]), groups[None]),
        rng=np.random.default_rng(0),
        ridges=(1.0,),
    )
    np.testing.assert_allclose(both.theta[1].numpy(), twice.theta[0].numpy(), atol=1e-5)


def test_fewer_labels_than_dimensions_and_levels_never_seen_are_fitted() -> None:
    z, _, _ = drawn(9, 12, np.ones(30))
    levels = np.array([4, 4, 4, 0, 0, 0, 4, 0, 4, 4, 0, 4])
    fit = fit_graded_dpo(batch_of(z, levels), rng=np.random.default_rng(0))
    assert np.isfinite(fit.theta.numpy()).all()
    low, high = fit.thresholds[0]
    assert 0 < low < high
    assert np.isfinite(fit.held_out).all()


def test_soft_targets_are_the_binary_learner_on_shares_of_wins() -> None:
    z, _, levels = drawn(10, 50, np.array([1.0, -1.0]))
    batch = batch_of(z, levels)
    soft = soft_batches(batch)
    np.testing.assert_allclose(soft.wins[0].numpy(), np.array(graded.SOFT)[levels])
    assert (soft.trials == 1).all()
    hard = fit_soft_dpo(batch, rng=np.random.default_rng(0), targets=(0, 0, 0.5, 1, 1), ridges=(1.0,))
    wins = torch.tensor(np.array([0, 0, 0.5, 1, 1])[levels][None])
    expected = fit_linear_dpo(
        Batches(batch.vectors, wins, torch.ones(1, 50, dtype=torch.float64), batch.groups),
        rng=np.random.default_rng(0),
        ridges=(1.0,),
    )
    np.testing.assert_allclose(hard.theta.numpy(), expected.theta.numpy())


def test_thresholds_that_the_answers_contradict_are_refused() -> None:
    z, _, levels = drawn(11, 40, np.array([1.0, -1.0]))
    with pytest.raises(GradedError, match="leave no room for answers that were given"):
        fit_graded_dpo(batch_of(z, levels), rng=np.random.default_rng(0), thresholds=(0.0, float("inf")))
    with pytest.raises(GradedError, match="must rise from 0"):
        fit_graded_dpo(batch_of(z, levels), rng=np.random.default_rng(0), thresholds=(1.0, 0.5))
