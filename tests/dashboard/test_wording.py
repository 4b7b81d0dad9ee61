"""Words on pages: no options, no folders of the server; what a page opens with says what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation.dashboard.found import evidence_sentence, pool_sentence
from curation.dashboard.jobs import lasting
from curation.dashboard.wording import on_a_page
from curation.health.finding import Finding
from curation.insight.luck import Draws


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("lower the budget or raise --max-labels-per-pair.", "lower the budget or raise “Labels per pair”."),
        ("raise --ridge or lower --dim.", "raise “Ridge” or lower “PCA dimensions”."),
        ("use --no-normalize; it helps.", "use “no L2-normalise”; it helps."),
        ("give less, or write --nothing-known.", "give less, or write “nothing known”."),
        ("b is not signed; sign it first (`sign DIR --as NAME`).", "b is not signed; sign it first."),
        ("a pair -- of two", "a pair -- of two"),
    ],
)
def test_options_are_told_by_their_controls(said: str, shown: str) -> None:
    assert on_a_page(said) == shown


def test_folders_of_the_server_stay_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CURATION_POOLS", str(tmp_path / "pools"))
    assert on_a_page(f"{tmp_path}/home/uploads/a.csv: no prompt.") == "a.csv: no prompt."
    assert on_a_page(f"{tmp_path}/pools/deep/a.csv is empty.") == "deep/a.csv is empty."
    assert on_a_page("/elsewhere/a.csv is outside.") == "/elsewhere/a.csv is outside."


def found(title: str, severity: str) -> Finding:
    return Finding(title, severity, title, "", 1.0, "", "")  # type: ignore[arg-type]


def test_a_pool_opens_with_what_would_waste_labels() -> None:
    offers = "62 prompts with 496 responses offer 1,736 pairs to choose from; every row could be read."
    assert pool_sentence(62, 496, 1736) == offers
    assert pool_sentence(62, 496, 1736, findings=[]) == f"{offers} Nothing in the texts would waste labels."
    two = [found("A note", "note"), found("Empty answers", "warning")]
    told = pool_sentence(2, 4, 2, rejects=3, findings=two)
    assert "3 rows could not be read and are left out" in told
    assert told.endswith("2 things in the texts would waste labels, 1 of them serious; first: empty answers.")


def test_evidence_without_a_backtest_opens_with_that() -> None:
    draws = Draws(np.array([1.0, 3.0]), np.array([2.0, 4.0]), 1.0)
    assert draws.worse == 0.25
    told = evidence_sentence(None, draws, testable=False)
    assert told.startswith("Not tested on outcomes")
    assert "buy a small pilot" in told
    assert told.endswith("beats a uniform one in 75% of the draws.")
    assert "has not been run" in evidence_sentence(None, draws, testable=True)


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (3540, "59 min"), (3599, "1 h 0 min")]
)
def test_time_left_is_told_in_words(seconds: float, told: str) -> None:
    assert lasting(seconds) == told
