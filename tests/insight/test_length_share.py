"""What a batch owes to answer length: against dense regressions, planted pools and figures worked out by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.sets.make import make_feasible
from curation.design.sets.uniform import uniform_design
from curation.design.solvers.newton import newton
from curation.insight.length_share import LengthShare, length_share, sentence_of_batch
from tests.desk.builders import random_fisher


def centred(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return np.concatenate([part - part.mean(0) for part in np.split(values, offsets[1:-1])])


def problem(seed: int, *, along: float, dim: int = 5, prompts: int = 14, ridge: float = 0.3, budget: int = 20):
    """A pool whose features follow log length by `along` times one direction, and a design on it."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 7, prompts)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    lengths = rng.integers(5, 900, offsets[-1])
    phi = rng.standard_normal((offsets[-1], dim)) + along * np.outer(np.log1p(lengths), rng.standard_normal(dim))
    geometry = Geometry(centred(phi, offsets), offsets, prompt_weights=rng.random(prompts) + 0.5)
    criterion = make_criterion(geometry, random_fisher(seed, dim), ridge=ridge)
    feasible = make_feasible(geometry, budget=budget, spread="capped", excluded=[2, 5])
    design = newton(criterion, feasible, tol=1e-6)
    return SimpleNamespace(
        geometry=geometry, criterion=criterion, feasible=feasible, design=design, lengths=lengths, rng=rng
    )


def told(made: SimpleNamespace, pairs: np.ndarray, copies: np.ndarray) -> LengthShare:
    return length_share(made.criterion, made.feasible, made.design, made.lengths, pairs, copies)


