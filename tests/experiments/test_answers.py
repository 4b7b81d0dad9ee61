"""DPO on bought answers: the cut model is the whole one, a killed training goes on, a policy learns what labels say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curation.errors import CurationError
from curation.experiments import adapters
from curation.experiments.adapters import AdapterTraining, implicit_rewards, train
from curation.experiments.answers import AnswersSettings, run_answers
from curation.experiments.answers_report import report, verdict
from curation.experiments.upper import Halves, Read, load_read, tokens_of
from curation.pool.schema import Pool, PoolFile, Prompt, Response, Truth
from curation.representation.layout import Layout
from tests.desk.tiny_models import save_model

WORDS = "good bad egg sea water city poem sailor sleep boil cool wide deep short question".split()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("llama"), "llama", chat=True)


@pytest.fixture(scope="module")
def read(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Halves, Read]:
    halves = Halves(str(model), layers=1)
    rows = tokens_of(Layout(halves.tokenizer, max_tokens=None), ["What is good?", "Boil an egg"], TEXTS, 12)
    folder = tmp_path_factory.mktemp("read")
    halves.read(rows, folder)
    return halves, load_read(folder)


TEXTS = [
    ["the sea is wide", "the sea is deep", "an egg"],
    ["boil it in water for eight minutes and cool it then", "no"],
]


def pool_of(prompts: int = 24) -> PoolFile:
    """Answers of random words; those that begin with `good` are the better ones."""
    rng = np.random.default_rng(0)
    entries, quality = [], {}
    for x in range(prompts):
        answers = []
        for k in range(4):
            words = ["good" if k % 2 else "bad", *rng.choice(WORDS[2:], size=rng.integers(2, 8)).tolist()]
            answers.append(Response(f"r{k}", " ".join(words), generator=f"g{k}"))
            quality[f"p{x}", f"r{k}"] = float(k % 2)
        entries.append(Prompt(f"p{x}", f"{rng.choice(WORDS)} question {x}", tuple(answers)))
    return PoolFile(Pool(tuple(entries), name="made"), Truth(quality=quality), (), "canonical", prompts, prompts)


def test_kept_states_give_the_log_probabilities_of_the_whole_model(read: tuple[Halves, Read]) -> None:
    halves, kept = read
    with torch.inference_mode():
        got = halves.log_probabilities(halves.upper, kept, range(5)).numpy()
        for i in range(5):
            ids = torch.as_tensor(kept.tokens[kept.offsets[i] : kept.offsets[i + 1]])[None]
            scores = torch.log_softmax(halves.model(input_ids=ids).logits[0, :-1].double(), -1)
            start = int(kept.start[i])
            want = float(scores.gather(1, ids[0, 1:, None])[start - 1 :].sum())
            assert got[i] == pytest.approx(want, abs=1e-4)
            assert kept.logprob[i] == pytest.approx(want, abs=1e-4)


def test_a_cut_answer_has_its_first_tokens_and_no_end(read: tuple[Halves, Read]) -> None:
    halves, _ = read
    layout = Layout(halves.tokenizer, max_tokens=None)
    whole = tokens_of(layout, ["Boil an egg"], [["boil it in water"]], 99)[0]
    cut = tokens_of(layout, ["Boil an egg"], [["boil it in water"]], 3)[0]
    assert whole.ids[: cut.start + 3] == cut.ids
    assert halves.tokenizer.convert_ids_to_tokens(whole.ids[-1]) == "<|end|>" or whole.ids[-1] != cut.ids[-1]


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_model_that_cannot_be_cut_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    folder = save_model(tmp_path, kind)
    with pytest.raises(CurationError, match=r"cannot be read in two halves|is an encoder"):
        Halves(str(folder), layers=1)


def test_layers_beyond_the_model_are_refused(model: Path) -> None:
    with pytest.raises(CurationError, match="--layers 9 cannot be trained"):
        Halves(str(model), layers=9)


def test_training_prefers_what_was_preferred_and_leaves_the_reference_alone(
    read: tuple[Halves, Read], tmp_path: Path
) -> None:
    halves, kept = read
    before = kept.logprob.copy()
    settings = AdapterTraining(epochs=6, learning_rate=5e-3, batch=2)
    policy, losses = train(halves, kept, [(0, 1), (3, 4)] * 4, settings, seed=0, folder=tmp_path)
    moved = implicit_rewards(halves, kept, policy, range(5))
    assert losses[0] == pytest.approx(np.log(2), abs=1e-6)
    assert moved[0] > moved[1]
    assert moved[3] > moved[4]
    with torch.inference_mode():
        np.testing.assert_allclose(halves.log_probabilities(halves.upper, kept, range(5)).numpy(), before, atol=1e-4)


def test_a_killed_training_goes_on_to_the_same_weights(
    read: tuple[Halves, Read], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves, kept = read
    settings = AdapterTraining(epochs=3, learning_rate=1e-3, batch=2)
    pairs = [(0, 1), (3, 4), (2, 1), (1, 0)]
    whole, losses = train(halves, kept, pairs, settings, seed=3, folder=tmp_path)
    monkeypatch.setattr(adapters, "KEPT_EVERY", -1.0)

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        assert total == 6
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        train(halves, kept, pairs, settings, seed=3, folder=tmp_path, told=kill)
    steps: list[int] = []
    again, retold = train(
        halves, kept, pairs, settings, seed=3, folder=tmp_path, told=lambda done, total: steps.append(done)
    )
    assert steps == [4, 5, 6]
    assert retold == losses
    a, b = implicit_rewards(halves, kept, whole, range(5)), implicit_rewards(halves, kept, again, range(5))
    np.testing.assert_array_equal(a, b)


def settings_of(model: Path, **changes: Any) -> AnswersSettings:
    made = AnswersSettings(
        model=str(model), rules=("trace", "uniform"), budgets=(12,), seeds=(0, 1), tokens=8, layers=1, judged=10, shown=4,
        temperature=0.05, training=AdapterTraining(epochs=4, learning_rate=1e-2, batch=4),
    )  # fmt: skip
    return replace(made, **changes)


def test_the_experiment_learns_what_the_labels_say_and_goes_on_where_it_was(model: Path, tmp_path: Path) -> None:
    told: list[int] = []
    result = run_answers(
        pool_of(), settings_of(model), tmp_path, told=lambda done, total, seconds, note: told.append(done)
    )
    assert told == [1, 2, 3, 4]
    assert {(p["rule"], p["seed"]) for p in result["points"]} == {(r, s) for r in ("trace", "uniform") for s in (0, 1)}
    for point in result["points"]:
        assert point["labels"] == 12
        assert np.nanmean([np.nan if v is None else v for v in point["accuracy"]]) > 0.75  # one word tells quality
    assert any("Declared before looking" in words for words in result["sentences"])
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("point.json")}
    again = run_answers(pool_of(), settings_of(model), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("point.json")} == stamps
    assert again["table"] == result["table"]
    assert json.loads((tmp_path / "result.json").read_text())["verdict"] == result["verdict"]


def test_policies_of_one_split_are_judged_on_the_same_unseen_prompts(model: Path, tmp_path: Path) -> None:
    result = run_answers(pool_of(), settings_of(model, rules=("trace", "farthest", "uniform"), seeds=(4,)), tmp_path)
    assert len({tuple(p["prompts"]) for p in result["points"]}) == 1
    assert len(set(result["points"][0]["prompts"])) == 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rules": ("best",)}, "--rules best is unknown; use trace"),
        ({"budgets": (100_000,)}, "--budgets 100000 exceeds"),
        ({"pooling": "first"}, "--pooling 'first' is unknown"),
    ],
)
def test_what_cannot_be_asked_is_refused(model: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CurationError, match=words):
        run_answers(pool_of(12), settings_of(model, **changes), tmp_path)


def test_a_pool_without_quality_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="carries no `quality`"):
        run_answers(replace(pool_of(), truth=Truth()), settings_of(model), tmp_path)


def test_the_verdict_is_the_interval_of_the_declared_measure() -> None:
    rng = np.random.default_rng(1)
    points = []
    for seed in range(4):
        for rule, lead in (("trace", 0.5), ("uniform", 0.0), ("farthest", -0.5)):
            value = (0.1 * rng.standard_normal(40) + lead).tolist()
            points.append(
                {"rule": rule, "budget": 10, "seed": seed, "prompts": list(range(40)), "reward": value,
                 "accuracy": [0.5] * 40, "matched": [None] * 39 + [1.0], "kl": 0.1, "losses": [0.7], "pairs": 9,
                 "matched_pairs": 1}
            )  # fmt: skip
    settings = {"rules": ["trace", "uniform", "farthest"], "budgets": [10], "seeds": [0, 1, 2, 3]}
    made = report({"points": points, "settings": settings, "prompts": 40, "weights": [1 / 40] * 40, "unit": "points"})
    assert "The design is ahead of uniform (+0." in made["verdict"]
    assert "farthest is behind uniform (-0." in made["verdict"]
    assert verdict([]) == "Uniform sampling was not among the rules, so nothing is compared."
