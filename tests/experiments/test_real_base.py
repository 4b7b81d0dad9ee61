"""Policy experiments on a model that is at hand: adapters, resumed training, length-free reward, label multiples."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curation.cli.app import main
from curation.errors import CurationError
from curation.experiments import training
from curation.experiments.imdb_report import multiples, sentences
from curation.experiments.policy import run_policy
from curation.experiments.rewards import length_free
from curation.experiments.stages import Stages
from curation.experiments.training import PLAIN, Training, load_model, run_dpo, run_sft
from tests.desk.tiny_models import TEXTS, save_model

ROWS = [{"prompt": "the sea", "chosen": " is wide", "rejected": " is deep"}] * 12
ADAPTERS = Training(2, 1e-3, 4, max_tokens=32, rank=4, autocast=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("llama"), "llama")


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_adapters_are_merged_into_whole_float32_weights(base: Path, tmp_path: Path) -> None:
    start = weights(load_model(base, device="cpu", template=PLAIN)[0])
    run_sft(base, [t[:60] for t in TEXTS] * 4, ADAPTERS, template=PLAIN, seed=0, device="cpu", out=tmp_path)
    assert not (tmp_path / "adapter_config.json").exists()
    tuned = load_model(tmp_path, device="cpu", template=PLAIN)[0]
    assert tuned.dtype == torch.float32
    moved = {name: float((value - start[name]).abs().max()) for name, value in weights(tuned).items()}
    assert all(moved[name] > 0 for name in moved if "proj" in name)
    assert all(moved[name] == 0 for name in moved if "norm" in name or "embed" in name)
    policy, _ = run_dpo(tmp_path, ROWS, ADAPTERS, beta=0.1, template=PLAIN, seed=0, device="cpu", out=tmp_path)
    assert type(policy).__name__ == "LlamaForCausalLM"
    assert json.loads((tmp_path / "log.json").read_text())[-1]["loss"] < math.log(2)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_training_that_is_killed_goes_on_from_its_step(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    from transformers.trainer_callback import TrainerCallback
    from trl import DPOTrainer  # type: ignore[attr-defined]

    settings = Training(3, 1e-3, 4, max_tokens=32, rank=rank)
    (tmp_path / "a").mkdir()
    whole, _ = run_dpo(base, ROWS, settings, beta=0.1, template=PLAIN, seed=0, device="cpu", out=tmp_path / "a")
    monkeypatch.setattr(training, "KEPT_EVERY", -1.0)
    plain = DPOTrainer.train

    class Killed(Exception):
        pass

    class Kill(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 5:
                raise Killed

    def killed(self: Any, **options: Any) -> Any:
        self.add_callback(Kill())
        return plain(self, **options)

    asked: dict[str, Any] = {"beta": 0.1, "template": PLAIN, "seed": 0, "device": "cpu", "out": tmp_path / "a"}
    monkeypatch.setattr(DPOTrainer, "train", killed)
    with pytest.raises(Killed):
        run_dpo(base, ROWS, settings, kept=tmp_path / "kept", **asked)
    assert [p.name for p in (tmp_path / "kept").glob("checkpoint-*")] == ["checkpoint-5"]
    seen: list[int] = []

    class Count(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            seen.append(state.global_step)

    def counted(self: Any, **options: Any) -> Any:
        self.add_callback(Count())
        return plain(self, **options)

    monkeypatch.setattr(DPOTrainer, "train", counted)
    again, _ = run_dpo(base, ROWS, settings, kept=tmp_path / "kept", **asked)
    assert seen == [5, 6, 7, 8]
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(again)[name], value, rtol=0, atol=1e-6)


def test_what_a_stage_keeps_is_found_again_and_gone_when_it_is_done(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    kept = stages.unfinished("a", {"k": 1})
    (kept / "step").write_text("3")
    assert (stages.unfinished("a", {"k": 1}) / "step").read_text() == "3"
    other = stages.unfinished("a", {"k": 2})
    assert list(other.iterdir()) == []
    assert not kept.exists(), "of other settings: of no use"
    stages.run("a", {"k": 2}, lambda folder: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    assert not stages.unfinished("a", {"k": 2}).exists()


def test_a_length_free_reward_has_no_slope_on_length_and_keeps_the_rest() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(["word"] * int(k) + ["good"] * int(g)) for k, g in rng.integers(1, 40, (300, 2))]

    def score(some: Any) -> Any:
        return np.array([2.0 * np.log1p(len(t.split())) + 0.01 * t.count("good") for t in some])

    free = length_free(score, texts)
    lengths = np.log1p([len(t.split()) for t in texts])
    assert abs(np.polyfit(lengths, score(texts), 1)[0]) > 1.9
    assert abs(np.polyfit(lengths, free(texts), 1)[0]) < 1e-9
    rest = score(texts) - np.polyval(np.polyfit(lengths, score(texts), 1), lengths)
    assert np.corrcoef(free(texts), rest)[0, 1] > 0.999


def points(rule: str, share: float, level: float) -> list[dict[str, Any]]:
    """Two betas and two seeds whose reward is `level` at 2 nats, linear in KL, over a reference of 1."""
    rng = np.random.default_rng(int(10 * share))
    noise = 1e-3 * rng.standard_normal((2, 2, 6))
    return [
        {"curation": "response", "rule": rule, "beta": beta, "seed": seed, "share": share, "kl": kl, "kl_error": 0.1,
         "reward": 1 + level * kl / 2, "reward_error": 0.1, "tokens": 10 + share, "labels": 40,
         "by_prompt": (1 + level * kl / 2 + noise[seed, k]).tolist(),
         "length_free_by_prompt": (level * kl / 2 + noise[seed, k] - 5 * (rule == "trace")).tolist()}
        for k, (beta, kl) in enumerate([(1.0, 1.0), (0.1, 2.0)])
        for seed in (0, 1)
    ]  # fmt: skip


def test_label_multiples_are_read_from_the_curve_of_uniform_budgets_at_equal_kl() -> None:
    made = [*points("uniform", 0.5, 1.0), *points("uniform", 1.0, 2.0), *points("uniform", 2.0, 3.0)]
    made += [*points("trace", 1.0, 2.5), *points("farthest", 1.0, 9.0)]
    result = {"reference": {"reward": 1.0}, "points": made, "settings": {"betas": [0.1, 1.0]}}
    told = multiples(result)
    assert told["kl"] == pytest.approx(1.0)
    assert told["reward"] == pytest.approx({"uniform": 1.0, "trace": 1.25, "farthest": 4.5})
    assert told["labels"]["uniform"] == pytest.approx(1.0)
    assert told["labels"]["trace"] == pytest.approx(math.sqrt(2))
    assert told["labels"]["farthest"] is None, "beyond what was tried"
    assert multiples({**result, "points": points("trace", 1.0, 2.0) + points("uniform", 1.0, 2.0)}) == {}
    said = sentences(result)
    assert "trace minus uniform +0.500 in reward" in said[0]
    assert "outside two standard errors" in said[0]
    assert "Length out: -4.500" in said[0]
    assert "they write 11.0 and 11.0 tokens" in said[0]


@pytest.mark.parametrize(
    ("scale", "model", "words"),
    [("real", None, "name it with --model"), ("small", "somewhere", "makes its own small model")],
)
def test_a_base_model_that_does_not_fit_its_scale_is_refused(
    tmp_path: Path, scale: Any, model: str | None, words: str
) -> None:
    for kind in ("imdb", "hh"):
        with pytest.raises(CurationError, match=words):
            run_policy(kind, scale, "data.jsonl", tmp_path / "out", model=model)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_reviews_run_on_a_model_at_hand_from_the_command_line(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from curation.experiments import imdb

    rng = np.random.default_rng(0)
    reviews = tmp_path / "r.jsonl"
    words = "sea egg water city poem sailor sleep".split()
    with reviews.open("w") as file:
        for k in range(700):
            text = " ".join([*rng.choice(words, 8), "wide" if k % 2 else "deep", *rng.choice(words, 3)])
            file.write(json.dumps({"text": text, "label": k % 2}) + "\n")

    def smaller(data: str, model: str) -> Any:
        from dataclasses import replace

        made = real(data, model)
        return replace(
            made, prompts=24, eval_prompts=12, eval_samples=2, candidates=4, new_tokens=6, sft_texts=32, betas=(0.1,)
        )

    real = imdb.real_settings
    monkeypatch.setattr(imdb, "real_settings", smaller)
    asked = ["experiment", "imdb", "--scale", "real", "--model", str(base), "--data", str(reviews)]
    asked += ["--rules", "trace,0.2.0,uniform", "--seeds", "1", "--out", str(tmp_path / "out"), "--json"]
    assert main(asked) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert "on this machine, which reads" in captured.err
    assert {(p["rule"], p["share"]) for p in told["points"]} == {
        ("trace", 1.0), ("0.2.0", 1.0), ("uniform", 1.0), ("uniform", 2.0)
    }  # fmt: skip
    assert set(told["multiples"]["labels"]) == {"trace", "0.2.0", "uniform"}
    assert all(p["tokens"] > 0 and "length_free" in p for p in told["points"])
    assert {p["labels"] for p in told["points"] if p["share"] == 2.0} <= set(range(40, 49))