def dense(made: SimpleNamespace, pairs: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Mean |u| and adjusted R^2 of B^(1/2) z on u by least squares, every vector built."""
    first, second = made.geometry.endpoints(pairs)
    phi = made.geometry.features.numpy()
    z = phi[first] - phi[second]
    u = np.log1p(made.lengths[first]) - np.log1p(made.lengths[second])
    root = made.criterion.at(made.geometry.information(made.design.weights)).root.numpy()
    rows, by = np.sqrt(weights)[:, None] * (z @ root), np.sqrt(weights) * u
    slope = np.linalg.lstsq(by[:, None], rows, rcond=None)[0]
    r2 = 1 - np.square(rows - by[:, None] @ slope).sum() / np.square(rows).sum()
    count = 1 / np.square(weights).sum()
    return float(weights @ np.abs(u)), float(np.clip(r2 - (1 - r2) / (count - 1), 0, 1))


@pytest.mark.parametrize("along", [0.0, 0.2, 3.0])
def test_the_share_is_the_adjusted_r2_of_a_dense_regression_in_the_criterions_metric(along):
    made = problem(3, along=along)
    pairs = np.sort(made.rng.choice(made.geometry.pairs, size=18, replace=False))
    copies = made.rng.integers(1, 4, 18)
    found = told(made, pairs, copies)
    np.testing.assert_allclose((found.difference, found.share), dense(made, pairs, copies / copies.sum()), rtol=1e-9)
    uniform = uniform_design(made.feasible).numpy()
    every = np.arange(made.geometry.pairs)
    np.testing.assert_allclose(
        (found.uniform_difference, found.uniform_share), dense(made, every, uniform), rtol=1e-9, atol=1e-12
    )
    alike = np.full(len(every), 1 / len(every))
    assert found.pool_difference == pytest.approx(dense(made, every, alike)[0], rel=1e-12)


def test_where_pairs_differ_in_nothing_but_length_all_of_it_lies_along_length():
    rng = np.random.default_rng(0)
    offsets = np.arange(0, 41, 4)
    lengths = rng.integers(1, 500, 40)
    phi = centred(np.log1p(lengths)[:, None] * np.array([[0.3, -2.0]]), offsets)
    geometry = Geometry(phi, offsets)
    criterion = make_criterion(geometry, torch.eye(2).double(), ridge=0.1)
    feasible = make_feasible(geometry, budget=12)
    design = newton(criterion, feasible)
    found = length_share(criterion, feasible, design, lengths, np.arange(0, 60, 5), np.ones(12, dtype=np.int64))
    assert found.share == pytest.approx(1.0)
    assert found.uniform_share == pytest.approx(1.0)


def test_by_hand_half_the_labels_about_length_and_half_not():
    """M = I under a heavy ridge makes B a multiple of I, so scores are squared distances.

    Five labels with z = (2, 0), u = 2 and five with z = (0, sqrt 12), u = 0: a quarter of 16 goes with length. One
    regressor on ten labels takes a ninth of the rest by chance: 1/4 - (3/4) / 9 = 1/6.
    """
    lengths = np.concatenate([np.tile([math.exp(2) - 1, 0], 5), np.full(10, 3)])  # log(1 + characters): 2, 0; log 4
    phi = np.concatenate(
        [np.tile([[1.0, 0.0], [-1.0, 0.0]], (5, 1)), np.tile([[0.0, math.sqrt(3)], [0.0, -math.sqrt(3)]], (5, 1))]
    )
    geometry = Geometry(phi, np.arange(0, 21, 2))
    criterion = make_criterion(geometry, torch.eye(2).double(), ridge=1e9)
    feasible = make_feasible(geometry, budget=10, spread="free")
    found = length_share(
        criterion, feasible, newton(criterion, feasible), lengths, np.arange(10), np.ones(10, dtype=np.int64)
    )
    assert found.difference == pytest.approx(1.0)
    assert found.share == pytest.approx(1 / 6)
    assert (found.uniform_difference, found.uniform_share) == pytest.approx((1.0, 1 / 6))  # the same ten pairs


def test_rotating_the_space_and_adding_a_prompts_own_offset_change_nothing():
    made = problem(5, along=0.6)
    pairs, copies = np.arange(0, 60, 4), np.ones(15, dtype=np.int64)
    turn = torch.linalg.qr(torch.as_tensor(np.random.default_rng(1).standard_normal((5, 5))))[0]
    offset = np.repeat(np.random.default_rng(2).standard_normal((14, 5)), made.geometry.sizes, axis=0)
    moved = Geometry((made.geometry.features + offset) @ turn, made.geometry.offsets)
    criterion = make_criterion(moved, turn.T @ made.criterion.fisher @ turn, ridge=0.3)
    feasible = make_feasible(moved, budget=20, spread="capped", excluded=[2, 5])
    plain = Geometry(made.geometry.features, made.geometry.offsets)
    before = length_share(
        make_criterion(plain, made.criterion.fisher, ridge=0.3), make_feasible(plain, budget=20, excluded=[2, 5]),
        made.design, made.lengths, pairs, copies,
    )  # fmt: skip
    after = length_share(criterion, feasible, made.design, made.lengths, pairs, copies)
    assert after.share == pytest.approx(before.share, rel=1e-9)


def test_chance_alone_owes_nothing_to_length_on_average():
    shares = []
    for seed in range(30):
        made = problem(seed, along=0.0, prompts=12, budget=10)
        pairs = np.sort(made.rng.choice(made.geometry.pairs, size=12, replace=False))
        shares.append(told(made, pairs, np.ones(12, dtype=np.int64)).share)
    assert np.mean(shares) < 0.06  # an unadjusted R^2 is 1/12 on average


def test_equally_long_answers_have_no_share_and_say_so():
    made = problem(1, along=0.0)
    made.lengths = np.full_like(made.lengths, 80)
    found = told(made, np.arange(10), np.ones(10, dtype=np.int64))
    assert (found.share, found.uniform_share, found.difference) == (None, None, 0.0)
    assert "equally long" in found.sentence()
    assert LengthShare.from_dict(found.to_dict()) == found


def test_the_sentence_tells_both_figures_beside_uniforms():
    found = LengthShare(math.log(2.5), math.log(1.5), math.log(1.25), 0.341, 0.12)
    assert found.sentence() == (
        "34% of what this batch is chosen for lies along answer length (uniform labels: 12%). Its pairs differ in length "
        "by a factor of 2.50 on average (uniform labels: 1.50; all pairs: 1.25)."
    )


def test_a_batch_of_an_earlier_version_says_what_its_texts_say():
    records = [
        {"copies": 3, "response_a": "x" * 7, "response_b": "y" * 31},  # factor 4
        {"copies": 1, "response_a": "x" * 15, "response_b": "y" * 15},
    ]
    assert sentence_of_batch({}, records) == (f"Its pairs differ in length by a factor of {4**0.75:.2f} on average.")
    kept = LengthShare(0.5, 0.4, 0.3, 0.2, 0.1)
    assert sentence_of_batch({"length": kept.to_dict()}, records) == kept.sentence()
