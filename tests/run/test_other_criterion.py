"""A run under another criterion than the trace, from a pool to what its labels are worth; and one dropped in as a file."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curation.batch.folder import BatchFolder, read_batch, read_criterion, read_selected
from curation.batch.information import information_of, valued
from curation.batch.records import check_ids, save_batch
from curation.design.certificate import certify
from curation.design.criteria.base import CRITERIA
from curation.errors import BatchError, DesignError
from curation.insight.explain import UNDIVIDED
from curation.review.acts import price_of
from curation.run.report import budget_frontier
from curation.run.results import Solved
from curation.run.solve import criterion_kind, solve
from curation.settings import DesignSettings
from tests.desk import quadratic_mean
from tests.desk.going_on import BASE
from tests.desk.plugs import added


def asked(**changes: Any) -> DesignSettings:
    """Settings that ask for the determinant."""
    return replace(BASE, **{"criterion": "determinant", **changes})


def f_of(batch: BatchFolder, copies: np.ndarray) -> float:
    """det(S)^(-1/d) of a folder's own arrays."""
    _, prior = read_criterion(batch.path)  # type: ignore[misc]
    z = read_selected(batch.path).vectors
    S = prior + z.T @ (z * (copies / batch.manifest["labels"])[:, None])
    return float(np.linalg.det(S) ** (-1 / len(S)))


@pytest.fixture(params=["sample", "exact"])
def run(request: Any, made: dict[str, Any], tmp_path: Path) -> tuple[Solved, BatchFolder]:
    solved = solve(made["prepared"], asked(select=request.param, tol=1e-6))
    return solved, read_batch(save_batch(solved, tmp_path / "batch"))


def test_the_certificate_holds_against_cvxpy(run: tuple[Solved, BatchFolder]) -> None:
    cp = pytest.importorskip("cvxpy")
    solved, _ = run
    feasible, prior = solved.feasible, solved.criterion.prior.numpy()
    geometry = feasible.geometry
    z = geometry.vectors(np.arange(geometry.pairs)).numpy()
    w = cp.Variable(geometry.pairs, nonneg=True)
    owner = geometry.prompt_of(np.arange(geometry.pairs))
    rules = [w <= feasible.upper, cp.sum(w) == 1]
    rules += [cp.sum(w[owner == x]) <= float(feasible.totals[x]) for x in range(geometry.prompts)]
    problem = cp.Problem(cp.Maximize(cp.log_det(z.T @ cp.diag(w) @ z + prior)), rules)
    problem.solve(solver="CLARABEL")
    best = float(np.exp(-problem.value / len(prior)))
    found = certify(solved.criterion, feasible, solved.design.weights)
    assert found.objective == pytest.approx(best, rel=1e-5)
    assert found.lower_bound <= best * (1 + 1e-6)
    assert solved.design.stopped == "certificate"


def test_records_and_manifest_say_what_was_solved_for(run: tuple[Solved, BatchFolder]) -> None:
    solved, batch = run
    check_ids(batch)
    assert batch.manifest["settings"]["criterion"] == "determinant"
    copies = read_selected(batch.path).copies.astype(float)
    whole = f_of(batch, copies)
    assert batch.manifest["realised"] == pytest.approx(whole, rel=1e-9)
    assert batch.manifest["lower_bound"] <= whole * (1 + 1e-9) or solved.batch.inclusion is not None
    place = {key: m for m, key in enumerate(read_selected(batch.path).pair_ids)}
    for record in batch.records:
        assert record["directions"] == []
        assert record["rationale"].endswith(UNDIVIDED)
        less = copies.copy()
        less[place[record["pair_id"]]] -= 1
        assert record["drop_cost"] == pytest.approx(f_of(batch, less) / whole - 1, rel=1e-8)
    rules = {name: value for name, value in batch.manifest["baselines"].items() if value is not None}
    assert len(rules) > 3
    assert all(value >= batch.manifest["lower_bound"] * (1 - 1e-6) for value in rules.values())


def test_acts_and_labels_that_came_back_are_valued_by_it(run: tuple[Solved, BatchFolder]) -> None:
    _, batch = run
    selected = read_selected(batch.path)
    copies = selected.copies.astype(float)
    gone = selected.pair_ids[:4]
    kept = np.where(np.isin(selected.pair_ids, gone), 0.0, copies)
    price = price_of(batch, {}, gone, "reject")
    assert price.before.criterion == pytest.approx(f_of(batch, copies), rel=1e-9)
    assert price.after.criterion == pytest.approx(f_of(batch, kept), rel=1e-9)
    counts = dict(zip(selected.pair_ids, kept.astype(int).tolist(), strict=True))
    told = information_of(batch, counts)
    assert told is not None
    assert told["realised"] == pytest.approx(f_of(batch, kept), rel=1e-9)
    assert told["share"] == pytest.approx(f_of(batch, copies) / f_of(batch, kept), rel=1e-9)


