"""Batches of earlier versions keep their ids and their settings, whatever the defaults have become.

The golden ids were computed by running `_solved` and `_ids` below at commit e2e0ea8 (the last one whose defaults were
those of 0.2.0), then written down. Every setting whose default has changed since is named here.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.backtest.run import Options, options_of
from curation.batch.folder import read_batch
from curation.batch.records import save_batch, solved_identity
from curation.design.selection.sampling import Batch
from curation.pool.schema import Pool, Prompt, Response
from curation.representation.features_file import write_features
from curation.representation.space import Space
from curation.review.topup import settings_of
from curation.run.prepare import prepare
from curation.run.results import Solved
from curation.run.solve import solve
from curation.settings import PRESETS, DesignSettings, SpaceSettings, kept_design, kept_space

OLD: dict[str, Any] = {"ridge": 30.0, "ridge_kind": "relative", "prior_power": 0.0, "spread": "auto"}  # of 0.2.0
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    # space, design, how solve is called
    "0.2.0 defaults": ({"length": True}, {"budget": 20, **OLD}, {}),
    "as published": (
        {"length": False, "normalize": False, "pca": "raw"},
        {"budget": 20, "ridge": 1e-3, "ridge_kind": "absolute", "prior_power": 0.0, "spread": "free", "select": "paper",
         "max_labels_per_pair": math.inf},
        {},
    ),
    "light and capped": ({"length": False}, {**OLD, "budget": 20, "ridge": 0.1, "spread": "capped", "seed": 7}, {}),
    "exact, two labels a pair": (
        {"length": True},
        {"budget": 30, **OLD, "ridge": 1.0, "spread": "balanced", "select": "exact", "max_labels_per_pair": 2.0},
        {"overlap": 0.2},
    ),
    "caps, quotas, shares": (
        {"length": True, "dim": 4},
        {"budget": 16, **OLD, "per_prompt": 2, "quotas": (("a", 6, 9), ("b", 0, math.inf)), "generator_share": 0.8},
        {},
    ),
    "costs, empirical Fisher": (
        {"length": False},
        {"budget": 40.5, **OLD, "ridge": 3.0, "cost": "minutes", "fisher": "empirical", "temperature": 2.0,
         "per_token": False},
        {},
    ),
    "Frank-Wolfe, pins and exclusions": (
        {"length": True},
        {"budget": 14, **OLD, "solver": "frank-wolfe", "tol": 1e-2},
        {"pinned": [(0, 0, 1), (3, 1, 2)], "excluded": [(5, 0, 3)]},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def pool() -> Pool:
    rng = np.random.default_rng(20)
    prompts = []
    for x in range(16):
        answers = tuple(
            Response(
                f"r{k}", f"answer {x}.{k} " + "word " * int(rng.integers(1, 30)), generator="uvwxy"[k],
                reference_logprob=-float(rng.integers(20, 60)) / 10, meta={"minutes": float(rng.integers(1, 4)) / 2},
            )
            for k in range(4 + x % 2)
        )  # fmt: skip
        prompts.append(Prompt(f"p{x}", f"question {x}", answers, stratum="ab"[x % 2]))
    return Pool(tuple(prompts), name="old")


@pytest.fixture(scope="module")
def features(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = np.random.default_rng(21).standard_normal((pool.n_responses, 9))
    return write_features(tmp_path_factory.mktemp("old") / "old.parquet", pool.ids(), rows)


def _solved(name: str, pool: Pool, features: Path) -> Solved:
    space, design, how = CASES[name]
    settings = DesignSettings(**design)
    prepared = prepare(
        pool, features, space=SpaceSettings(**{"dim": 6, **space}), fisher=settings.fisher,
        temperature=settings.temperature, per_token=settings.per_token, device="cpu",
    )  # fmt: skip
    return solve(prepared, settings, with_baselines=False, **how)


def _ids(name: str, solved: Solved) -> tuple[str, str]:
    """The batch's id, and the id that the same settings would give a batch of the first three pairs."""
    how = CASES[name][2]
    limits = (how.get("pinned", ()), how.get("excluded", ()))
    first = replace(solved, batch=Batch(np.arange(3), np.ones(3, dtype=np.int64), None))
    return solved_identity(solved, *limits), solved_identity(first, *limits)


GOLDEN = {
    "0.2.0 defaults": ("c68d49e3a8c79bcc", "cc02147a3743ed7e"),
    "as published": ("045130b930732a31", "a32d4308def4bdc2"),
    "light and capped": ("5492e8bcdef569d7", "7866392d8ece7e2e"),
    "exact, two labels a pair": ("e637c46244dd7dec", "28b847d97e317980"),
    "caps, quotas, shares": (None, "14101875a5fd848b"),  # sums overlap: the draw follows the processor's linear algebra
    "costs, empirical Fisher": ("9cef02c727e54599", "a04d40608b24543b"),
    "Frank-Wolfe, pins and exclusions": ("7bbfed4c99805cfc", "363e7da37764d091"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_batch_of_explicit_settings_has_the_id_it_had_before_the_defaults_changed(name, pool, features):
    whole, settings = _ids(name, _solved(name, pool, features))
    assert settings == GOLDEN[name][1]
    assert whole == (GOLDEN[name][0] or whole)


def test_what_an_old_manifest_does_not_say_has_the_default_of_its_time(pool, features, tmp_path):
    solved = _solved("0.2.0 defaults", pool, features)
    manifest = read_batch(save_batch(solved, tmp_path / "batch")).manifest
    sparse = {
        "settings": {k: v for k, v in manifest["settings"].items() if k not in ("ridge", "prior_power", "spread")},
        "space": {k: v for k, v in manifest["space"].items() if k != "length"},
    }
    assert settings_of(sparse) == solved.settings
    assert kept_space(sparse["space"]) == SpaceSettings(dim=6, length=True)
    assert kept_design({"budget": 3, "ridge": 0.5, "spread": "free"}) == DesignSettings(
        3, ridge=0.5, prior_power=0.0, spread="free"
    )


def test_an_old_space_file_without_a_word_on_length_had_the_coordinate(pool, features, tmp_path):
    solved = _solved("0.2.0 defaults", pool, features)
    solved.prepared.space.save(tmp_path / "space.npz")
    with np.load(tmp_path / "space.npz") as stored:
        arrays = dict(stored)
    head = json.loads(str(arrays["head"]))
    del head["settings"]["length"]
    np.savez(tmp_path / "old.npz", **{**arrays, "head": np.array(json.dumps(head))})
    assert Space.load(tmp_path / "old.npz").fingerprint == solved.prepared.space.fingerprint


def test_a_kept_backtest_of_infinitely_many_labels_a_pair_comes_back():
    asked = Options(design=PRESETS["hgm"].design(), budgets=(4, 8))
    assert options_of(json.loads(json.dumps(asdict(asked)))) == asked
