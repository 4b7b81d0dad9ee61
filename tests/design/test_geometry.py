"""Truths of the comparison graph: every structured pass equals the sum it stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from curation.design import geometry as module
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from curation.design.sets.make import make_feasible
from curation.design.solvers.frank_wolfe import frank_wolfe
from curation.design.solvers.newton import newton
from curation.errors import DesignError
from tests.desk.builders import explicit_vectors, random_fisher, random_geometry
from tests.desk.designs import Largest


@pytest.mark.parametrize("listed", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_every_pass_equals_its_explicit_sum(seed, listed):
    geometry = random_geometry(seed, listed=listed)
    z, rng = explicit_vectors(geometry), np.random.default_rng(seed)
    assert len(z) == geometry.pairs
    root, weights = rng.standard_normal((4, 3)), rng.random(geometry.pairs)
    assert geometry.vectors(np.arange(geometry.pairs)).numpy() == pytest.approx(z, abs=1e-12)
    assert geometry.quadratic(torch.as_tensor(root)).numpy() == pytest.approx(((z @ root) ** 2).sum(1), abs=1e-10)
    assert geometry.linear(torch.as_tensor(root[:, 0])).numpy() == pytest.approx(z @ root[:, 0], abs=1e-10)
    assert geometry.information(torch.as_tensor(weights)).numpy() == pytest.approx(z.T @ (z * weights[:, None]))
    assert geometry.uniform_information().numpy() == pytest.approx(z.T @ z / geometry.pairs)


@pytest.mark.parametrize("seed", range(4))
def test_candidate_values_combine_to_differences_and_products(seed):
    geometry = random_geometry(seed)
    value = np.random.default_rng(seed).random(geometry.features.shape[0])
    i, j = geometry.endpoints(np.arange(geometry.pairs))
    assert geometry.difference(torch.as_tensor(value)).numpy() == pytest.approx(value[i] - value[j])
    assert geometry.product(torch.as_tensor(value)).numpy() == pytest.approx(value[i] * value[j])


@pytest.mark.parametrize("seed", range(4))
def test_blocks_of_any_size_give_the_same_passes(seed, monkeypatch):
    geometry = random_geometry(seed, prompts=30)
    root, weights = torch.eye(4).double(), torch.rand(geometry.pairs, generator=torch.manual_seed(seed)).double()
    whole = [geometry.quadratic(root), geometry._laplacian_information(weights), geometry.information(weights)]
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 1)
    monkeypatch.setattr(module, "CHUNK_ROWS", 3)
    assert len(list(geometry.parts())) > len(geometry.buckets)
    small = [geometry.quadratic(root), geometry._laplacian_information(weights), geometry.information(weights)]
    for one, other in zip(whole, small, strict=True):
        assert one.numpy() == pytest.approx(other.numpy())


def test_the_laplacian_path_equals_the_direct_path():
    geometry = random_geometry(0, prompts=20)
    weights = torch.rand(geometry.pairs, generator=torch.manual_seed(0)).double()
    everything = torch.arange(geometry.pairs)
    assert len(weights) > geometry.features.shape[0]  # so that information() takes the Laplacian
    direct = geometry.information_of(everything, weights)
    assert geometry.information(weights).numpy() == pytest.approx(direct.numpy())
    assert geometry._laplacian_information(weights).numpy() == pytest.approx(direct.numpy())


def test_information_is_linear_in_the_weights():
    geometry = random_geometry(1)
    u, v = torch.rand(2, geometry.pairs, generator=torch.manual_seed(1)).double()
    mixed = geometry._laplacian_information(2 * u - 3 * v)
    parts = 2 * geometry.information(u) - 3 * geometry.information(v)
    assert mixed.numpy() == pytest.approx(parts.numpy(), abs=1e-10)


def test_shifting_all_candidates_of_a_prompt_changes_nothing():
    geometry = random_geometry(2, listed=0)
    shifts = np.repeat(np.random.default_rng(0).standard_normal((6, 4)) * 50, geometry.sizes, axis=0)
    moved = Geometry(geometry.features.numpy() + shifts, geometry.offsets)
    weights = torch.rand(geometry.pairs, generator=torch.manual_seed(2)).double()
    root = random_fisher(0, 4)
    assert moved.quadratic(root).numpy() == pytest.approx(geometry.quadratic(root).numpy(), rel=1e-8, abs=1e-8)
    assert moved._laplacian_information(weights).numpy() == pytest.approx(
        geometry._laplacian_information(weights).numpy(), rel=1e-8, abs=1e-8
    )


@pytest.mark.parametrize("size", [2, 3, 4, 9, 33, 200])
def test_every_pair_has_one_number_and_its_endpoints_lead_back(size):
    geometry = Geometry(np.zeros((3 + size, 1)), np.array([0, 3, 3 + size]))
    i, j = geometry.endpoints(np.arange(geometry.pairs))
    rows, columns = np.triu_indices(size, k=1)
    assert np.array_equal(i[3:], 3 + rows)
    assert np.array_equal(j[3:], 3 + columns)
    back = [geometry.number(1, int(a), int(b)) for a, b in zip(rows, columns, strict=True)]
    assert back == list(range(3, geometry.pairs))


def test_numbers_of_listed_pairs_lead_back_and_unlisted_pairs_have_none():
    listed = np.array([[0, 2], [0, 3], [1, 3]])
    geometry = Geometry(np.zeros((7, 1)), np.array([0, 3, 7]), edges=[None, listed])
    assert geometry.pairs == 6
    i, j = geometry.endpoints(np.array([5, 3, 4, 0]))
    assert (i.tolist(), j.tolist()) == ([4, 3, 3, 0], [6, 5, 6, 1])
    assert [geometry.number(1, a, b) for a, b in listed.tolist()] == [3, 4, 5]
    assert geometry.number(1, 0, 1) is None
    assert geometry.number(1, 2, 3) is None
    assert geometry.number(0, 1, 3) is None
    assert geometry.number(0, 2, 1) is None
    assert geometry.prompt_of(np.array([0, 2, 3, 5])).tolist() == [0, 0, 1, 1]


def test_prompts_of_one_candidate_offer_no_pair_and_disturb_nothing():
    rows = np.random.default_rng(0).standard_normal((8, 2))
    geometry = Geometry(rows, np.array([0, 1, 4, 5, 8]))
    assert geometry.pair_counts.tolist() == [0, 3, 0, 3]
    z = explicit_vectors(geometry)
    assert geometry.quadratic(torch.eye(2).double()).numpy() == pytest.approx((z**2).sum(1))
    assert geometry.prompt_of(np.array([0, 2, 3, 5])).tolist() == [1, 1, 3, 3]


def test_identical_candidates_have_distance_zero_and_never_below():
    geometry = Geometry(np.repeat(np.random.default_rng(0).standard_normal((1, 5)) * 1e3, 6, axis=0), np.array([0, 6]))
    q = geometry.quadratic(torch.eye(5).double()).numpy()
    assert np.all(q >= 0)
    assert q == pytest.approx(np.zeros(15), abs=1e-7)


@pytest.mark.parametrize("solver", [newton, frank_wolfe])
@pytest.mark.parametrize("spread", ["free", "balanced", "capped"])
def test_no_array_of_pairs_by_dimensions_is_ever_made(spread, solver, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 50_000)
    rng = np.random.default_rng(0)
    geometry = Geometry(rng.standard_normal((40 * 40, 24)) * np.arange(1, 25) ** -0.7, np.arange(41) * 40)
    criterion = make_criterion(geometry, random_fisher(0, 24), ridge=0.1)
    with Largest() as largest:
        solver(criterion, make_feasible(geometry, budget=60, spread=spread), tol=1e-3, max_passes=40)
    assert geometry.pairs <= largest.entries < geometry.pairs * geometry.dim / 3


@pytest.mark.parametrize(
    ("rows", "offsets", "options", "words"),
    [
        (4, [0, 3], {}, "offset"),
        (3, [1, 3], {}, "offset"),
        (4, [0, 2, 4], {"prompt_weights": np.array([1.0, 0.0])}, "prompt weights must be positive"),
        (4, [0, 2, 4], {"prompt_weights": np.ones(3)}, "one per prompt"),
        (4, [0, 4], {"edges": [np.array([[1, 0]])]}, "prompt number 0: listed pairs must be i < j"),
        (4, [0, 4], {"edges": [np.array([[0, 4]])]}, "within its 4 candidates"),
        (4, [0, 4], {"edges": [np.array([[0, 2], [0, 1]])]}, "sorted and unique"),
        (4, [0, 4], {"edges": [np.array([[0, 2], [0, 2]])]}, "sorted and unique"),
    ],
)
def test_inconsistent_shapes_are_refused_by_name(rows, offsets, options, words):
    with pytest.raises(DesignError, match=words):
        Geometry(np.zeros((rows, 2)), np.array(offsets), **options)


def test_a_bad_list_as_long_as_the_complete_graph_is_refused_too():
    repeated = np.array([[0, 1], [0, 1], [1, 2]])  # three entries, like the complete graph on three candidates
    with pytest.raises(DesignError, match="sorted and unique"):
        Geometry(np.zeros((3, 2)), np.array([0, 3]), edges=[repeated])


@pytest.mark.parametrize("seed", range(4))
def test_lists_in_many_parts_give_what_one_part_gives(seed, monkeypatch):

    geometry = random_geometry(seed, prompts=30, listed=0.8)
    root = random_fisher(seed, geometry.dim)
    weights = torch.rand(geometry.pairs, generator=torch.Generator().manual_seed(seed)).double()

    def everything():
        best = {}
        for bucket, part in geometry.parts():
            block = geometry.gather(bucket, part, weights, fill=-math.inf)
            values, numbers = geometry.best_pairs(bucket, part, block, 2)
            for prompt, row, which in zip(bucket.prompts[part].tolist(), values, numbers, strict=True):
                best[prompt] = [(float(v), int(e)) for v, e in zip(row, which, strict=True) if math.isfinite(float(v))]
        return geometry.quadratic(root), geometry._laplacian_information(weights), best

    whole = everything()
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 60)
    assert sum(1 for _ in geometry.parts()) > len(geometry.buckets)
    parts = everything()
    assert torch.allclose(whole[0], parts[0])
    assert torch.allclose(whole[1], parts[1])
    assert whole[2] == parts[2]
    for prompt, rows in whole[2].items():
        inside = weights[geometry.pair_offsets[prompt] : geometry.pair_offsets[prompt + 1]]
        assert [v for v, _ in rows] == pytest.approx(sorted(inside.tolist(), reverse=True)[:2])
        assert [float(weights[e]) for _, e in rows] == [v for v, _ in rows]


def test_the_ends_of_listed_pairs_are_those_of_their_lists():
    geometry = random_geometry(3, prompts=20, listed=0.7)
    first, second = geometry.endpoints(np.arange(geometry.pairs))
    z = geometry.features[torch.as_tensor(first)] - geometry.features[torch.as_tensor(second)]
    assert z.numpy() == pytest.approx(explicit_vectors(geometry))
