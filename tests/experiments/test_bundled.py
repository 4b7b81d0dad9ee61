"""The bundled evidence: made from whole results, small, and of nobody's machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from curation.charts.bought import accuracies, leads
from curation.experiments import bundled
from curation.experiments.answers_report import verdict
from curation.settings import app_folder


def of_the_program() -> list[dict]:
    found = bundled.bundled()
    assert found, "two pools travel with the program"
    return found


def test_what_travels_names_a_public_model_and_no_folder() -> None:
    text = (app_folder() / "data" / bundled.NAME).read_text()
    assert '"/' not in text
    assert len(text) < 100_000
    for result in of_the_program():
        assert result["model"] == "SmolLM2-135M-Instruct"


def test_verdict_and_leads_of_what_travels_agree_with_its_table() -> None:
    for result in of_the_program():
        assert result["verdict"] == verdict(result["leads"])
        of = {(row["rule"], row["labels"]): row["reward"][0] for row in result["table"]}
        budgets = result["settings"]["budgets"]
        for lead in result["leads"]:
            some = budgets if lead["labels"] == "all" else [int(lead["labels"])]
            want = sum(of[lead["rule"], n] - of["uniform", n] for n in some) / len(some)
            assert lead["reward"][0] == pytest.approx(want)
            assert lead["reward"][1] < lead["reward"][0] < lead["reward"][2]
        assert len(result["points"]) == len(result["table"]) * len(result["settings"]["seeds"])


def test_every_interval_is_drawn() -> None:
    for result in of_the_program():
        drawn = leads(result)
        assert sorted(trace.x[0] for trace in drawn.data) == sorted(lead["reward"][0] for lead in result["leads"])
        for measure in ("accuracy", "matched"):
            shares = accuracies(result, measure)
            assert sorted(trace.x[0] for trace in shares.data) == sorted(row[measure][0] for row in result["table"])


def test_results_are_gathered_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {
        **of_the_program()[0], "device": "cpu", "weights": [1.0],
        "points": [{"rule": "trace", "budget": 3, "seed": 0, "kl": 0.1, "labels": 3, "reward": [1.0], "losses": [0.6]}],
    }  # fmt: skip
    whole["settings"] = {**whole["settings"], "model": "/home/somebody/model"}
    (tmp_path / "result.json").write_text(json.dumps(whole))
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(bundled, "app_folder", lambda: tmp_path)
    monkeypatch.setattr(sys, "argv", ["bundled", "--model", "SomeLM", str(tmp_path / "result.json")])
    assert bundled.bundled() == []
    bundled.main()
    (made,) = bundled.bundled()
    assert made["model"] == "SomeLM"
    assert "somebody" not in json.dumps(made)
    assert made["points"] == [{"rule": "trace", "budget": 3, "seed": 0, "kl": 0.1, "labels": 3}]
    assert "weights" not in made
