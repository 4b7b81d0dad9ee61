"""Probabilities and the Fisher matrix, against loops and finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RepresentationError
from curation.representation.fisher_matrix import fisher_matrix, response_probabilities
from curation.representation.left_out import left_out

SIZES = (2, 5, 3, 7, 4)
OFFSETS = np.concatenate([[0], np.cumsum(SIZES)])
N = int(OFFSETS[-1])


def _phi(d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, d))


def _softmax(logits: np.ndarray) -> np.ndarray:
    parts = [np.exp(part - part.max()) for part in np.split(logits, OFFSETS[1:-1])]
    return np.concatenate([part / part.sum() for part in parts])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_the_fisher_matrix_is_the_hessian_of_the_log_partition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    phi, theta = _phi(seed=seed), rng.normal(size=3)
    omega = rng.dirichlet(np.ones(len(SIZES)))

    def log_partition(at: np.ndarray) -> float:
        parts = np.split(phi @ at, OFFSETS[1:-1])
        return float(sum(w * np.log(np.exp(part).sum()) for w, part in zip(omega, parts, strict=True)))

    h = 1e-4
    steps = np.eye(3) * h
    hessian = np.array(
        [
            [
                (
                    log_partition(theta + a + b)
                    - log_partition(theta + a - b)
                    - log_partition(theta - a + b)
                    + log_partition(theta - a - b)
                )
                / (4 * h * h)
                for b in steps
            ]
            for a in steps
        ]
    )
    np.testing.assert_allclose(fisher_matrix(phi, OFFSETS, _softmax(phi @ theta), omega), hessian, atol=2e-6)


def test_the_fisher_matrix_is_a_weighted_sum_of_covariances_and_ignores_prompt_shifts() -> None:
    rng = np.random.default_rng(1)
    phi, omega = _phi(), rng.dirichlet(np.ones(len(SIZES)))
    p = _softmax(rng.normal(size=N))
    direct = np.zeros((3, 3))
    for x, (start, stop) in enumerate(itertools.pairwise(OFFSETS)):
        direct += omega[x] * np.cov(phi[start:stop].T, aweights=p[start:stop], bias=True)
    np.testing.assert_allclose(fisher_matrix(phi, OFFSETS, p, omega), direct, atol=1e-12)
    shift = np.repeat(rng.normal(size=(len(SIZES), 3)) * 100, SIZES, axis=0)
    np.testing.assert_allclose(fisher_matrix(phi + shift, OFFSETS, p, omega), direct, atol=1e-10)


def test_under_uniform_probabilities_the_fisher_matrix_is_half_the_mean_outer_product_of_ordered_pairs() -> None:
    phi = _phi()
    uniform = response_probabilities(phi, OFFSETS, logprob=None, kind="uniform")
    omega = np.full(len(SIZES), 1 / len(SIZES))
    direct = np.zeros((3, 3))
    for start, stop in itertools.pairwise(OFFSETS):
        z = (phi[start:stop, None] - phi[None, start:stop]).reshape(-1, 3)
        direct += z.T @ z / (2 * len(z)) / len(SIZES)
    np.testing.assert_allclose(fisher_matrix(phi, OFFSETS, uniform.p, omega), direct, atol=1e-12)


def test_a_prompt_of_weight_zero_and_a_certain_response_add_nothing() -> None:
    phi, omega = _phi(), np.array([0.0, 1.0, 0, 0, 0])
    certain = np.zeros(N)
    certain[OFFSETS[:-1]] = 1.0
    np.testing.assert_allclose(fisher_matrix(phi, OFFSETS, certain, np.full(5, 0.2)), 0.0, atol=1e-15)
    p = _softmax(np.zeros(N))
    other = phi.copy()
    other[:2] *= 50
    np.testing.assert_allclose(fisher_matrix(phi, OFFSETS, p, omega), fisher_matrix(other, OFFSETS, p, omega))


def test_the_reference_recovers_a_log_linear_policy_whatever_the_prompt_constants() -> None:
    rng = np.random.default_rng(3)
    phi, theta = _phi(), np.array([0.8, -0.5, 0.3])
    constants = np.repeat(rng.normal(size=len(SIZES)) * 1000, SIZES)
    found = response_probabilities(phi, OFFSETS, logprob=phi @ theta + constants - 5000, kind="reference")
    np.testing.assert_allclose(found.p, _softmax(phi @ theta), atol=2e-3)  # the ridge of 0.1 % pulls a little
    assert found.kind == "reference"
    assert found.fit_r2 is not None
    assert found.fit_r2 > 0.999


def test_the_reference_is_the_closed_form_ridge_regression() -> None:
    phi, logprob = _phi(), np.random.default_rng(4).normal(size=N) * 3
    centred = np.concatenate([part - part.mean(axis=0) for part in np.split(phi, OFFSETS[1:-1])])
    target = np.concatenate([part - part.mean() for part in np.split(logprob, OFFSETS[1:-1])])
    ridge = 1e-3 * np.trace(centred.T @ centred) / 3
    stacked = np.vstack([centred, np.sqrt(ridge) * np.eye(3)])
    theta = np.linalg.lstsq(stacked, np.concatenate([target, np.zeros(3)]), rcond=None)[0]
    found = response_probabilities(phi, OFFSETS, logprob=logprob, kind="reference")
    np.testing.assert_allclose(found.p, _softmax(phi @ theta), atol=1e-12)
    seen = left_out(phi, OFFSETS, logprob, ridge_share=1e-3)
    assert seen is not None
    assert found.fit_r2 == seen.features < 1 - np.sum((target - centred @ theta) ** 2) / np.sum(target**2)
    assert "on prompts left out of the fit" in found.reason


def test_empirical_is_the_softmax_with_temperature_and_length_normalisation() -> None:
    rng = np.random.default_rng(5)
    logprob, tokens = rng.normal(size=N) * 20 - 300, rng.integers(1, 50, N)
    found = response_probabilities(_phi(), OFFSETS, logprob=logprob, kind="empirical", temperature=7.0)
    np.testing.assert_allclose(found.p, _softmax(logprob / 7.0), atol=1e-14)
    per_token = response_probabilities(_phi(), OFFSETS, logprob=logprob, kind="empirical", n_tokens=tokens)
    np.testing.assert_allclose(per_token.p, _softmax(logprob / tokens), atol=1e-14)
    assert found.fit_r2 is None


def test_effective_candidates_count_what_the_probabilities_rest_on() -> None:
    uniform = response_probabilities(_phi(), OFFSETS, logprob=None, kind="uniform")
    np.testing.assert_allclose(uniform.effective, SIZES)
    logprob = np.full(N, -1e5)
    logprob[OFFSETS[:-1]] = 0.0
    np.testing.assert_allclose(
        response_probabilities(_phi(), OFFSETS, logprob=logprob, kind="empirical").effective, 1.0
    )


def test_auto_takes_the_reference_when_it_spreads_over_two_candidates() -> None:
    phi = _phi()
    found = response_probabilities(phi, OFFSETS, logprob=phi @ np.full(3, 0.1), kind="auto")
    assert found.kind == "reference"
    assert np.median(found.effective) >= 2


def test_auto_falls_back_to_uniform_with_a_reason_when_one_candidate_takes_all() -> None:
    phi = _phi()
    found = response_probabilities(phi, OFFSETS, logprob=phi @ np.full(3, 80.0), kind="auto")
    assert found.kind == "uniform"
    assert "effective candidates in the median prompt" in found.reason
    np.testing.assert_allclose(found.p, _softmax(np.zeros(N)))


def test_auto_says_how_many_log_probabilities_are_missing() -> None:
    logprob = np.full(N, -3.0)
    logprob[[2, 4]] = np.nan
    assert f"2 of {N}" in response_probabilities(_phi(), OFFSETS, logprob=logprob, kind="auto").reason
    assert "no response has" in response_probabilities(_phi(), OFFSETS, logprob=None, kind="auto").reason


@pytest.mark.parametrize("kind", ["reference", "empirical"])
def test_asking_for_log_probabilities_that_are_missing_is_an_error_with_count_and_remedy(kind: str) -> None:
    logprob = np.full(N, -3.0)
    logprob[7] = np.nan
    with pytest.raises(RepresentationError, match=f"1 of {N} .*--fisher uniform"):
        response_probabilities(_phi(), OFFSETS, logprob=logprob, kind=kind)


def test_wrong_shapes_negative_weights_and_a_bad_temperature_are_refused() -> None:
    phi, p = _phi(), _softmax(np.zeros(N))
    with pytest.raises(RepresentationError, match="do not fit"):
        fisher_matrix(phi, OFFSETS, p[:-1], np.full(5, 0.2))
    with pytest.raises(RepresentationError, match="negative"):
        fisher_matrix(phi, OFFSETS, p, np.array([1.0, -0.2, 0.1, 0.05, 0.05]))
    with pytest.raises(RepresentationError, match="temperature 0"):
        response_probabilities(phi, OFFSETS, logprob=np.zeros(N), kind="empirical", temperature=0.0)
    with pytest.raises(RepresentationError, match="offsets"):
        fisher_matrix(phi, np.array([0, 3, 3, N]), p, np.full(3, 1 / 3))
