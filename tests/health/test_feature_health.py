"""Findings from features and designs: planted defects are found by name, clean pools are not accused."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from curation.health.checkup import design_health, design_sensitivity, feature_health
from curation.health.finding import Finding
from curation.pool.schema import Pool, Prompt, Response
from curation.representation.features_file import FeatureTable, read_features, write_features
from curation.run.prepare import prepare
from curation.settings import PRESETS, DesignSettings, SpaceSettings
from tests.desk.pools import demo_pool, real_pool

K, P, D = 6, 60, 12
ODD = 3  # the coordinate that pairs will be kept from telling apart
SPACE = SpaceSettings(dim=D, normalize=False, length=False)
SETTINGS = DesignSettings(budget=40, ridge=30.0, spread="auto")


def pool_of(pairs: dict[int, list[tuple[int, int]]] | None = None) -> Pool:
    generators = ["a", "b", "c", "d", "e", "f"]
    prompts = tuple(
        Prompt(
            prompt_id=f"p{x}",
            prompt=f"Question {x}?",
            responses=tuple(
                Response(
                    f"r{i}", f"Answer {i} to question {x}.", generator=generators[i], reference_logprob=None, meta={}
                )
                for i in range(K)
            ),
            pairs=tuple(pairs[x]) if pairs and x in pairs else None,
            stratum=None,
            weight=1.0,
            meta={},
        )
        for x in range(P)
    )
    return Pool(prompts, "planted")


def _rows(seed: int = 0) -> np.ndarray:
    """Features of P x K responses; coordinate ODD takes two values, three candidates each."""
    rows = np.random.default_rng(seed).standard_normal((P, K, D)).astype(np.float32)
    rows[:, :, ODD] = np.array([1, 1, 1, -1, -1, -1], dtype=np.float32)
    return rows.reshape(P * K, D)


def _table(pool: Pool, rows: np.ndarray, folder: Path) -> FeatureTable:
    path = write_features(folder / "f.parquet", pool.ids(), rows, dtype="float32")
    return read_features(path, pool.ids())


def _told(pool: Pool, rows: np.ndarray, folder: Path, settings: DesignSettings = SETTINGS) -> dict[str, Finding]:
    prepared = prepare(pool, _table(pool, rows, folder), space=SPACE, device="cpu")
    return {finding.key: finding for finding in feature_health(prepared, settings)}


def test_clean_features_give_no_finding(tmp_path: Path) -> None:
    assert _told(pool_of(), _rows(), tmp_path) == {}


def test_a_direction_made_unteachable_through_pairs_is_found_with_its_prompts(tmp_path: Path) -> None:
    """Half of the prompts may only compare candidates that agree in one coordinate: those still differ in it."""
    alike = [pair for pair in combinations(range(K), 2) if (pair[0] < 3) == (pair[1] < 3)]
    rows = _rows()
    rows[: P // 2 * K, ODD] *= 2  # what they cannot compare is theirs above all
    rows[P // 2 * K :, ODD] = 0.0
    free = _told(pool_of(), rows, tmp_path)
    assert "unteachable" not in free
    found = _told(pool_of(dict.fromkeys(range(P // 2), alike)), rows, tmp_path)["unteachable"]
    assert found.value == 1
    assert found.unit == "directions"
    named = {name for (name,) in found.examples}
    assert named <= {f"p{x}" for x in range(P // 2)}
    assert len(named) >= 0.8 * (P // 2)
    assert set(_told(pool_of(dict.fromkeys(range(P // 2), alike)), rows, tmp_path)) == {"unteachable"}


def test_the_untaught_direction_is_the_planted_one_whatever_the_ridge(tmp_path: Path) -> None:
    alike = [pair for pair in combinations(range(K), 2) if (pair[0] < 3) == (pair[1] < 3)]
    pool = pool_of(dict.fromkeys(range(P), alike))
    for ridge in (0.01, 30.0):
        assert _told(pool, _rows(), tmp_path, replace(SETTINGS, ridge=ridge))["unteachable"].value == 1


def test_responses_with_the_same_features_are_found_and_equal_texts_are_left_to_the_text_findings(
    tmp_path: Path,
) -> None:
    rows = _rows()
    rows[7] = rows[8]  # p1/r1 and p1/r2
    rows[20] = rows[21] + 1e-4  # p3/r2 and p3/r3
    found = _told(pool_of(), rows, tmp_path)
    assert set(found) == {"near_features"}
    assert set(found["near_features"].examples) == {("p1", "r1", "r2"), ("p3", "r2", "r3")}
    pool = pool_of()
    first = pool.prompts[1]
    twin = tuple(replace(r, text="same") if r.response_id in ("r1", "r2") else r for r in first.responses)
    same = Pool((pool.prompts[0], replace(first, responses=twin), *pool.prompts[2:]), "planted")
    assert set(_told(same, rows, tmp_path)["near_features"].examples) == {("p3", "r2", "r3")}


def test_a_few_outliers_are_found_by_id(tmp_path: Path) -> None:
    rows = _rows()
    for n in (5, 77, 200):
        rows[n] *= 9
    found = _told(pool_of(), rows, tmp_path)
    ids = pool_of().ids()
    assert {ids[5], ids[77], ids[200]} <= set(found["outliers"].examples)
    assert len(found["outliers"].examples) <= 4


def test_a_generator_with_odd_answers_draws_more_than_its_share_and_is_named(tmp_path: Path) -> None:
    rows = _rows().reshape(P, K, D)
    rows[:, 2] *= 4  # generator c
    found = _told(pool_of(), rows.reshape(-1, D), tmp_path)
    assert found["overdrawn"].examples == (("c",),)
    assert "Generator c takes part in" in found["overdrawn"].sentence
    assert found["overdrawn"].value >= 2


def test_mass_on_one_candidate_is_found(tmp_path: Path) -> None:
    pool, rows = pool_of(), _rows()
    path = write_features(
        tmp_path / "f.parquet",
        pool.ids(),
        rows,
        reference_logprob=np.tile(np.array([0.0, -40, -40, -40, -40, -40]) - 1, P),
        dtype="float32",
    )
    table = read_features(path, pool.ids())
    prepared = prepare(pool, table, space=SPACE, fisher="empirical", device="cpu")
    found = {f.key: f for f in feature_health(prepared, SETTINGS)}
    assert found["crowded"].value == 1.0
    warm = prepare(pool, table, space=SPACE, fisher="empirical", temperature=100.0, device="cpu")
    assert "crowded" not in {f.key for f in feature_health(warm, SETTINGS)}


@pytest.mark.slow
def test_the_canned_generator_of_a_real_pool_draws_most_labels_and_is_named() -> None:
    from curation.pool.readers.read import read_pool

    pool = read_pool(real_pool("answers_large.jsonl.gz")).pool
    old = PRESETS["0.2.0"]  # a heavy ridge draws from who stands out
    found = design_health(pool, real_pool("answers_large.features.parquet"), space=old.space(), design=old.design())
    findings = {f.key: f for f in found}
    assert ("NullModel",) in findings["overdrawn"].examples


def test_every_finding_has_a_sentence_a_number_and_a_remedy(tmp_path: Path) -> None:
    rows = _rows()
    rows[7] = rows[8]
    rows[100] *= 30
    for finding in _told(pool_of(), rows, tmp_path).values():
        assert finding.sentence.endswith(".")
        assert finding.remedy.endswith(".")
        assert np.isfinite(finding.value)
        assert finding.to_json()["examples"]


def test_sensitivity_is_one_on_its_own_choice_and_equals_solving_anew() -> None:
    from curation.design.sets.uniform import uniform_information
    from curation.pool.readers.read import read_pool
    from curation.run.solve import design_problem, run_solver

    pool = read_pool(demo_pool()).pool
    features = demo_pool().parent / "demo.features.parquet"
    settings = DesignSettings(budget=40, ridge=1.0)
    prepared = prepare(pool, features, space=SpaceSettings(), device="cpu")
    seen: list[tuple[int, int]] = []
    measured = design_sensitivity(prepared, settings, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(measured.names), len(measured.names))
    assert measured.names[:3] == ("as set", "half the ridge", "twice the ridge")
    assert {"half the dimensions", "twice the dimensions"} <= set(measured.names)
    np.testing.assert_allclose(np.diag(measured.gained), 1.0, atol=2e-3)
    assert (measured.gained < 1.001).all()
    half = replace(settings, ridge=0.5, fisher=prepared.probabilities.kind, tol=1e-6)
    criterion, feasible = design_problem(prepared, half)
    best = run_solver(criterion, feasible, half)
    base = run_solver(*design_problem(prepared, replace(settings, tol=1e-6)), replace(settings, tol=1e-6))
    value = criterion.value(prepared.geometry.information(base.weights))
    uniform = criterion.value(uniform_information(feasible))
    share = (uniform - value) / (uniform - best.certificate.lower_bound)
    assert measured.gained[0, 1] == pytest.approx(share, abs=5e-3)
    name, least = measured.weakest
    assert least == pytest.approx(measured.gained[0, 1:].min())
    assert name in measured.sentence()


def test_a_choice_that_changes_the_design_much_becomes_a_finding(tmp_path: Path) -> None:
    """The reference sits on two candidates that differ in one coordinate; the uniform Fisher sees all the others."""
    pool, rows = pool_of(), _rows()
    logprob = np.tile(np.array([-1.0, -60, -60, -60, -60, -1.0]), P)
    path = write_features(tmp_path / "f.parquet", pool.ids(), rows, reference_logprob=logprob, dtype="float32")
    prepared = prepare(pool, read_features(path, pool.ids()), space=SPACE, fisher="empirical", device="cpu")
    measured = design_sensitivity(prepared, replace(SETTINGS, fisher="empirical", ridge=0.01))
    assert "Fisher uniform" in measured.names
    finding = measured.finding()
    if measured.weakest[1] < 0.5:
        assert finding is not None
        assert finding.examples == ((measured.weakest[0],),)
    else:
        assert finding is None
    assert measured.gained[0].min() < 0.95
