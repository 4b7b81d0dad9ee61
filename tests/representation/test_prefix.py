"""Shared prompts read once give what reading every candidate whole gives, and cost less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.representation.encoder import Encoder
from curation.representation.layout import Tokens
from curation.representation.models import load_model
from curation.representation.packing import packed
from curation.representation.prefix import HELD, blocks, saves
from tests.desk.tiny_models import save_model

LONG = "Write a short poem about the sea. " * 3
PROMPTS = [LONG, "How do I boil an egg? " + LONG, "Hi", [{"role": "user", "content": LONG + "Please answer."}]]
RESPONSES = [
    ["The sea is wide.", "", "And in its arms the sailors sleep, deep and wide and deep.", "No."],
    ["Eight minutes.", "Put the egg in boiling water for eight minutes, then cool it.", "Four?"],
    ["Hello.", "What is the capital of France?"],
    ["Paris", "¿Está claro? 🥚", "The capital of France is Paris."],
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {
        "gpt2": save_model(base / "gpt2", "gpt2"),
        "llama": save_model(base / "llama", "llama"),
        "chat": save_model(base / "chat", "llama", chat=True),
        "bert": save_model(base / "bert", "bert"),
    }


def counted(encoder: Encoder) -> tuple[Any, list[int]]:
    """What an encoder makes of the texts, and the tokens (padding included) of every forward pass."""
    passes: list[int] = []
    model = encoder._loaded.model
    hook = model.register_forward_pre_hook(
        lambda _module, _args, options: passes.append(options["input_ids"].numel()), with_kwargs=True
    )
    try:
        return encoder.encode(PROMPTS, RESPONSES), passes
    finally:
        hook.remove()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "chat"])
@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize(("layer", "batch_tokens"), [(-1, "auto"), (-1, 1), (1, 90), (1, 400)])
def test_reading_a_shared_prompt_once_gives_what_reading_it_with_every_response_gives(
    folders: dict[str, Path], kind: str, pooling: Any, layer: int, batch_tokens: Any
) -> None:
    loaded = load_model(str(folders[kind]), device="cpu")
    options: dict[str, Any] = {"layer": layer, "pooling": pooling, "batch_tokens": batch_tokens}
    once, few = counted(Encoder(loaded, **options))
    again, many = counted(Encoder(loaded, reuse=False, **options))
    assert np.ptp(again.matrix, axis=0).max() > 0.1  # responses differ, so agreement means something
    np.testing.assert_allclose(once.matrix, again.matrix, atol=2e-5)
    np.testing.assert_allclose(once.reference_logprob, again.reference_logprob, rtol=1e-5)
    np.testing.assert_array_equal(once.n_tokens, again.n_tokens)
    assert sum(few) < 0.8 * sum(many)
    assert "once" in once.metadata["shared_prompts"]
    assert "every response" in again.metadata["shared_prompts"]


def test_answers_of_unequal_length_near_the_models_limit_stay_within_its_positions(tmp_path: Path) -> None:
    """Padding after a short answer would stand beyond the last position where a long prompt shares its batch."""
    loaded = load_model(str(save_model(tmp_path, "gpt2", positions=60)), device="cpu")
    prompts = ["egg " * 30, "sea " * 8 + "water " * 4]
    responses = [["No.", "Yes."], ["sleep " * 28, "wide"]]
    assert not Encoder(loaded).encode(prompts, responses).truncated
    once, again = (Encoder(loaded, reuse=reuse).encode(prompts, responses) for reuse in (True, False))
    np.testing.assert_allclose(once.matrix, again.matrix, atol=2e-5)


def test_an_encoder_model_reads_every_response_whole(folders: dict[str, Path]) -> None:
    encoder = Encoder(load_model(str(folders["bert"]), device="cpu"))
    assert "every response" in encoder.metadata["shared_prompts"]
    assert np.isfinite(encoder.encode(PROMPTS, RESPONSES).matrix).all()


def test_a_sliding_window_or_a_recurrent_state_is_read_whole(folders: dict[str, Path], tmp_path: Path) -> None:
    """Their caches do not hold every token, so a prefix cannot stand for itself."""
    import shutil

    import torch
    import transformers

    torch.manual_seed(0)
    common = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.2}
    window = transformers.MistralForCausalLM(
        transformers.MistralConfig(
            intermediate_size=48, num_attention_heads=2, num_key_value_heads=1, sliding_window=8, **common
        )
    )
    recurrent = transformers.MambaForCausalLM(transformers.MambaConfig(state_size=4, **common))
    for name, model in {"window": window, "recurrent": recurrent}.items():
        model.save_pretrained(tmp_path / name)
        for path in folders["llama"].glob("token*"):
            shutil.copy(path, tmp_path / name)
        encoder = Encoder(load_model(str(tmp_path / name), device="cpu"))
        assert "every response" in encoder.metadata["shared_prompts"], name
        single = Encoder(load_model(str(tmp_path / name), device="cpu"), batch_tokens=1)
        np.testing.assert_allclose(
            encoder.encode(PROMPTS, RESPONSES).matrix, single.encode(PROMPTS, RESPONSES).matrix, atol=5e-5
        )


def test_a_model_whose_cache_lies_is_found_out_and_read_whole(folders: dict[str, Path]) -> None:
    """A model that forgets the positions of cached tokens must not be trusted with them."""
    loaded = load_model(str(folders["gpt2"]), device="cpu")
    honest = loaded.model.transformer.wpe.forward
    loaded.model.transformer.wpe.forward = lambda positions: honest(positions % 20)
    assert "every response" not in Encoder(loaded).metadata["shared_prompts"]  # the same for both ways: no lie
    loaded.model.transformer.wpe.forward = lambda positions: honest(positions - positions.min())
    assert "every response" in Encoder(loaded).metadata["shared_prompts"]


def test_short_prompts_single_and_truncated_responses_are_left_alone() -> None:
    def group(start: int, tails: list[int], *, cut: str = "") -> list[Tokens]:
        return [Tokens(list(range(start + tail)), start, cut) for tail in tails]

    assert saves(group(100, [20, 20, 20]))
    assert not saves(group(100, [20]))
    assert not saves(group(8, [2, 2, 2, 2, 2]))
    assert not saves(group(20, [300, 300]))
    assert not saves(group(100, [20, 20], cut="prompt"))
    assert not saves(group(100, [20, 0]))
    assert not saves([*group(100, [20]), *group(90, [20])])


@given(
    sizes=st.lists(st.tuples(st.integers(16, 200), st.lists(st.integers(1, 50), min_size=2, max_size=6)), min_size=1),
    budget=st.integers(1, 2000),
)
@settings(max_examples=60, deadline=None)
def test_blocks_hold_every_candidate_once_within_the_budget(sizes: list[Any], budget: int) -> None:
    groups = [[Tokens(list(range(start + tail)), start, "") for tail in tails] for start, tails in sizes]
    firsts = np.concatenate([[0], np.cumsum([len(g) for g in groups])]).tolist()
    found = blocks(groups, firsts[:-1], budget)
    assert sorted(row for block in found for row in block.rows) == list(range(firsts[-1]))
    rows = [row for g in groups for row in g]
    for block in found:
        longest = max(map(len, block.prompts))
        assert len(block.prompts) == 1 or len(block.prompts) * longest <= budget
        assert all(
            tuple(rows[r].ids[: rows[r].start]) == block.prompts[n]
            for r, n in zip(block.rows, block.owner, strict=True)
        )
        tails = [len(rows[r].ids) - rows[r].start for r in block.rows]
        parts = packed(tails, budget, before=longest, held=HELD * budget)
        assert sorted(i for part in parts for i in part) == list(range(len(tails)))
        for part in parts:
            most = max(tails[i] for i in part)
            assert len(part) == 1 or (len(part) * most <= budget and len(part) * (longest + most) <= HELD * budget)
