"""Presets on the command line, and what compare and check say."""

from __future__ import annotations

import json
from pathlib import Path

from curation.settings import DEFAULT_DESIGN, PRESETS
from tests.desk.commands import RULES, run, run_process, solve
from tests.desk.pools import demo_pool

GOVERNED = ("ridge", "ridge_kind", "prior_power", "spread", "select", "max_labels_per_pair")


def kept_settings(out: Path) -> dict:
    """What a batch was made with, of the settings that presets govern."""
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    space = {name: manifest["space"][name] for name in ("normalize", "pca", "length")}
    return {**{name: manifest["settings"][name] for name in GOVERNED}, **space}


def test_a_preset_gives_what_is_not_given_and_an_option_wins(small, tmp_path):
    published = {
        "ridge": 0.001, "ridge_kind": "absolute", "prior_power": 0.0, "spread": "free", "select": "paper",
        "max_labels_per_pair": "inf", "normalize": False, "pca": "raw", "length": False,
    }  # fmt: skip
    before = {
        "ridge": 30.0, "ridge_kind": "relative", "prior_power": 0.0, "spread": "auto", "select": "sample",
        "max_labels_per_pair": 1.0, "normalize": True, "pca": "within", "length": True,
    }  # fmt: skip
    plain = {**PRESETS["default"].values}
    assert plain == {**plain, **{name: getattr(DEFAULT_DESIGN, name) for name in GOVERNED}}
    for place, (more, expected) in enumerate(
        [
            ([], plain),
            (["--preset", "default"], plain),
            (["--preset", "hgm"], published),
            (["--preset", "0.2.0"], before),
            (["--spread", "capped", "--ridge", "0.5", "--preset", "hgm", "--length", "--max-labels-per-pair", "2"],
             {**published, "spread": "capped", "ridge": 0.5, "length": True, "max_labels_per_pair": 2.0}),
            (["--preset", "0.2.0", "--no-length", "--select", "exact"], {**before, "length": False, "select": "exact"}),
        ]
    ):  # fmt: skip
        out = tmp_path / f"batch{place}"
        solve(*small, out, *more, home=tmp_path, budget=6)
        assert kept_settings(out) == expected, more


def test_presets_reach_compare_and_backtest(small, tmp_path):
    pool, features = small
    told, _ = run(
        "compare", pool, "--features", features, "--budget", 6, "--preset", "hgm", "--spread", "capped", "--json",
        home=tmp_path,
    )  # fmt: skip
    assert (told["select"], told["spread"]) == ("paper", "capped")
    demo = demo_pool()
    run("backtest", demo, "--features", demo.with_name("demo.features.parquet"), "--budgets", 8, "--seeds", 2,
        "--workers", 1, "--preset", "0.2.0", "--ridge", 3, "--out", tmp_path / "told", "--json", home=tmp_path)  # fmt: skip
    options = json.loads((tmp_path / "told" / "backtest.json").read_text(encoding="utf-8"))["options"]
    assert (options["design"]["ridge"], options["design"]["spread"]) == (3.0, "auto")
    assert options["space"]["length"] is True


def test_an_unknown_preset_is_a_usage_error(small, tmp_path):
    _, error = run_process("solve", small[0], "--features", small[1], "--budget", 6, "--out", tmp_path / "b",
                   "--preset", "best", home=tmp_path, status=2)  # fmt: skip
    assert "hgm" in error
    assert not (tmp_path / "b").exists()


def test_compare_prints_every_rule_and_the_label_equivalent(small, tmp_path):
    result, _ = run("compare", small[0], "--features", small[1], "--budget", 6, "--json", home=tmp_path)
    assert set(result["baselines"]) == RULES
    assert "uniform_labels" in result
    assert result["outcome_sentence"] == "not tested on outcomes: buy a pilot"
    assert set(result["length"]) == {"difference", "uniform_difference", "pool_difference", "share", "uniform_share"}
    assert result["length"]["pool_difference"] > 0


def test_check_tells_findings_with_remedies_and_saves_the_pairs_nobody_can_decide(tmp_path):
    pool, features = demo_pool(), demo_pool().parent / "demo.features.parquet"
    file = tmp_path / "exclude.csv"
    options = ("--features", features, "--preset", "0.2.0", "--exclude-out", file, "--json")
    result, _ = run("check", pool, *options, home=tmp_path)
    assert {"near_duplicates", "overdrawn"} <= {finding["key"] for finding in result["health"]}
    for finding in result["health"]:
        assert set(finding) == {"key", "severity", "title", "sentence", "value", "unit", "remedy", "examples"}
    assert file.read_text().startswith("prompt_id,response_a_id,response_b_id")


def test_the_empirical_fisher_takes_temperature_and_length_normalisation(tmp_path):
    demo = demo_pool()
    options = (demo, "--features", demo.parent / "demo.features.parquet", "--budget", "20", "--fisher", "empirical")
    effective = {}
    for name, more in {
        "per token": (),
        "summed": ("--no-per-token",),
        "summed, hot": ("--no-per-token", "--temperature", "500"),
    }.items():
        result, _ = run("compare", *options, *more, "--json", home=tmp_path)
        effective[name] = result["effective_candidates"]
        assert any("effective ones" in note for note in result["notes"]) == (name == "summed")
    assert effective["summed"] < 1.5 < effective["summed, hot"]
    assert effective["per token"] > 6
