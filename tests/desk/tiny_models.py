"""Tiny random models and a small tokenizer, saved to disk for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEXTS = [
    "What is the capital of France? The capital of France is Paris.",
    "How do I boil an egg? Put the egg in boiling water for eight minutes, then cool it.",
    "Write a short poem about the sea. The sea is wide, the sea is deep, and in its arms the sailors sleep.",
    "User: Assistant: System: hello, please answer the question in one or two sentences.",
]
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer(kind: str, *, chat: bool = False, max_length: int = 256) -> Any:
    import tokenizers
    import transformers

    special = ["<unk>", "<bos>", "<end>", "<pad>", "[CLS]", "[SEP]"]
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.train_from_iterator(
        TEXTS * 3,
        tokenizers.trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    named: dict[str, str] = {"pad_token": "<pad>", "eos_token": "<end>"}
    if kind == "bert":
        named = {"pad_token": "<pad>", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        template = ("[CLS] $A [SEP]", [("[CLS]", inner.token_to_id("[CLS]")), ("[SEP]", inner.token_to_id("[SEP]"))])
        inner.post_processor = tokenizers.processors.TemplateProcessing(single=template[0], special_tokens=template[1])
    if kind == "llama":
        named["bos_token"] = "<bos>"
        inner.post_processor = tokenizers.processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", inner.token_to_id("<bos>"))]
        )
    out = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=max_length, **named)
    if chat:
        out.chat_template = CHAT
    return out


def save_model(folder: Path, kind: str, *, chat: bool = False, positions: int = 256, seed: int = 0) -> Path:
    """Save a random model of `kind` (gpt2, llama, bert) with weights large enough that inputs matter."""
    import torch
    import transformers

    words = tokenizer(kind, chat=chat, max_length=positions)
    torch.manual_seed(seed)
    common = {"vocab_size": len(words), "initializer_range": 0.2}
    if kind == "gpt2":
        model = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                n_positions=positions, n_embd=32, n_layer=2, n_head=2, bos_token_id=None, eos_token_id=2, **common
            )
        )
    elif kind == "llama":
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=positions,
                **common,
            )
        )
    else:
        model = transformers.BertForMaskedLM(
            transformers.BertConfig(
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=positions,
                pad_token_id=3,
                **common,
            )
        )
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
