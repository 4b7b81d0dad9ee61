"""Explanations are exact: every price equals a recomputation, every share adds up, a pair and its mirror coincide."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from curation.design.criteria.base import Criterion
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.selection.drawn import batch_information
from curation.design.selection.sampling import Batch, sample
from curation.design.sets.make import make_feasible
from curation.design.solvers.newton import newton
from curation.insight.concentration import concentration, share_by
from curation.insight.coverage import coverage, direction_pairs
from curation.insight.efficiency import label_equivalent
from curation.insight.embedding import nearest
from curation.insight.explain import best_replacement, explain, fisher_directions
from curation.insight.luck import repeated_draws
from curation.insight.projection import mirror_distance, project_pairs, sample_pairs


class Case:
    """A solved design on prompts of mixed size, one of them with listed pairs only, and a batch drawn from it."""

    def __init__(self, spread: str, budget: int, most: float = 1.0, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        sizes = [3, 5, 2, 6, 4, 5, 3, 7]
        rows = rng.standard_normal((sum(sizes), 5)) * np.arange(1, 6) ** -0.5
        edges: list[np.ndarray | None] = [None] * len(sizes)
        edges[3] = np.array([[0, 1], [0, 5], [2, 3], [4, 5]])
        self.geometry = Geometry(rows, np.concatenate([[0], np.cumsum(sizes)]), edges=edges)
        fisher = torch.as_tensor(np.cov(rows.T))
        self.criterion = make_criterion(self.geometry, fisher, ridge=0.3)
        self.feasible = make_feasible(self.geometry, budget=budget, max_labels_per_pair=most, spread=spread)
        self.design = newton(self.criterion, self.feasible, tol=1e-9)
        self.batch = sample(self.feasible, self.design.weights, seed=1)
        self.information = batch_information(self.feasible, self.batch)

    def value(self, batch: Batch) -> float:
        return self.criterion.value(batch_information(self.feasible, batch))

    def without(self, pair: int, added: int | None = None) -> float:
        copies = {int(p): int(c) for p, c in zip(self.batch.pairs, self.batch.copies, strict=True)}
        copies[pair] -= 1
        if added is not None:
            copies[added] = copies.get(added, 0) + 1
        kept = sorted(p for p, c in copies.items() if c)
        return self.value(Batch(np.array(kept), np.array([copies[p] for p in kept]), None))


@pytest.fixture(params=[("balanced", 6, 1.0), ("capped", 9, 1.0), ("free", 12, 2.0)], ids=lambda p: p[0])
def case(request) -> Case:
    return Case(*request.param)


def test_price_of_dropping_equals_recomputing_without_the_pair(case):
    told = explain(case.criterion, case.feasible, case.design, case.information, case.batch.pairs)
    whole = case.criterion.value(case.information)
    for m, pair in enumerate(case.batch.pairs.tolist()):
        assert told.drop_cost[m] == pytest.approx(case.without(pair) / whole - 1, rel=1e-9)


def test_best_replacement_beats_every_other_admissible_pair(case):
    whole = case.criterion.value(case.information)
    dropped = int(case.batch.pairs[0])
    found = best_replacement(
        case.criterion, case.feasible, case.information, case.batch.pairs, dropped, copies=case.batch.copies
    )
    own = case.geometry.prompt_of(np.array([dropped]))[0]
    used = np.bincount(case.geometry.prompt_of(case.batch.pairs), weights=case.batch.copies, minlength=8)
    used[own] -= 1
    tried = {}
    for pair in set(range(case.geometry.pairs)) - set(case.batch.pairs.tolist()):
        prompt = case.geometry.prompt_of(np.array([pair]))[0]
        if case.feasible.spread.name == "balanced" and prompt != own:
            continue
        if case.feasible.spread.name == "capped" and used[prompt] + 1 > case.feasible.prompt_labels[prompt]:
            continue
        tried[pair] = case.without(dropped, pair)
    assert found is not None
    assert found.pair == min(tried, key=lambda pair: tried[pair])
    assert found.net == pytest.approx(tried[found.pair] / whole - 1, abs=1e-12)


def test_scores_average_to_one_over_the_design_and_margins_are_one_where_chosen_in_part(case):
    weights = case.design.weights.numpy()
    support = np.flatnonzero(weights > 0)
    told = explain(case.criterion, case.feasible, case.design, case.information, support)
    assert float(told.score @ weights[support]) == pytest.approx(1.0)
    limit = np.minimum(case.feasible.upper, case.feasible.totals.numpy()[case.geometry.prompt_of(support)])
    partial = weights[support] < limit * (1 - 1e-6)
    assert partial.any()
    assert told.margin[partial] == pytest.approx(np.ones(partial.sum()), abs=1e-3)
    assert np.all(told.shares.sum(1) <= 1 + 1e-12)
    assert np.all(np.diff(told.shares, axis=1) <= 1e-12)
    assert f"{told.score[0]:.2f} times" in told.rationale(0)


def test_direction_shares_sum_to_the_criterion_and_ceilings_are_not_exceeded(case):
    design_information = case.geometry.information(case.design.weights)
    found = coverage(case.criterion, case.feasible, design_information, case.information)
    assert found.batch_share.sum() == pytest.approx(case.criterion.value(case.information))
    assert found.design_share.sum() == pytest.approx(case.criterion.value(design_information))
    assert np.all(found.design <= found.ceiling * (1 + 1e-9))
    assert np.all(found.uniform <= found.ceiling * (1 + 1e-9))
    assert found.overlap.sum(0) == pytest.approx(np.ones(5))
    assert found.spectrum_batch.sum() == pytest.approx(float(torch.trace(case.information)))


def test_a_direction_that_no_listed_pair_moves_is_named_unteachable():
    rows = np.array([[1.0, 3.0], [0.0, 3.0], [0.0, -3.0], [1.0, -3.0]])
    geometry = Geometry(rows, np.array([0, 4]), edges=[np.array([[0, 1], [2, 3]])])
    criterion = make_criterion(geometry, torch.diag(torch.tensor([1.0, 9.0])).double(), ridge=0.1)
    feasible = make_feasible(geometry, budget=1, spread="free")
    design = newton(criterion, feasible)
    information = geometry.information(design.weights)
    found = coverage(criterion, feasible, information, information)
    assert found.unteachable.tolist() == [0]
    assert "beyond any feasible design" in found.out_of_reach()


def test_pairs_of_a_direction_are_the_largest_by_hand(case):
    found = direction_pairs(case.criterion, case.geometry, case.information, 1, top=3)
    _, U = fisher_directions(case.criterion)
    S = (case.information + case.criterion.prior).numpy()
    values = case.geometry.vectors(np.arange(case.geometry.pairs)).numpy() @ np.linalg.solve(S, U[:, 1])
    assert found.positive.tolist() == np.argsort(-values)[: len(found.positive)].tolist()
    assert found.negative.tolist() == np.argsort(values)[: len(found.negative)].tolist()


def test_the_label_equivalent_of_uniform_is_itself_and_beyond_reach_is_infinite(case):
    uniform = case.geometry.uniform_information()
    same = label_equivalent(case.criterion, case.geometry, uniform, 40, draws=0)
    assert same.labels == pytest.approx(40, rel=1e-6)
    more = label_equivalent(case.criterion, case.geometry, case.information * 1e12, 40)
    assert more.labels > 1e9
    flat = Geometry(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([0, 2]))
    criterion = make_criterion(flat, torch.eye(2).double(), ridge=1.0)
    beyond = label_equivalent(criterion, flat, torch.eye(2).double(), 10)
    assert math.isinf(beyond.labels)
    assert "no number" in beyond.sentence()
    assert "not the reward" in beyond.sentence()


def light(seed: int, dim: int = 24) -> tuple[Geometry, Criterion]:
    """A pool of more dimensions than the budget of 12 and a ridge that is hardly felt."""
    rng = np.random.default_rng(seed)
    geometry = Geometry(rng.standard_normal((160, dim)), np.arange(0, 161, 4))
    return geometry, make_criterion(geometry, torch.eye(dim).double(), ridge=0.01)


def test_a_drawn_uniform_batch_is_worth_about_its_own_labels_where_labels_are_fewer_than_dimensions():
    geometry, criterion = light(0)
    rng = np.random.default_rng(1)
    worth, expected = [], []
    for _ in range(40):
        pairs = torch.as_tensor(rng.choice(geometry.pairs, 12, replace=False))
        information = geometry.information_of(pairs, torch.full((12,), 1 / 12, dtype=torch.float64))
        worth.append(label_equivalent(criterion, geometry, information, 12).labels)
        expected.append(label_equivalent(criterion, geometry, information, 12, draws=0).labels)
    assert np.mean(worth) == pytest.approx(12, rel=0.1)
    assert np.mean(expected) < 6  # against its own expectation the batch would stand as less than half


def test_drawn_and_expected_labels_meet_at_the_whole_pool():
    geometry, criterion = light(2)
    every = torch.full((geometry.pairs,), 1 / geometry.pairs, dtype=torch.float64)
    information = geometry.information(every)
    for draws in (0, 3):
        found = label_equivalent(criterion, geometry, information, geometry.pairs, draws=draws)
        assert found.labels == pytest.approx(geometry.pairs, rel=1e-6)
    twice = label_equivalent(criterion, geometry, information * 2, geometry.pairs)
    assert twice.labels == pytest.approx(2 * geometry.pairs, rel=1e-6)  # past the pool: the expectation


def test_a_mirrored_pair_is_the_same_point_of_the_map():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((40, 4))
    flipped = z * rng.choice([-1.0, 1.0], size=(40, 1))
    assert mirror_distance(z) == pytest.approx(mirror_distance(flipped), abs=1e-7)
    first, second = project_pairs(z), project_pairs(flipped)
    assert np.array_equal(first.coordinates, second.coordinates)
    assert "UMAP" in first.method
    few = project_pairs(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0]]))
    assert few.coordinates[0] == pytest.approx(few.coordinates[1], abs=1e-6)
    assert "too few" in few.method


def test_the_neighbours_of_a_map_are_those_of_the_whole_mirror_distance() -> None:
    z = np.random.default_rng(1).standard_normal((1500, 6))
    numbers, distances = nearest(z, 5)
    whole = mirror_distance(z)
    assert numbers[:, 0].tolist() == list(range(len(z)))
    assert distances == pytest.approx(np.sort(whole, axis=1)[:, :5], abs=1e-5)


def test_a_map_leaves_the_number_of_torch_threads_as_it_was() -> None:
    """A fitted reference repeats bit for bit only on the same number of threads."""
    before = torch.get_num_threads()
    project_pairs(np.random.default_rng(0).normal(size=(40, 4)))
    assert torch.get_num_threads() == before


def test_the_map_draws_the_whole_batch_then_the_support(case):
    drawn = sample_pairs(case.geometry, case.design.weights.numpy(), case.batch.pairs, candidates=8)
    assert set(case.batch.pairs.tolist()) <= set(drawn.tolist())
    assert len(drawn) == len(case.batch.pairs) + 8 == len(set(drawn.tolist()))


def test_concentration_by_hand():
    equal = concentration(np.full(8, 1 / 8))
    assert equal.gini == pytest.approx(0.0, abs=1e-9)
    assert equal.effective_entropy == pytest.approx(8)
    half = concentration(np.array([0.5, 0.5, 0, 0]))
    assert half.gini == pytest.approx(0.5)
    assert half.effective_simpson == pytest.approx(2)
    table = share_by(["a", "a", "b"], np.array([0.2, 0.2, 0.6]), np.array([1.0, 1.0, 2.0]))
    assert table["key"].tolist() == ["b", "a"]
    assert table["ratio"].tolist() == pytest.approx([1.2, 0.8])


def test_repeated_draws_say_how_often_the_design_is_worse(case):
    draws = repeated_draws(
        case.criterion, case.feasible, case.design.weights, case.design.certificate.lower_bound, draws=5
    )
    assert len(draws.design) == len(draws.uniform) == 5
    assert "not the reward" in draws.sentence()
