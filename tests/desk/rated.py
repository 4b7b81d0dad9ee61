"""A batch that a person answered and a model may judge."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from curation.exchange.second_rater import judge_cache
from curation.experiments.judge import EndpointJudge
from curation.review.store.store import Store
from tests.desk.endpoint import Endpoint
from tests.desk.labels import exported

MODEL = "some-model"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace, in which the judge's answers are kept."""
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return tmp_path / "home"


def judge(endpoint: Endpoint, **options: Any) -> EndpointJudge:
    return EndpointJudge(endpoint.url, MODEL, judge_cache(), pause=0.0, **options)


def answered(made: dict[str, Any], store: Store, folder: Path, pairs: set[str], who: str = "ana") -> Path:
    """A labels file in which somebody chose the left response of these pairs."""
    source = folder / "tasks.csv"
    if not source.exists():
        exported(made, store, folder, "csv")
    with source.open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["pair_id"] in pairs]
    out = folder / f"{who}-{len(pairs)}.csv"
    with out.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "preference": "left", "annotator": who} for row in rows)
    return out
