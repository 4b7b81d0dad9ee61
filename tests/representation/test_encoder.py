"""Hidden states and log-probabilities, against one forward pass per response written out by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.errors import RepresentationError
from curation.representation.encoder import Encoder, encode
from curation.representation.layout import Layout, plain_prompt
from curation.representation.models import load_model
from curation.representation.packing import packed
from tests.desk.tiny_models import save_model, tokenizer

PROMPTS: list[Any] = [
    "What is the capital of France?",
    [
        {"role": "system", "content": "Answer in one sentence."},
        {"role": "user", "content": "How do I boil an egg?"},
        {"role": "assistant", "content": "In water."},
        {"role": "user", "content": "For how long?"},
    ],
]
RESPONSES = [
    ["Paris.", "The capital of France is Paris, a city on the river Seine.", ""],
    ["Eight minutes.", "Put the egg in boiling water for eight minutes, then cool it. ¿Está claro? 🥚", "No idea"],
]
N = 6


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {
        "gpt2": save_model(base / "gpt2", "gpt2"),
        "llama": save_model(base / "llama", "llama"),
        "chat": save_model(base / "chat", "llama", chat=True),
        "bert": save_model(base / "bert", "bert"),
    }


def _by_hand(folder: Path, kind: str, *, layer: int = -1, pooling: str = "mean") -> tuple[np.ndarray, np.ndarray]:
    """One unpadded forward pass per response; the tokens are put together from the words of the layout."""
    import torch
    import transformers

    words = transformers.AutoTokenizer.from_pretrained(folder)
    auto = transformers.AutoModel if kind == "bert" else transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folder).eval()
    states, sums = [], []
    for prompt, texts in zip(PROMPTS, RESPONSES, strict=True):
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        if kind == "chat":
            head = "".join(f"<|{t['role']}|>{t['content']}<|end|>" for t in turns) + "<|assistant|>"
            before = words(head, add_special_tokens=False)["input_ids"]
        else:
            before = words("\n\n".join(f"{t['role'].title()}: {t['content']}" for t in turns) + "\n\nAssistant:")[
                "input_ids"
            ]
        for text in texts:
            said = text if kind == "chat" or not text else " " + text
            end = words.convert_tokens_to_ids("[SEP]" if kind == "bert" else "<end>")
            answer = [*words(said, add_special_tokens=False)["input_ids"], end]
            with torch.no_grad():
                out = model(input_ids=torch.tensor([before + answer]), output_hidden_states=True)
            hidden = out.hidden_states[layer][0].double()
            states.append((hidden[-1] if pooling == "last" else hidden[len(before) :].mean(dim=0)).numpy())
            if kind == "bert":
                sums.append(np.nan)
                continue
            logs = torch.log_softmax(out.logits[0].double(), dim=-1)
            sums.append(sum(float(logs[len(before) + i - 1, token]) for i, token in enumerate(answer)))
    return np.array(states), np.array(sums)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "chat", "bert"])
@pytest.mark.parametrize("batch_tokens", [1, 150, "auto"])
def test_any_batching_equals_one_unpadded_pass_per_response(
    folders: dict[str, Path], kind: str, batch_tokens: Any
) -> None:
    states, sums = _by_hand(folders[kind], kind)
    encoded = encode(PROMPTS, RESPONSES, model=str(folders[kind]), batch_tokens=batch_tokens, device="cpu")
    assert np.ptp(states, axis=0).max() > 0.1  # responses differ, so agreement means something
    np.testing.assert_allclose(encoded.matrix, states, atol=2e-5)
    if kind == "bert":
        assert encoded.reference_logprob is None
        assert any("no log-probabilities" in note for note in encoded.notes)
    else:
        np.testing.assert_allclose(encoded.reference_logprob, sums, rtol=1e-5)
        assert encoded.notes == ()
    assert encoded.truncated == 0


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize(("layer", "pooling"), [(0, "last"), (1, "mean"), (-1, "mean")])
def test_layer_and_pooling_pick_the_states_they_name(
    folders: dict[str, Path], kind: str, layer: int, pooling: Any
) -> None:
    states, _ = _by_hand(folders[kind], kind, layer=layer, pooling=pooling)
    encoded = encode(PROMPTS, RESPONSES, model=str(folders[kind]), layer=layer, pooling=pooling, device="cpu")
    np.testing.assert_allclose(encoded.matrix, states, atol=2e-5)
    assert encoded.metadata["layer"] == str(layer)
    assert encoded.metadata["pooling"] == pooling


def test_the_log_probability_is_that_of_the_response_alone_given_the_prompt(folders: dict[str, Path]) -> None:
    """log p(response | prompt) = log p(prompt + response) - log p(prompt): the chain rule."""
    import torch
    import transformers

    words = transformers.AutoTokenizer.from_pretrained(folders["gpt2"])
    model = transformers.AutoModelForCausalLM.from_pretrained(folders["gpt2"]).eval()

    def total(ids: list[int]) -> float:
        with torch.no_grad():
            logs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
        return sum(float(logs[i, token]) for i, token in enumerate(ids[1:]))

    before = words("User: What is the capital of France?\n\nAssistant:")["input_ids"]
    whole = before + words(" Paris.", add_special_tokens=False)["input_ids"] + [words.eos_token_id]
    encoded = encode(PROMPTS[:1], [["Paris."]], model=str(folders["gpt2"]), device="cpu")
    assert encoded.reference_logprob is not None
    assert encoded.reference_logprob[0] == pytest.approx(total(whole) - total(before), rel=1e-5)
    assert encoded.n_tokens[0] == len(whole) - len(before)


def test_the_template_is_recorded(folders: dict[str, Path]) -> None:
    plain = encode(PROMPTS[:1], RESPONSES[:1], model=str(folders["llama"]), device="cpu").metadata
    chat = encode(PROMPTS[:1], RESPONSES[:1], model=str(folders["chat"]), device="cpu").metadata
    assert plain["template"].startswith("plain")
    assert chat["template"].startswith("chat template")
    assert plain["dtype"] == "float32"
    assert len(plain["revision"]) == 16
    assert plain["revision"] != chat["revision"]


def test_the_plain_layout_writes_roles_before_turns() -> None:
    assert plain_prompt("Hi") == "User: Hi\n\nAssistant:"
    assert plain_prompt(PROMPTS[1]) == (
        "System: Answer in one sentence.\n\nUser: How do I boil an egg?\n\nAssistant: In water.\n\n"
        "User: For how long?\n\nAssistant:"
    )


def test_a_template_without_a_system_role_gets_the_system_text_in_the_first_turn() -> None:
    words = tokenizer("llama", chat=True)
    words.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + words.chat_template
    )
    folded = words("<|user|>Be brief.\n\nHi<|end|><|assistant|>", add_special_tokens=False)["input_ids"]
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert Layout(words, max_tokens=None).prompt_ids(prompt) == folded
    words.chat_template = "{% if 'brief' in messages[0].content %}{{ raise_exception('never') }}{% endif %}q"
    with pytest.raises(RepresentationError, match=r"refuses a prompt with the roles system, user.*never"):
        Layout(words, max_tokens=None).prompt_ids(prompt)


def test_a_long_prompt_loses_its_beginning_and_a_long_response_its_end() -> None:
    layout = Layout(tokenizer("llama"), max_tokens=10)
    bos = 1
    prompt, response = [bos, *range(20, 32)], [40, 41, 42, 2]
    whole = layout.join([bos, 20, 21], response)
    assert (whole.ids, whole.start, whole.cut) == ([bos, 20, 21, *response], 3, "")
    left = layout.join(prompt, response)
    assert (left.ids, left.start, left.cut) == ([bos, 27, 28, 29, 30, 31, *response], 6, "prompt")
    right = layout.join(prompt, list(range(50, 70)))
    assert (right.ids, right.start, right.cut) == ([bos, *range(50, 59)], 1, "response")
    bare = Layout(tokenizer("gpt2"), max_tokens=10)
    assert bare.join(list(range(20, 32)), response).ids == [*range(26, 32), *response]
    assert bare.join(list(range(20, 32)), list(range(50, 70))).ids == [31, *range(50, 59)]


def test_truncation_is_counted_and_said_and_keeps_within_the_model(folders: dict[str, Path]) -> None:
    long = "Put the egg in boiling water. " * 90
    encoded = encode([long, "Hi"], [["Yes.", long], ["Yes.", long]], model=str(folders["gpt2"]), device="cpu")
    assert (encoded.cuts.prompts, encoded.cuts.responses, encoded.truncated) == (1, 2, 3)
    assert any("1 of 4 responses" in note and "beginning" in note and "256" in note for note in encoded.notes)
    assert any("2 of 4 responses lost their end" in note for note in encoded.notes)
    assert encoded.n_tokens.tolist()[1] == 255
    assert np.isfinite(encoded.matrix).all()
    shorter = encode(["Hi"], [["Yes."]], model=str(folders["gpt2"]), device="cpu", max_length=8)
    assert shorter.truncated == 1


def test_batches_hold_every_row_once_within_the_budget() -> None:
    sizes = [3, 50, 7, 7, 20, 1, 9, 120]
    batches = packed(sizes, 60)
    assert sorted(i for batch in batches for i in batch) == list(range(len(sizes)))
    assert all(len(batch) == 1 or len(batch) * max(sizes[i] for i in batch) <= 60 for batch in batches)
    assert batches[0] == [7]  # longer than the budget: alone


def test_progress_rises_to_the_total(folders: dict[str, Path]) -> None:
    seen: list[tuple[int, int, float]] = []
    encode(
        PROMPTS,
        RESPONSES,
        model=str(folders["gpt2"]),
        batch_tokens=1,
        device="cpu",
        progress=lambda done, total, seconds: seen.append((done, total, seconds)),
    )
    assert [done for done, _, _ in seen] == [1, 2, 3, 4, 5, 6]
    assert {total for _, total, _ in seen} == {N}
    assert all(b[2] >= a[2] >= 0 for a, b in itertools.pairwise(seen))


def test_a_checkpoint_without_a_head_gives_states_but_no_log_probabilities(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    import transformers

    transformers.LlamaModel.from_pretrained(folders["llama"]).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(folders["llama"]).save_pretrained(tmp_path)
    headless = encode(PROMPTS, RESPONSES, model=str(tmp_path), device="cpu")
    assert headless.reference_logprob is None
    assert any("no language-model head" in note for note in headless.notes)
    np.testing.assert_allclose(headless.matrix, _by_hand(folders["llama"], "llama")[0], atol=2e-5)


def test_a_checkpoint_that_lacks_weights_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    shutil.copytree(folders["gpt2"], tmp_path / "m")
    weights = load_file(tmp_path / "m" / "model.safetensors")
    gone = next(name for name in weights if "h.1.mlp.c_fc.weight" in name)
    save_file({k: v for k, v in weights.items() if k != gone}, tmp_path / "m" / "model.safetensors", {"format": "pt"})
    with pytest.raises(RepresentationError, match=r"lacks 1 weights .*c_fc.*random numbers"):
        load_model(str(tmp_path / "m"), device="cpu")


def test_load_failures_name_the_remedy(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    with pytest.raises(RepresentationError, match=r"model folder .*absent does not exist"):
        load_model(str(tmp_path / "absent"), device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepresentationError, match=r"no \.safetensors weights.*save_pretrained"):
        load_model(str(tmp_path / "empty"), device="cpu")
    shutil.copy(folders["gpt2"] / "model.safetensors", tmp_path / "empty")
    with pytest.raises(RepresentationError, match=r"cannot be loaded .*config\.json"):
        load_model(str(tmp_path / "empty"), device="cpu")
    shutil.copytree(folders["gpt2"], tmp_path / "damaged")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(RepresentationError, match="cannot be loaded"):
        load_model(str(tmp_path / "damaged"), device="cpu")


def test_a_hub_name_that_is_not_cached_fails_at_once_when_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RepresentationError, match=r"neither a folder nor in the Hugging Face cache.*--model fit"):
        load_model("nobody/no-such-model", device="cpu")


def test_settings_out_of_range_are_refused_with_the_range(folders: dict[str, Path]) -> None:
    loaded = load_model(str(folders["gpt2"]), device="cpu")
    for options, message in (
        ({"layer": 3}, r"--layer 3 .*0 to 2"),
        ({"layer": -4}, r"--layer -4"),
        ({"pooling": "max"}, "--pooling 'max'"),
        ({"batch_tokens": 0}, "--batch-tokens 0"),
        ({"max_length": 1}, "2 or more"),
    ):
        with pytest.raises(RepresentationError, match=message):
            Encoder(loaded, **options)  # type: ignore[arg-type]


def test_a_model_that_overflows_is_named(folders: dict[str, Path]) -> None:
    import torch

    loaded = load_model(str(folders["gpt2"]), device="cpu")
    with torch.no_grad():
        loaded.model.transformer.ln_f.bias.fill_(float("nan"))
    with pytest.raises(RepresentationError, match="not finite for 6 responses"):
        Encoder(loaded).encode(PROMPTS, RESPONSES)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_the_side_a_tokenizer_pads_on_changes_nothing(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    import shutil

    import transformers

    shutil.copytree(folders[kind], tmp_path / "left")
    words = transformers.AutoTokenizer.from_pretrained(folders[kind])
    assert words.padding_side == "right"
    words.padding_side = "left"
    words.save_pretrained(tmp_path / "left")
    left = encode(PROMPTS, RESPONSES, model=str(tmp_path / "left"), device="cpu")
    np.testing.assert_allclose(left.matrix, _by_hand(folders[kind], kind)[0], atol=2e-5)
    np.testing.assert_array_equal(
        left.matrix, encode(PROMPTS, RESPONSES, model=str(folders[kind]), device="cpu").matrix
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama", "chat", "bert"])
def test_one_leading_token_and_one_end_token_whatever_the_tokenizer_adds(folders: dict[str, Path], kind: str) -> None:
    import transformers

    words = transformers.AutoTokenizer.from_pretrained(folders[kind])
    lead = {"gpt2": [], "llama": ["<bos>"], "chat": [], "bert": ["[CLS]"]}[kind]
    end = "[SEP]" if kind == "bert" else "<end>"
    for group in Layout(words, max_tokens=None).groups(PROMPTS, RESPONSES):
        for row in group:
            tokens = words.convert_ids_to_tokens(row.ids)
            assert tokens[: len(lead)] == lead
            assert [t for t in tokens if t in ("<bos>", "[CLS]")] == lead
            assert tokens[-1] == end
            assert tokens.count(end) == (2 if kind == "bert" else 1)  # BERT sets the two texts apart by it
            assert row.start < len(row.ids)


def test_lost_tokens_are_counted_by_side(folders: dict[str, Path]) -> None:
    loaded = load_model(str(folders["llama"]), device="cpu")
    whole = Layout(loaded.tokenizer, max_tokens=None).groups(PROMPTS, RESPONSES)
    limit = 24
    encoded = Encoder(loaded, max_length=limit).encode(PROMPTS, RESPONSES)
    over = sum(max(0, len(row.ids) - limit) for group in whole for row in group)
    assert over > 0
    assert encoded.cuts.prompt_tokens + encoded.cuts.response_tokens == over
    assert any(f"{encoded.cuts.prompt_tokens:,} tokens at the beginning of prompts" in note for note in encoded.notes)
