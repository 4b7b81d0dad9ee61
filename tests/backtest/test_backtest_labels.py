"""Labels imported for earlier batches as the outcomes of a backtest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.backtest.run import Options, imported_truth, run_backtest
from curation.batch.folder import read_batch
from curation.errors import CurationError
from curation.exchange.receive import import_labels
from curation.review.store.store import Store
from curation.run.prepare import load_pool
from curation.settings import DesignSettings, SpaceSettings
from tests.desk.labels import exported, studio, winner, write


def test_imported_labels_are_the_outcomes(
    made: dict[str, Any],
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'review.db'}")
    with pytest.raises(CurationError, match="has no labels; import them first"):
        imported_truth([made["batch"]])
    sent = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
    answers = studio(made, sent)
    answers[0]["annotations"][0]["was_cancelled"] = True
    import_labels(made["batch"], write(tmp_path / "back.json", answers), who="ana", store=store)
    batch = read_batch(made["batch"])
    truth = imported_truth([made["batch"]])
    ends = {(r["prompt_id"], r["response_a_id"], r["response_b_id"]): r["pair_id"] for r in batch.records}
    worth = {"a": 1.0, "b": 0.0, "tie": 0.5}
    assert len(truth.labels) == len(sent) - 1, "a skip is no outcome"
    for prompt, a, b, p in truth.labels:
        assert p == worth[winner(batch, ends[prompt, a, b])]
    result = run_backtest(
        load_pool(made["pool_file"]),
        made["features"],
        Options(space=SpaceSettings(dim=4), design=DesignSettings(budget=1, tol=1e-3), seeds=2, budgets=(2, 4)),
        batches=[made["batch"]],
        workers=1,
    )
    assert result.report.unit == "share of held-out labels won"
    assert result.report.prompts == len({prompt for prompt, *_ in truth.labels})
    assert any("without known outcomes are left out" in note for note in result.notes)
    assert np.isfinite([i.value for i in result.report.curve("design").reward]).all()
