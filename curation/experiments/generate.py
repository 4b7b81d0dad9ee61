"""Sampling from a policy, and how far it has moved from its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """Responses of every prompt. texts: a list a prompt. tokens: the same as token ids, end token included."""

    texts: list[list[str]]
    tokens: list[list[list[int]]]


def prompt_tokens(tokenizer: Any, prompt: str, most: int) -> list[int]:
    """A prompt as TRL reads it in training: with whatever token the tokenizer begins with, its last `most` tokens."""
    ids = list(tokenizer(prompt)["input_ids"])
    if prompt and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id and not prompt.endswith(tokenizer.eos_token):
        ids.pop()  # some tokenizers close every text; the prompt goes on
    if len(ids) <= most:
        return ids
    first = ids[:1] if ids[0] == tokenizer.bos_token_id else []
    return [*first, *ids[len(ids) - most + len(first) :]]


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    count: int,
    temperature: float,
    max_tokens: int,
    seed: int,
    batch: int = 64,
) -> Samples:
    """`count` responses of each prompt (plain text), sampled from the whole vocabulary at a temperature, seeded.

    Prompts keep their last tokens where they and the response would not fit the model.
    """
    import torch

    limit = int(getattr(model.config, "max_position_embeddings", 0) or 10**6) - max_tokens
    heads = [prompt_tokens(tokenizer, prompt, limit) for prompt in prompts]
    order = [k for k in range(len(prompts)) for _ in range(count)]
    end = tokenizer.eos_token_id
    found: list[list[list[int]]] = [[] for _ in prompts]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            width = max(len(heads[k]) for k in part)
            ids = torch.full((len(part), width), tokenizer.pad_token_id)
            mask = torch.zeros_like(ids)
            for row, k in enumerate(part):
                ids[row, width - len(heads[k]) :] = torch.tensor(heads[k])
                mask[row, width - len(heads[k]) :] = 1
            made = model.generate(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), do_sample=True,
                temperature=temperature, top_k=0, top_p=1.0, max_new_tokens=max_tokens,
                pad_token_id=tokenizer.pad_token_id, eos_token_id=end,
            )[:, width:]  # fmt: skip
            for row, k in zip(made.tolist(), part, strict=True):
                found[k].append(row[: row.index(end) + 1] if end in row else row)
    texts = [[tokenizer.decode(row, skip_special_tokens=True) for row in rows] for rows in found]
    return Samples(texts, found)


def log_probabilities(
    model: Any, tokenizer: Any, prompts: Sequence[str], tokens: Sequence[Sequence[Sequence[int]]], *, max_tokens: int,
    batch: int = 64,
) -> Array:  # fmt: skip
    """Summed log-probability, nats, of each response's tokens after its prompt: (prompts, responses a prompt)."""
    import torch

    limit = int(getattr(model.config, "max_position_embeddings", 0) or 10**6) - max_tokens
    rows = [
        (prompt_tokens(tokenizer, prompt, limit), list(row))
        for prompt, group in zip(prompts, tokens, strict=True)
        for row in group
    ]
    out = np.zeros(len(rows))
    with torch.no_grad():
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            width = max(len(head) + len(tail) for head, tail in part)
            ids = torch.full((len(part), width), tokenizer.pad_token_id)
            mask = torch.zeros_like(ids)
            inside = torch.zeros(len(part), width, dtype=torch.bool)
            for n, (head, tail) in enumerate(part):  # padded on the right: positions are those of an unpadded pass
                ids[n, : len(head) + len(tail)] = torch.tensor(head + tail)
                mask[n, : len(head) + len(tail)] = 1
                inside[n, len(head) : len(head) + len(tail)] = True
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits.float().cpu()
            steps = torch.log_softmax(logits[:, :-1], -1).gather(-1, ids[:, 1:, None])[..., 0]
            out[start : start + len(part)] = (steps * inside[:, 1:]).sum(1).double().numpy()
    return out.reshape(len(prompts), -1)


def sequence_kl(
    policy: Any, reference: Any, tokenizer: Any, prompts: Sequence[str], samples: Samples, *, max_tokens: int
) -> Array:
    """KL(policy || reference) of whole responses, nats: the mean log-ratio of the policy's own samples, (prompts,).

    samples: of the policy at temperature 1. Unbiased; a single prompt's value may be negative.
    """
    own = log_probabilities(policy, tokenizer, prompts, samples.tokens, max_tokens=max_tokens)
    base = log_probabilities(reference, tokenizer, prompts, samples.tokens, max_tokens=max_tokens)
    return np.asarray((own - base).mean(1))
