"""What policies are trained on: float32 whatever the checkpoint's type, and one text for training, sampling, features."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from curation.errors import CurationError
from curation.experiments import hh
from curation.experiments.curate import features_of, make_pool
from curation.experiments.generate import log_probabilities, prompt_tokens
from curation.experiments.training import PLAIN, Training, load_model, run_dpo, run_sft
from curation.representation.features_file import read_features
from curation.run.prepare import load_pool
from tests.desk.pools import demo_pool
from tests.desk.tiny_models import TEXTS, save_model


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_a_checkpoint_in_half_precision_is_trained_in_float32(tmp_path: Path, stored: torch.dtype) -> None:
    folder = save_model(tmp_path / "m", "llama")
    half = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=stored)
    half.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["dtype"] != "float32"
    start = {name: value.float() for name, value in half.state_dict().items()}
    texts = [text[:60] for text in TEXTS] * 4
    (tmp_path / "sft").mkdir()
    settings = Training(1, 1e-5, 8, max_tokens=32, max_steps=3)
    run_sft(folder, texts, settings, template=PLAIN, seed=0, device="cpu", out=tmp_path / "sft")
    tuned, _ = load_model(tmp_path / "sft", device="cpu", template=PLAIN)
    assert tuned.dtype == torch.float32
    moved = [
        float((value != start[name]).float().mean())
        for name, value in tuned.state_dict().items()
        if "layers" in name and "proj" in name
    ]
    assert min(moved) > 0.8, "steps of 1e-5 are seen by nearly every weight"
    assert all(bool(torch.isfinite(value).all()) for value in tuned.state_dict().values())
    rows = [{"prompt": "the sea", "chosen": " is wide", "rejected": " is deep"}] * 8
    trained, _ = run_dpo(
        folder, rows, Training(1, 1e-6, 4, optimizer="rmsprop", max_tokens=32), beta=0.1, template=PLAIN, seed=0,
        device="cpu", out=tmp_path / "sft",
    )  # fmt: skip
    assert trained.dtype == torch.float32
    assert all(bool(torch.isfinite(value).all()) for value in trained.state_dict().values())


def test_an_adapter_beside_a_model_is_refused_in_training_too(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m", "gpt2")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "team/base"}))
    with pytest.raises(CurationError, match="adapter of team/base"):
        load_model(folder, device="cpu", template=PLAIN)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])  # llama's tokenizer begins every text with a token of its own
def test_features_sampling_and_training_read_the_same_text(tmp_path: Path, kind: str) -> None:
    from trl.data_utils import is_conversational

    model, tokenizer = load_model(save_model(tmp_path / "start", kind), device="cpu", template=PLAIN)
    model.save_pretrained(tmp_path / "sft")
    tokenizer.save_pretrained(tmp_path / "sft")
    prompts = ["\n\nHuman: What is wide?\n\nAssistant:", "\n\nHuman: Is it deep?\n\nAssistant:"]
    answers = [[" The sea.", " An egg, in boiling water."], [" Yes.", " No, it is wide."]]
    pool = make_pool(prompts, answers, name="talk")
    features_of(pool, tmp_path / "sft", device="cpu", out=tmp_path / "f.parquet")
    table = read_features(tmp_path / "f.parquet", pool.ids())
    end = [tokenizer.eos_token_id]
    ids = [[tokenizer(a, add_special_tokens=False)["input_ids"] + end for a in group] for group in answers]
    told = log_probabilities(model, tokenizer, prompts, ids, max_tokens=64)
    assert table.reference_logprob is not None
    np.testing.assert_allclose(table.reference_logprob, told.reshape(-1), rtol=1e-4)
    # what TRL makes of a row of plain text
    assert not is_conversational({"prompt": prompts[0], "chosen": answers[0][0], "rejected": answers[0][1]})
    whole = tokenizer(prompts[0] + answers[0][0] + tokenizer.eos_token)["input_ids"]
    assert prompt_tokens(tokenizer, prompts[0], 200) + ids[0][0] == whole
    assert (whole[0] == tokenizer.bos_token_id) == (kind == "llama")


def test_a_prompt_that_is_cut_keeps_the_token_its_tokenizer_begins_with(tmp_path: Path) -> None:
    _, tokenizer = load_model(save_model(tmp_path / "m", "llama"), device="cpu", template=PLAIN)
    whole = prompt_tokens(tokenizer, TEXTS[0], 1000)
    assert prompt_tokens(tokenizer, TEXTS[0], 5) == [tokenizer.bos_token_id, *whole[-4:]]


def test_the_dialogue_experiment_gives_its_features_the_prompts_that_it_trains_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped once the features are there: the tokens that were read are those of the training rows."""
    seen: dict[str, Any] = {}

    class Enough(Exception):
        pass

    def features(pool: Any, model: Path, *, device: str, out: Path) -> None:
        features_of(pool, model, device=device, out=out)
        seen.update(pool=pool, model=model, table=read_features(out, pool.ids()))
        raise Enough

    monkeypatch.setattr(hh, "features_of", features)
    small = hh.test_settings()
    settings = replace(small, prompts=0, eval_prompts=4, judged=0.1, sft=replace(small.sft, max_steps=1))
    with pytest.raises(Enough):
        hh.run_hh(load_pool(demo_pool()), settings, tmp_path, judge=lambda matches: [0.5 for _ in matches])
    table, pool = seen["table"], seen["pool"]
    assert table.metadata["template"].startswith("chat template")
    model, tokenizer = load_model(seen["model"], device="cpu", template=PLAIN)
    compared = 0
    for entry, row in zip(pool.prompts, pool.offsets().tolist(), strict=False):
        assert entry.prompt.startswith("\n\nHuman: ")
        ids = tokenizer(entry.responses[0].text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        if len(prompt_tokens(tokenizer, entry.prompt, 1000)) + len(ids) > model.config.n_positions:
            continue
        told = log_probabilities(model, tokenizer, [entry.prompt], [[ids]], max_tokens=len(ids))
        assert table.reference_logprob[row] == pytest.approx(float(told[0, 0]), rel=1e-4)
        assert table.n_tokens[row] == len(ids)
        compared += 1
    assert compared > 10
