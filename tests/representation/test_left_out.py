"""R squared over left-out prompts: against a loop of plain fits, where features say something, and where only length."""

from __future__ import annotations

import numpy as np
import pytest

from curation.errors import RepresentationError
from curation.representation.fisher.reference import RIDGE_SHARE
from curation.representation.left_out import left_out
from curation.representation.segments import centre_within

P, K, D = 30, 6, 25
BOUNDS = np.arange(0, P * K + 1, K)


def _space(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(P * K, D))


def test_it_is_the_error_of_fits_that_have_not_seen_the_prompt() -> None:
    rng = np.random.default_rng(1)
    phi = _space()
    values = phi @ rng.normal(size=D) + 3 * rng.normal(size=P * K) + np.repeat(rng.normal(size=P) * 50, K)
    found = left_out(phi, BOUNDS, values, ridge_share=RIDGE_SHARE, folds=P)  # one prompt left out at a time
    x, y = centre_within(phi, BOUNDS), centre_within(values, BOUNDS)
    error = 0.0
    for p in range(P):
        held = np.zeros(P * K, dtype=bool)
        held[p * K : (p + 1) * K] = True
        ridge = RIDGE_SHARE * np.sum(x[~held] ** 2) / D
        long = np.vstack([x[~held], np.sqrt(ridge) * np.eye(D)])
        theta = np.linalg.lstsq(long, np.concatenate([y[~held], np.zeros(D)]), rcond=None)[0]
        error += float(np.sum((y[held] - x[held] @ theta) ** 2))
    assert found is not None
    assert found.features == pytest.approx(1 - error / float(y @ y), rel=1e-9)
    assert found.length is None


def test_features_that_say_something_are_believed_and_a_permutation_is_not() -> None:
    rng = np.random.default_rng(2)
    phi = _space()
    true = phi @ rng.normal(size=D)
    said = left_out(phi, BOUNDS, true, ridge_share=RIDGE_SHARE)
    shuffled = rng.permutation(true)
    null = left_out(phi, BOUNDS, shuffled, ridge_share=RIDGE_SHARE)
    x, y = centre_within(phi, BOUNDS), centre_within(shuffled, BOUNDS)
    theta = np.linalg.lstsq(x, y, rcond=None)[0]
    inside = 1 - np.sum((y - x @ theta) ** 2) / np.sum(y**2)
    assert said is not None
    assert null is not None
    assert said.features > 0.99
    assert inside > 0.1, "in the sample a permutation is explained too"
    assert null.features < 0.05


def test_length_alone_is_told_beside_and_in_words() -> None:
    rng = np.random.default_rng(3)
    tokens = rng.integers(5, 400, size=P * K).astype(float)
    values = -2.0 * tokens + rng.normal(size=P * K)
    phi = _space()
    phi[:, 0] = tokens / 40 + rng.normal(size=P * K)  # the features know of length, imprecisely
    found = left_out(phi, BOUNDS, values, tokens, ridge_share=RIDGE_SHARE)
    assert found is not None
    assert found.length is not None
    assert found.length > 0.999
    assert 0.5 < found.features < found.length
    assert "length alone 100%: what is explained is that answers differ in length" in found.clause()
    apart = left_out(phi, BOUNDS, phi[:, 1], tokens, ridge_share=RIDGE_SHARE)
    assert apart is not None
    assert apart.length is not None
    assert apart.length < 0.05 < 0.9 < apart.features
    assert "differ in length" not in apart.clause()


def test_what_a_prompt_shares_changes_nothing_and_the_order_of_prompts_is_that_of_the_pool() -> None:
    rng = np.random.default_rng(4)
    phi = _space()
    values = phi[:, 0] + rng.normal(size=P * K)
    once = left_out(phi, BOUNDS, values, ridge_share=RIDGE_SHARE)
    moved = left_out(phi, BOUNDS, values + np.repeat(rng.normal(size=P), K) * 100, ridge_share=RIDGE_SHARE)
    assert once is not None
    assert moved is not None
    assert moved.features == pytest.approx(once.features, abs=1e-9)
    assert left_out(phi, BOUNDS, values, ridge_share=RIDGE_SHARE) == once


def test_where_nothing_differs_there_is_nothing_to_explain() -> None:
    phi = _space()
    assert left_out(phi, BOUNDS, np.repeat(np.arange(P), K), ridge_share=RIDGE_SHARE) is None
    assert left_out(phi[:K], [0, K], phi[:K, 0], ridge_share=RIDGE_SHARE) is None  # one prompt
    flat = left_out(np.zeros((P * K, D)), BOUNDS, phi[:, 0], np.ones(P * K), ridge_share=RIDGE_SHARE)
    assert flat is not None
    assert (flat.features, flat.length) == (0.0, 0.0)
    with pytest.raises(RepresentationError, match="give one each"):
        left_out(phi, BOUNDS, phi[:3, 0], ridge_share=RIDGE_SHARE)
    with pytest.raises(RepresentationError, match="lengths"):
        left_out(phi, BOUNDS, phi[:, 0], np.full(P * K, -1.0), ridge_share=RIDGE_SHARE)
