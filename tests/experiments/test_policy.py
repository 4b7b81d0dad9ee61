"""Policy experiments: sampling and KL against enumeration, classifiers, resumption, both experiments end to end."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curation.charts.policy import frontier, win_rates
from curation.errors import CurationError
from curation.experiments.curate import choose, features_of, make_pool
from curation.experiments.generate import generate, log_probabilities, sequence_kl
from curation.experiments.hh import dialogues, pooled
from curation.experiments.hh import test_settings as hh_settings
from curation.experiments.imdb import preference_rows, read_reviews
from curation.experiments.policy import read_result
from curation.experiments.rewards import fit_preference, fit_sentiment
from curation.experiments.stages import Stages
from curation.experiments.training import PLAIN, SmallModel, Training, load_model, make_small_model, run_dpo
from curation.run.prepare import load_pool
from curation.settings import DesignSettings, SpaceSettings
from tests.desk.pools import demo_pool, real_pool

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["the film is good and the film is long", "a bad film and a bad day", "good day", "long bad film is bad"] * 8


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_small_model(
        TEXTS, SmallModel(vocabulary=270, width=16, layers=1, heads=2, context=64), template=PLAIN, seed=0, out=folder
    )
    return folder


def distribution(model: Any, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(torch.softmax(model(input_ids=torch.tensor([ids])).logits[0, -1].double(), -1).numpy())


def test_samples_follow_the_whole_distribution_and_repeat_with_their_seed(small: Path) -> None:
    model, tokenizer = load_model(small, device="cpu", template=PLAIN)
    with torch.no_grad():
        model.lm_head.weight *= 8  # far from uniform
    made = generate(model, tokenizer, ["the film"], count=4000, temperature=0.7, max_tokens=1, seed=1, batch=500)
    again = generate(model, tokenizer, ["the film"], count=4000, temperature=0.7, max_tokens=1, seed=1, batch=500)
    assert made == again
    p = distribution(model, tokenizer("the film")["input_ids"]) ** (1 / 0.7)
    p /= p.sum()
    counts = np.bincount([row[0] for row in made.tokens[0]], minlength=len(p))
    likely = p > 0.01
    assert likely.sum() >= 3
    np.testing.assert_allclose(counts[likely] / 4000, p[likely], atol=0.03)


def test_prompts_of_unequal_length_in_one_batch_change_nothing(small: Path) -> None:
    model, tokenizer = load_model(small, device="cpu", template=PLAIN)
    prompts = ["the film is good and long", "a"]
    tokens = [[tokenizer(" bad film")["input_ids"]], [tokenizer(" good day is long")["input_ids"]]]
    got = log_probabilities(model, tokenizer, prompts, tokens, max_tokens=8)
    for row, (prompt, group) in enumerate(zip(prompts, tokens, strict=True)):
        ids, total = tokenizer(prompt)["input_ids"], 0.0
        for token in group[0]:
            total += math.log(distribution(model, ids)[token])
            ids = [*ids, token]
        assert got[row, 0] == pytest.approx(total, abs=1e-4)


def test_sequence_kl_agrees_with_enumeration_of_every_response(small: Path) -> None:
    policy, tokenizer = load_model(small, device="cpu", template=PLAIN)
    reference, _ = load_model(small, device="cpu", template=PLAIN)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    start, end = tokenizer("good")["input_ids"], tokenizer.eos_token_id
    exact = 0.0
    first, base = distribution(policy, start), distribution(reference, start)
    for a in range(len(first)):
        if a == end:
            exact += first[a] * math.log(first[a] / base[a])
            continue
        second, under = distribution(policy, [*start, a]), distribution(reference, [*start, a])
        exact += float(np.sum(first[a] * second * np.log(first[a] * second / (base[a] * under))))
    made = generate(policy, tokenizer, ["good"] * 40, count=100, temperature=1.0, max_tokens=2, seed=0, batch=500)
    kl = sequence_kl(policy, reference, tokenizer, ["good"] * 40, made, max_tokens=2)
    error = kl.std(ddof=1) / math.sqrt(len(kl))
    assert exact > 0.01
    assert abs(kl.mean() - exact) < 4 * error
    assert error < exact / 4
    same = generate(reference, tokenizer, ["good"] * 4, count=5, temperature=1.0, max_tokens=2, seed=0)
    np.testing.assert_allclose(sequence_kl(reference, reference, tokenizer, ["good"] * 4, same, max_tokens=2), 0)


def test_dpo_raises_what_was_preferred(small: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "the film is", "chosen": " good", "rejected": " bad"}] * 32
    settings = Training(2, 1e-3, 8, optimizer="rmsprop", max_tokens=32)
    before, tokenizer = load_model(small, device="cpu", template=PLAIN)
    model, _ = run_dpo(small, rows, settings, beta=0.1, template=PLAIN, seed=0, device="cpu", out=tmp_path)
    tokens = [[tokenizer(" good")["input_ids"], tokenizer(" bad")["input_ids"]]]
    gaps = [
        np.diff(log_probabilities(m, tokenizer, ["the film is"], tokens, max_tokens=8)[0])[0] for m in (before, model)
    ]
    assert gaps[1] < gaps[0] - 0.5, "good over bad, by nats"
    losses = json.loads((tmp_path / "log.json").read_text())
    assert losses[-1]["loss"] < math.log(2)
    with pytest.raises(CurationError, match="nothing to train on"):
        run_dpo(small, [], settings, beta=0.1, template=PLAIN, seed=0, device="cpu", out=tmp_path)


def test_the_sentiment_classifier_learns_from_labels_and_says_how_well() -> None:
    rng = np.random.default_rng(0)
    words = ["plot", "actor", "scene", "music", "story", "camera"]
    texts = [" ".join([*rng.choice(words, 5), "superb" if k % 2 else "dreadful"]) for k in range(200)]
    scorer = fit_sentiment(texts, [k % 2 for k in range(200)], seed=0)
    assert scorer.accuracy > 0.95
    assert scorer(["a superb scene"])[0] > 0 > scorer(["a dreadful scene"])[0]
    with pytest.raises(CurationError, match="2 kinds"):
        fit_sentiment(texts, [1] * 200, seed=0)


def test_the_preference_model_orders_pairs_it_has_not_seen_and_heeds_soft_labels() -> None:
    rng = np.random.default_rng(0)
    words = ["this", "that", "here", "there", "now"]
    better = [" ".join([*rng.choice(words, 4), "please"]) for _ in range(150)]
    worse = [" ".join([*rng.choice(words, 4), "never"]) for _ in range(150)]
    scorer = fit_preference(better, worse, seed=0)
    assert scorer.accuracy > 0.95
    assert scorer(["please here"])[0] > scorer(["never here"])[0]
    turned = fit_preference(better, worse, seed=0, chance=[0.1] * 150)
    assert turned(["please here"])[0] < turned(["never here"])[0]


def test_stages_are_skipped_when_nothing_changed_and_a_broken_one_leaves_nothing(tmp_path: Path) -> None:
    calls: list[str] = []

    def make(folder: Path) -> None:
        calls.append("made")
        (folder / "x").write_text("1")

    stages = Stages(tmp_path)
    stages.run("a", {"k": 1}, make)
    stages.run("a", {"k": 1}, make)
    assert calls == ["made"]
    stages.run("a", {"k": 2}, make)
    assert calls == ["made", "made"]

    def broken(folder: Path) -> None:
        (folder / "half").write_text("")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        stages.run("a", {"k": 3}, broken)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"], "no staging folder stays"
    assert (tmp_path / "a" / "x").read_text() == "1", "the earlier stage is untouched"


def test_preferences_are_drawn_by_bradley_terry_on_the_rewards() -> None:
    class Bought:
        prompt, first, second, copies = np.zeros(1, int), np.zeros(1, int), np.ones(1, int), np.array([4000])

    rows = preference_rows(["q"], [["good", "bad"]], np.array([[1.0, 0.0]]), Bought, seed=0)
    share = np.mean([row["chosen"] == "good" for row in rows])
    assert share == pytest.approx(1 / (1 + math.exp(-1)), abs=0.03)
    assert preference_rows(["q"], [["same", "same"]], np.array([[1.0, 0.0]]), Bought, seed=0) == []


def test_the_curation_buys_real_pairs_of_the_pool_with_the_models_own_states(small: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = "the film is good and long a bad day".split()
    texts = [[" " + " ".join(rng.choice(words, 4)) for _ in range(4)] for _ in range(12)]
    pool = make_pool(["the film", "a day"] * 6, texts, name="t")
    table = features_of(pool, small, device="cpu", out=tmp_path / "f.parquet")
    assert table.reference_logprob is not None
    for rule in ("trace", "paper", "uniform", "farthest"):
        got = choose(
            pool, table, rule, space=SpaceSettings(dim=8), settings=DesignSettings(budget=10, tol=1e-3), seed=0
        )
        assert got.copies.sum() == 10
        assert np.all(got.first < got.second)
        assert got.prompt.max() < 12


def test_reviews_that_cannot_be_used_are_refused_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": "b", "label"\n')
    with pytest.raises(CurationError, match="line 2"):
        read_reviews(str(path))
    path.write_text('{"text": "a", "label": 5}\n')
    with pytest.raises(CurationError, match="`label` 0 or 1"):
        read_reviews(str(path))


def test_dialogues_keep_who_won_whatever_the_order(tmp_path: Path) -> None:
    pool = real_pool("hh_harmless_base_test.jsonl.gz")
    opened = load_pool(pool)
    data = dialogues(opened, hh_settings())
    assert len(data.prompts) == 240
    assert all(p.startswith("\n\nHuman: ") and p.endswith("\n\nAssistant:") for p in data.prompts)
    by_text = {p.responses[0].text + "|" + p.responses[1].text: p.prompt_id for p in opened.pool.prompts}
    assert by_text
    assert set(np.unique(data.chance)) <= {0.0, 1.0}
    assert len(data.ends) == 240


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "curation", "experiment", *arguments],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "CURATION_HOME": str(home)}, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_an_experiment_without_its_data_is_refused_with_a_remedy(tmp_path: Path) -> None:
    done = run(tmp_path, "imdb", "--scale", "small")
    assert done.returncode == 1
    assert "give --data" in done.stderr
    done = run(tmp_path, "hh", "--scale", "test", "--pool", str(demo_pool()), "--judge", "nowhere")
    assert done.returncode == 1
    assert "is no address" in done.stderr
    assert not (tmp_path / "experiments").exists()


def ended() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@pytest.mark.slow
def test_the_review_experiment_runs_end_to_end_goes_on_where_it_was_and_draws_its_frontier(tmp_path: Path) -> None:
    reviews = real_pool("reviews_polarity.jsonl.gz")
    arguments = ("imdb", "--scale", "test", "--data", str(reviews), "--out", str(tmp_path / "out"), "--json")
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {(p["curation"], p["rule"]) for p in told["points"]} == set(
        itertools.product(("prompt", "response"), ("trace", "uniform"))
    )
    assert told["classifier_accuracy"] > 0.7
    assert all(p["kl"] > 3 * p["kl_error"] for p in told["points"]), "training moved every policy"
    again = run(tmp_path, *arguments)
    assert json.loads(again.stdout)["points"] == told["points"]
    assert json.loads(again.stdout)["seconds"] < told["seconds"] / 2
    victim = tmp_path / "out" / "response-trace-beta0.1-seed0"
    (victim / "stage.json").unlink()
    left = victim.with_name(f".{victim.name}.{ended()}")  # as a kill leaves it
    victim.rename(left)
    third = json.loads(run(tmp_path, *arguments).stdout)
    assert third["points"] == told["points"], "made again, the same"
    assert not left.exists(), "cleared away"
    result = read_result(tmp_path / "out")
    assert result is not None
    for curation in ("prompt", "response"):
        drawn = frontier(result, curation)
        assert sum(len(trace.x) for trace in drawn.data) == 1 + 2


@pytest.mark.slow
def test_the_dialogue_experiment_runs_end_to_end_and_draws_win_rates(tmp_path: Path) -> None:
    pool = real_pool("hh_harmless_base_test.jsonl.gz")
    arguments = ("hh", "--scale", "test", "--pool", str(pool), "--out", str(tmp_path / "out"), "--json")
    done = run(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert {p["temperature"] for p in told["points"]} == {0.7, 1.0}
    assert all(0 <= p["win_rate"] <= 1 for p in told["points"])
    again = json.loads(run(tmp_path, *arguments).stdout)
    assert again["points"] == told["points"]
    result = read_result(tmp_path / "out")
    assert result is not None
    for against in ("reference", "uniform"):
        drawn = win_rates(result, against)
        assert sum(len(trace.x) for trace in drawn.data) == (4 if against == "reference" else 2)
    got = pooled(result, 0.5, "trace", 0.7, "uniform")
    assert got is not None
    assert got[0] == pytest.approx(
        next(
            p["win_rate"]
            for p in told["points"]
            if (p["rule"], p["against"], p["temperature"]) == ("trace", "uniform", 0.7)
        )
    )


@pytest.mark.slow
def test_the_dialogue_experiment_runs_on_answers_with_known_quality(tmp_path: Path) -> None:
    pool = real_pool("answers_dev.jsonl.gz")
    done = run(tmp_path, "hh", "--scale", "test", "--pool", str(pool), "--out", str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["points"]