def test_a_batch_that_names_no_criterion_is_of_the_trace_and_an_unknown_one_is_refused(
    run: tuple[Solved, BatchFolder],
) -> None:
    _, batch = run
    settings = {name: value for name, value in batch.manifest["settings"].items() if name != "criterion"}
    old = replace(batch, manifest={**batch.manifest, "settings": settings})
    fisher, prior = read_criterion(batch.path)  # type: ignore[misc]
    selected = read_selected(batch.path)
    S = prior + selected.vectors.T @ (selected.vectors * (selected.copies / batch.manifest["labels"])[:, None])
    told = valued(old)
    assert told is not None
    assert told.value(selected.copies) == pytest.approx(float(np.trace(fisher @ np.linalg.inv(S))), rel=1e-9)
    for name in ("entropy", 3, ["trace"]):
        other = replace(batch, manifest={**batch.manifest, "settings": {**settings, "criterion": name}})
        with pytest.raises(BatchError, match="trace, determinant"):
            valued(other)


def test_the_trace_by_name_changes_no_figure(made: dict[str, Any], tmp_path: Path) -> None:
    plain = solve(made["prepared"], BASE, with_baselines=False)
    named = solve(made["prepared"], asked(criterion="trace"), with_baselines=False)
    other = solve(made["prepared"], asked(), with_baselines=False)
    folders = [read_batch(save_batch(one, tmp_path / f"b{n}")) for n, one in enumerate((plain, named, other))]
    assert folders[0].batch_id == folders[1].batch_id != folders[2].batch_id
    left, right = ([{**record, "left": ""} for record in folder.records] for folder in folders[:2])
    assert left == right


def test_the_frontier_is_f_of_all_labels_at_one_prior(made: dict[str, Any]) -> None:
    settings = asked(budget=20, tol=1e-6)
    rows = budget_frontier(made["prepared"], settings, [10, 20, 40])
    shown = solve(made["prepared"], settings, with_baselines=False)
    assert rows[1][1] == pytest.approx(shown.design.certificate.objective, rel=1e-12)
    assert [value for _, value, _ in rows] == sorted((value for _, value, _ in rows), reverse=True)
    uniform = made["prepared"].geometry.uniform_information()
    if shown.feasible.spread == "capped":
        more = replace(shown.criterion, prior=shown.criterion.prior * 20)
        last = solve(made["prepared"], replace(settings, budget=40), with_baselines=False)
        weights = last.feasible.geometry.information(last.design.weights)
        assert rows[2][1] * 20.0**-1 <= more.value(40 * weights) * (1 + 1e-3)
        assert rows[2][1] <= more.value(40 * uniform) * 20


def test_an_unknown_criterion_is_refused_with_the_names_there_are(made: dict[str, Any]) -> None:
    assert criterion_kind(BASE).name == "trace"
    with pytest.raises(DesignError, match="criterion 'entropy' is unknown; use trace, determinant"):
        solve(made["prepared"], asked(criterion="entropy"))


def test_a_criterion_dropped_in_as_one_file_is_solved_with_explained_and_read_back(
    made: dict[str, Any], tmp_path: Path
) -> None:
    dropped = tmp_path / "more_criteria"
    dropped.mkdir()
    shutil.copy(quadratic_mean.__file__, dropped / "root_mean_square.py")
    with added(CRITERIA, dropped):
        assert CRITERIA.names() == ("trace", "determinant", "quadratic-mean")
        for select in ("sample", "exact"):
            solved = solve(made["prepared"], asked(criterion="quadratic-mean", select=select))
            assert type(solved.criterion).__module__ == "curation.design.criteria.root_mean_square"
            assert solved.design.stopped == "certificate"
            batch = read_batch(save_batch(solved, tmp_path / select))
            told = valued(batch)
            assert told is not None
            whole = told.value(told.selected.copies)
            S = torch.linalg.inv(solved.batch_information + solved.criterion.prior)
            assert whole == pytest.approx(float(S.square().sum() / len(S)) ** 0.5, rel=1e-9)
            assert batch.manifest["realised"] == pytest.approx(whole, rel=1e-9)
            first = batch.records[0]
            less = told.selected.copies - (np.array(told.selected.pair_ids) == first["pair_id"])
            assert first["drop_cost"] == pytest.approx(told.value(less) / whole - 1, rel=1e-7)
            assert first["rationale"].endswith(UNDIVIDED)
            assert price_of(batch, {}, [first["pair_id"]], "reject").rise > 0
    assert "quadratic-mean" not in CRITERIA
