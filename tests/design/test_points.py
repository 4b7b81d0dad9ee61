"""What every criterion says of labels: added, taken away and exchanged, each against f before and after."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation.design.certificate import certify
from curation.design.criteria.base import CRITERIA
from curation.design.selection.swaps import exact
from curation.design.sets.make import make_feasible
from curation.design.solvers.frank_wolfe import frank_wolfe
from curation.design.solvers.newton import newton
from tests.desk.builders import random_geometry
from tests.desk.criteria import NAMES, criterion_named
from tests.desk.derivatives import assert_derivatives

N = 9.0  # labels planned


@pytest.fixture(params=[(name, seed) for name in NAMES for seed in range(2)], ids=lambda p: f"{p[0]} {p[1]}")
def case(request):
    """A criterion, its geometry, and the pairs and information of a batch of six labels."""
    name, seed = request.param
    geometry = random_geometry(seed, prompts=4, largest=5)
    criterion = criterion_named(name, geometry, seed)
    pairs = torch.as_tensor(np.random.default_rng(seed).choice(geometry.pairs, 6, replace=False))
    return criterion, geometry, pairs, geometry.information_of(pairs, torch.full((6,), 1 / N, dtype=torch.float64))


def outer(z):
    return torch.outer(z, z) / N


@pytest.mark.parametrize("name", NAMES)
def test_value_gradient_and_hessian_are_those_of_f(name):
    geometry = random_geometry(5, prompts=3, largest=5)
    criterion = criterion_named(name, geometry, 5)

    def written_out(_, z, w):
        return criterion.value(torch.as_tensor(z.T @ (z * w[:, None])))

    assert_derivatives(criterion, written_out, geometry, seed=5)


def test_a_label_more_or_less_moves_f_by_what_is_said(case):
    criterion, geometry, pairs, information = case
    every, mine = geometry.vectors(np.arange(geometry.pairs)), geometry.vectors(pairs.numpy())
    f = criterion.value(information)
    more = [f - criterion.value(information + outer(z)) for z in every]
    less = [f - criterion.value(information - outer(z)) for z in mine]
    for point in (criterion.at(information), criterion.at(information).moving()):
        assert point.fall(every, N).numpy() == pytest.approx(more, rel=1e-10, abs=1e-14 * f)
        assert point.fall(mine, N, -1).numpy() == pytest.approx(less, rel=1e-10, abs=1e-14 * f)
        assert (point.fall(every, N) > 0).all()


def test_an_exchange_moves_f_by_what_is_said(case):
    criterion, geometry, pairs, information = case
    E, F = geometry.vectors(pairs.numpy()), geometry.vectors(np.arange(geometry.pairs))
    f = criterion.value(information)
    expected = np.array([[f - criterion.value(information - outer(e) + outer(z)) for z in F] for e in E])
    among = torch.as_tensor(np.random.default_rng(0).random(expected.shape) < 0.5)
    for point in (criterion.at(information), criterion.at(information).moving()):
        assert point.swap(E, F, N).numpy() == pytest.approx(expected, rel=1e-10, abs=1e-13 * f)
        looked = np.where(among.numpy(), point.swap(E, F, N, among).numpy(), -np.inf)
        seen = np.isfinite(looked)
        assert looked[seen] == pytest.approx(expected[seen], rel=1e-10, abs=1e-13 * f)
        assert looked.max() == pytest.approx(expected[among.numpy()].max(), rel=1e-9)
        poor = torch.as_tensor(expected < 1e-3 * expected.max()) & among
        last = point.swap(E, F, N, poor).numpy()[poor.numpy()]
        assert last.max() > 0 or not (expected[poor.numpy()] > 1e-12 * f).any()


def test_the_best_label_of_the_pool_is_exact_and_no_promise_is_below_the_truth(case):
    criterion, geometry, _, information = case
    point = criterion.at(information)
    truth = point.fall(geometry.vectors(np.arange(geometry.pairs)), N).numpy()
    among = np.random.default_rng(1).random(geometry.pairs) < 0.6
    for told in (point.falls(geometry, N), point.falls(geometry, N, torch.as_tensor(among))):
        assert (told.numpy() >= truth * (1 - 1e-9)).all()
    best = int(np.where(among, told.numpy(), -np.inf).argmax())
    assert best == int(np.where(among, truth, -np.inf).argmax())
    assert float(told[best]) == pytest.approx(truth[best], rel=1e-9)


def test_a_batch_followed_label_by_label_is_the_batch_looked_at_anew(case):
    criterion, geometry, pairs, information = case
    moving, S = criterion.at(information).moving(), information
    for z, labels in zip(geometry.vectors(pairs.numpy()), (-1, 1, -1, -1, 1, -1), strict=True):
        moving, S = moving.after(z, N, labels), S + labels * outer(z)
    fresh = criterion.at(S)
    every = geometry.vectors(np.arange(geometry.pairs))
    assert moving.value == pytest.approx(fresh.value, rel=1e-12)
    assert moving.fall(every, N).numpy() == pytest.approx(fresh.fall(every, N).numpy(), rel=1e-9)


def test_what_f_divides_into_is_all_of_it_or_nothing_is_said(case):
    criterion, geometry, _, information = case
    point, z = criterion.at(information), geometry.vectors(np.arange(geometry.pairs))
    S = (information + criterion.prior).numpy()
    assert point.leverage(z).numpy() == pytest.approx(np.einsum("ed,ed->e", z, np.linalg.solve(S, z.T.numpy()).T))
    parts, shares = point.parts(z), point.shares()
    assert (parts is None) == (shares is None)
    if parts is not None and shares is not None:
        assert parts.sum(1).numpy() == pytest.approx(geometry.quadratic(point.root).numpy())
        assert float(shares.sum()) == pytest.approx(point.value)


def test_a_line_and_the_degree_are_those_of_f(case):
    criterion, geometry, _, information = case
    direction = geometry.uniform_information()
    line = criterion.along(information, direction)
    for t in (0.0, 0.3, 2.0):
        assert line.value(t) == pytest.approx(criterion.value(information + t * direction), rel=1e-12)
        assert line.growing().value(t) == pytest.approx(line.value(t), rel=1e-9)
        slope = (line.value(t + 1e-6) - line.value(t - 1e-6)) / 2e-6
        assert line.slope(t) == pytest.approx(slope, rel=1e-5)
    more = criterion.under(3.0).value(3.0 * information)
    assert more == pytest.approx(3.0**criterion.degree * criterion.value(information), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("spread", "r"), [("free", 2.0), ("capped", 1.0), ("balanced", 1.0)])
def test_exchange_never_worsens_a_batch_and_ends_where_no_exchange_pays(name, spread, r):
    geometry = random_geometry(3, prompts=5, largest=4, dim=3)
    criterion = criterion_named(name, geometry, 3)
    feasible = make_feasible(geometry, budget=7, max_labels_per_pair=r, spread=spread)
    design = newton(criterion, feasible, tol=1e-7)
    assert design.stopped == "certificate"
    assert certify(criterion, feasible, design.weights).gap <= 1e-7
    batch = exact(criterion, feasible, design.weights)
    again = exact(criterion, feasible, design.weights)
    assert (batch.pairs.tolist(), batch.copies.tolist()) == (again.pairs.tolist(), again.copies.tolist())
    assert batch.labels == 7

    def f(pairs, copies):
        return criterion.value(geometry.information_of(torch.as_tensor(pairs), torch.as_tensor(copies / 7.0)))

    from curation.design.selection.swaps import start
    from curation.design.selection.tally import Tally

    rough = start(feasible, design.weights)
    best = f(batch.pairs, batch.copies)
    assert best <= f(np.array(list(rough.copies)), np.array(list(rough.copies.values()))) * (1 + 1e-12)
    tally = Tally(feasible, design.weights)
    for pair, count in zip(batch.pairs.tolist(), batch.copies.tolist(), strict=True):
        tally.add(pair, count)
    allowed, tried = tally.swaps(batch.pairs, np.arange(geometry.pairs)), 0
    for at, other in zip(*allowed.nonzero(), strict=True):
        copies = np.append(batch.copies, 1)
        copies[at] -= 1
        assert f(np.append(batch.pairs, other), copies) >= best * (1 - 1e-9)
        tried += 1
    assert tried > 5


@pytest.mark.parametrize("name", NAMES)
def test_frank_wolfe_takes_every_criterion_too(name):
    geometry = random_geometry(2, prompts=4, largest=4)
    criterion = criterion_named(name, geometry, 2)
    feasible = make_feasible(geometry, budget=5, spread="free")
    best = newton(criterion, feasible, tol=1e-8).certificate
    slow = frank_wolfe(criterion, feasible, tol=2e-2, max_passes=300).certificate
    assert best.objective <= slow.objective * (1 + 1e-9)
    assert slow.lower_bound <= best.objective * (1 + 1e-9)
    assert slow.gap <= 2e-2


def test_every_criterion_of_the_folder_tells_what_it_is():
    assert CRITERIA.names() == ("trace", "determinant")
    for kind in CRITERIA:
        assert kind.says.endswith(".")
        assert kind.title
        assert kind.unit
        made = kind.make(torch.eye(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64))
        assert made.value(torch.zeros(3, 3, dtype=torch.float64)) == pytest.approx(3.0 if kind.name == "trace" else 1.0)
