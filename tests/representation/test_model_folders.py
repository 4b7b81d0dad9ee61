"""Folders that people pass as a model: adapters, GGUF, other tokenizers, sentence-transformers, models of pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import transformers

from curation.errors import RepresentationError
from curation.representation import extract as extract_module
from curation.representation.encoder import Encoder, encode
from curation.representation.extract import extract
from curation.representation.models import load_model
from tests.desk.tiny_models import TEXTS, save_model, tokenizer


def _adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "team/base", "r": 4}))
    (folder / "adapter_model.safetensors").write_bytes((8).to_bytes(8, "little") + b"{}      ")


def test_an_adapter_is_refused_whether_a_model_stands_beside_it_or_not(tmp_path: Path) -> None:
    whole = save_model(tmp_path / "whole", "gpt2")
    _adapter(whole)
    with pytest.raises(RepresentationError, match=r"adapter of team/base.*merge_and_unload.*move adapter_config\.json"):
        load_model(str(whole), device="cpu")
    (tmp_path / "alone").mkdir()
    _adapter(tmp_path / "alone")
    with pytest.raises(RepresentationError, match=r"adapter of team/base.*merge_and_unload.*give the new folder\."):
        load_model(str(tmp_path / "alone"), device="cpu")
    (whole / "adapter_config.json").unlink()
    assert load_model(str(whole), device="cpu").causal


def test_a_gguf_is_refused_with_a_way_to_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "small.Q4_1.gguf"
    file.write_bytes(b"GGUF")
    for given in (file, tmp_path):
        with pytest.raises(RepresentationError, match=r"GGUF.*gguf_file=.*curation model smollm2 --out"):
            load_model(str(given), device="cpu")


def test_a_token_that_the_model_does_not_know_is_told_before_it_is_looked_up(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m", "gpt2")
    more = tokenizer("gpt2")
    more.add_tokens(["Zanzibar"])
    more.save_pretrained(folder)
    assert encode(["Hi"], [["Paris."]], model=str(folder), device="cpu").matrix.shape[0] == 1  # not used: as before
    with pytest.raises(RepresentationError, match=r"writes token 400 \(Zanzibar\).*knows 400 tokens.*resize"):
        encode(["Hi"], [["Paris.", "Zanzibar"]], model=str(folder), device="cpu")


def test_padding_with_a_token_beyond_the_model_changes_nothing(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m", "gpt2")
    texts = [["Paris.", "The capital of France is Paris, a city."]]
    before = encode(["Hi"], texts, model=str(folder), device="cpu")
    more = tokenizer("gpt2")
    more.add_special_tokens({"pad_token": "<padding>"})
    more.save_pretrained(folder)
    np.testing.assert_array_equal(encode(["Hi"], texts, model=str(folder), device="cpu").matrix, before.matrix)


def test_what_a_sentence_transformers_folder_says_of_itself_is_told(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "m", "bert")
    assert not any("sentence-transformers" in note for note in load_model(str(folder), device="cpu").notes)
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 33}))
    notes = encode(["Hi"], [["Paris."]], model=str(folder), device="cpu").notes
    assert any("is an encoder: no log-probabilities" in note for note in notes)
    assert any("at most 33 tokens" in note and "--pooling mean" in note for note in notes)


def test_a_model_of_pictures_and_text_is_read_as_the_language_model_it_is(tmp_path: Path) -> None:
    import torch

    made = tokenizer("gpt2")
    text = transformers.LlamaConfig(
        vocab_size=len(made), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.2,
    )  # fmt: skip
    vision = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
    )
    torch.manual_seed(0)
    config = transformers.LlavaConfig(text_config=text, vision_config=vision, image_token_index=399)
    model = transformers.LlavaForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path)
    made.save_pretrained(tmp_path)
    got = encode(["Where?"], [["In Paris.", "No."]], model=str(tmp_path), pooling="last", device="cpu")
    assert got.notes == ()
    assert got.reference_logprob is not None
    head = made("User: Where?\n\nAssistant:")["input_ids"]
    ids = [*head, *made(" In Paris.", add_special_tokens=False)["input_ids"], made.eos_token_id]
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    logs = torch.log_softmax(out.logits[0].double(), -1)
    by_hand = sum(float(logs[k - 1, ids[k]]) for k in range(len(head), len(ids)))
    assert got.reference_logprob[0] == pytest.approx(by_hand, abs=1e-4)
    np.testing.assert_allclose(got.matrix[0], out.hidden_states[-1][0, -1].numpy(), atol=1e-5)


def test_quantised_and_broken_weights_name_their_own_remedy(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "q", "llama")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RepresentationError, match=r"quantised \(awq\).*use the unquantised model"):
        load_model(str(folder), device="cpu")
    pointer = save_model(tmp_path / "p", "llama")
    (pointer / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(RepresentationError, match="Git LFS"):
        load_model(str(pointer), device="cpu")


def test_parts_hold_a_minute_of_a_large_models_work_and_give_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model(tmp_path / "m", "gpt2")
    ids = [(f"p{x}", f"r{k}") for x in range(6) for k in range(2)]
    prompts, responses = [TEXTS[0]] * 6, [[TEXTS[1], "No."]] * 6
    written: list[int] = []
    original = extract_module._write_shard

    def write(path: Path, shard: extract_module._Shard, number: int, first: int) -> None:
        written.append(len(shard.matrix))
        original(path, shard, number, first)

    monkeypatch.setattr(extract_module, "_write_shard", write)
    extract(prompts, responses, ids, out=tmp_path / "one.parquet", model=str(folder), device="cpu")
    assert written == [12]
    written.clear()
    monkeypatch.setattr(Encoder, "tokens_a_minute", 80)
    extract(prompts, responses, ids, out=tmp_path / "many.parquet", model=str(folder), device="cpu")
    assert sum(written) == 12
    assert len(written) > 2
    one, many = (extract_module.read_features(tmp_path / f"{name}.parquet", ids) for name in ("one", "many"))
    np.testing.assert_allclose(one.matrix, many.matrix, atol=2e-3)


def test_a_larger_model_reads_fewer_tokens_a_minute(tmp_path: Path) -> None:
    import torch

    loaded = load_model(str(save_model(tmp_path / "m", "gpt2")), device="cpu")
    small = Encoder(loaded)
    before = small.tokens_a_minute
    loaded.model.add_module("more", torch.nn.Linear(1000, 1000))
    assert small.tokens_a_minute < before / 2


def test_parts_cut_otherwise_are_not_taken_for_parts_of_this_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run begun on a GPU and gone on with on the CPU has parts of other sizes."""
    folder = save_model(tmp_path / "m", "gpt2")
    ids = [(f"p{x}", f"r{k}") for x in range(4) for k in range(2)]
    prompts, responses = TEXTS[:4], [[TEXTS[x], "No."] for x in range(4)]
    options = {"out": tmp_path / "f.parquet", "model": str(folder), "device": "cpu"}

    def stop(done: int, total: int, seconds: float) -> None:
        if done == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(Encoder, "tokens_a_minute", 1)
    with pytest.raises(KeyboardInterrupt):
        extract(prompts, responses, ids, progress=stop, **options)  # type: ignore[arg-type]
    parts = tmp_path / "f.parquet.parts"
    (parts / "shard-00001.npz").replace(parts / "shard-00000.npz")  # of the right size, of other prompts
    done = extract(prompts, responses, ids, resume=True, **options)  # type: ignore[arg-type]
    assert done.reused_shards == 0
    extract(prompts, responses, ids, **{**options, "out": tmp_path / "whole.parquet"})  # type: ignore[arg-type]
    assert (tmp_path / "f.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_what_a_pool_carries_beyond_text_is_read_or_told(tmp_path: Path) -> None:
    """A tool call is part of the answer that is read; an answer of several turns is told."""
    from curation.run.prepare import load_pool, make_features

    model = save_model(tmp_path / "m", "gpt2")
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "boil", "arguments": {"egg": 8}}}]}
    nothing = {"role": "assistant", "content": "No."}
    turns = [nothing, {"role": "user", "content": "Why?"}, nothing]
    rows = [
        {"prompt": [{"role": "user", "content": "Hi"}], "chosen": [call], "rejected": [nothing]},
        {"prompt": [{"role": "user", "content": "Hello"}], "chosen": turns, "rejected": [nothing]},
    ]
    for name, kept in (("one", rows[:1]), ("two", rows)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        pool = load_pool(path).pool
        made = make_features(pool, tmp_path / f"{name}.parquet", model=str(model), device="cpu")
        assert any("1 responses are conversations" in note for note in made["notes"]) == (name == "two")
    table = extract_module.read_features(tmp_path / "two.parquet", pool.ids())
    texts = [response.text for response in pool.prompts[0].responses]
    assert any("boil" in text for text in texts)
    assert table.n_tokens[next(k for k, text in enumerate(texts) if "boil" in text)] > 5
