"""A kind of Fisher matrix is added by adding one file: it is solved with by name, and auto asks it by its rank."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curation.health.checkup import design_sensitivity
from curation.representation.fisher.base import FISHERS
from curation.representation.fisher_matrix import fisher_matrix, response_probabilities
from curation.run.prepare import load_pool, prepare
from curation.run.report import report
from curation.run.solve import solve
from curation.settings import DEFAULT_SPACE, DesignSettings
from tests.desk.plugs import added
from tests.desk.pools import demo_pool

ROOT = Path(__file__).resolve().parents[2]
FEATURES = ROOT / "data" / "demo.features.parquet"
LEADING = '''"""Weight falls by half from each response of a prompt to the next."""

import numpy as np

from curation.representation.fisher.base import Kind, softmaxed


def probabilities(given):
    place = np.concatenate([np.arange(k) for k in np.diff(given.offsets)])
    return softmaxed("leading", given, -np.log(2) * place, "the first of a list counts most")


def unasked(given, because):
    return "lists are too short" if np.diff(given.offsets).max() < {least} else probabilities(given)


PLUG = Kind(name="leading", rank={rank}, probabilities=probabilities, unasked=unasked)
'''
OFFSETS = np.array([0, 3, 7])
PHI = np.random.default_rng(0).normal(size=(7, 2))


def drop(folder: Path, **shape: int) -> None:
    (folder / "leading.py").write_text(LEADING.format(**shape))


@pytest.fixture
def leading(tmp_path: Path) -> Iterator[None]:
    drop(tmp_path, rank=50, least=0)
    with added(FISHERS, tmp_path):
        yield
    assert "leading" not in FISHERS


def test_a_design_is_solved_with_a_kind_that_is_one_file(leading: None) -> None:
    assert FISHERS.names() == ("auto", "reference", "empirical", "leading", "uniform")
    pool = load_pool(demo_pool()).pool
    prepared = prepare(pool, FEATURES, space=DEFAULT_SPACE, fisher="leading")
    direct = np.concatenate([0.5 ** np.arange(k) / (0.5 ** np.arange(k)).sum() for k in np.diff(pool.offsets())])
    np.testing.assert_allclose(prepared.probabilities.p, direct)
    np.testing.assert_allclose(
        prepared.fisher, fisher_matrix(prepared.phi, pool.offsets(), direct, pool.prompt_weights())
    )
    settings = DesignSettings(budget=12, fisher="leading")
    solved = solve(prepared, settings, with_baselines=False)
    assert report(solved).fisher == "leading"
    plain = prepare(pool, FEATURES, space=DEFAULT_SPACE, fisher="uniform")
    names = design_sensitivity(plain, DesignSettings(budget=12)).names
    assert "Fisher leading" in names


def test_auto_asks_it_in_its_turn(tmp_path: Path) -> None:
    rising = np.zeros(7)
    drop(tmp_path, rank=5, least=0)
    with added(FISHERS, tmp_path):
        found = response_probabilities(PHI, OFFSETS, logprob=rising, kind="auto")
        assert found.kind == "leading", "before the reference, which would do too"
    assert response_probabilities(PHI, OFFSETS, logprob=rising, kind="auto").kind == "reference"


def test_what_a_kind_has_against_itself_is_told_with_what_auto_takes_instead(tmp_path: Path) -> None:
    drop(tmp_path, rank=50, least=9)
    with added(FISHERS, tmp_path):
        found = response_probabilities(PHI, OFFSETS, logprob=None, kind="auto")
    assert found.kind == "uniform"
    assert found.reason == ("uniform, because no response has a reference log-probability and lists are too short.")


def test_the_names_of_the_kinds_cost_no_numpy() -> None:
    code = (
        "import sys; from curation.representation.fisher.base import FISHERS; assert FISHERS.names(); "
        "print(sorted({'numpy', 'scipy', 'torch'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert told.stdout.strip() == "[]"
