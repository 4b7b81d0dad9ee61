"""Extraction against the bare forward passes of the same model: its overhead, and what reading prompts once saves.

The texts are made up from a seed, the weights are random: only time is measured. "Bare" is the model called on the
same padded batches with nothing else asked of it, from tokens that are ready.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

WORDS = 3000  # of the made-up language
VOCABULARY = 4000  # tokens


@dataclass(frozen=True)
class Texts:
    """A made-up pool. prompt_words, answer_words: medians; lengths are lognormal with standard deviation 0.5."""

    name: str
    prompts: int
    candidates: int
    prompt_words: int
    answer_words: int


MIXED = Texts("mixed lengths", 32, 4, 20, 60)
LONG = Texts("long prompts", 4, 19, 120, 15)
QUICK = (Texts("mixed lengths", 6, 3, 10, 20), Texts("long prompts", 2, 5, 60, 6))


def made_up(texts: Texts, *, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    """Prompts and responses of words drawn by Zipf's law."""
    rng = np.random.default_rng(seed)
    letters = list("abcdefghijklmnoprstuvw")
    words = ["".join(rng.choice(letters, size=int(n))) for n in rng.integers(2, 9, size=WORDS)]
    share = 1.0 / np.arange(1, WORDS + 1)
    share /= share.sum()

    def text(median: int) -> str:
        size = max(1, round(median * float(rng.lognormal(0.0, 0.5))))
        return " ".join(words[int(w)] for w in rng.choice(WORDS, size=size, p=share))

    prompts = [text(texts.prompt_words) for _ in range(texts.prompts)]
    return prompts, [[text(texts.answer_words) for _ in range(texts.candidates)] for _ in range(texts.prompts)]


def make_model(folder: Path, *, large: bool, quick: bool) -> int:
    """A Llama-style model with random weights and a tokenizer fitted on the made-up words. Returns its parameters."""
    import torch
    import transformers

    from curation.representation.reference import FitSettings, fit_tokenizer

    width, layers = (32, 2) if quick else (2048, 16) if large else (384, 6)
    prompts, responses = made_up(MIXED, seed=1)
    tokenizer = fit_tokenizer([*prompts, *(t for r in responses for t in r)], FitSettings(vocabulary=VOCABULARY))
    tokenizer.model_max_length = 4096
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32_000 if large else len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(2, width // 64),
        max_position_embeddings=4096,
        dtype="bfloat16" if large else "float32",
    )
    model = transformers.LlamaForCausalLM(config)
    if large:
        model = model.to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def bare_loop(encoder: Any, prompts: Sequence[Any], responses: Sequence[Sequence[str]]) -> Callable[[], None]:
    """The forward passes alone, on the batches that an encoder which reuses nothing makes of the texts."""
    import torch

    reader = encoder.reader
    batches = [reader.padded([row.ids for row in rows]) for rows in encoder.whole_batches(prompts, responses)]

    def call() -> None:
        with torch.inference_mode():
            for ids, mask in batches:
                reader.model(input_ids=ids, attention_mask=mask, use_cache=False)
        if reader.device.startswith("cuda"):
            torch.cuda.synchronize()

    return call


def extraction_rows(
    *, repeats: int, device: str, quick: bool = False, say: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Seconds of the bare loop, of extraction, and of extraction that reads shared prompts once: one row per pool.

    The three are run in turn; ratios are of one turn each, medians over the turns.
    """
    from curation.representation.encoder import Encoder
    from curation.representation.models import load_model

    rows = []
    large = device.startswith("cuda") and not quick
    with tempfile.TemporaryDirectory() as place:
        make_model(Path(place), large=large, quick=quick)
        loaded = load_model(place, device=device)
    whole, once = Encoder(loaded, reuse=False), Encoder(loaded)
    for texts in QUICK if quick else (MIXED, LONG):
        prompts, responses = made_up(texts)
        rows.append(_timed(texts.name, whole, once, prompts, responses, repeats))
        say(extraction_line(rows[-1]))
    return rows


def model_row(
    name: str, prompts: Sequence[Any], responses: Sequence[Sequence[str]], *, model: str, repeats: int, device: str
) -> dict[str, Any]:
    """The row of a real model on real texts. model: a folder or hub name."""
    from curation.representation.encoder import Encoder
    from curation.representation.models import load_model

    loaded = load_model(model, device=device)
    row = _timed(name, Encoder(loaded, reuse=False), Encoder(loaded), prompts, responses, repeats)
    return {**row, "seconds_per_response": row["once_seconds"] / sum(len(texts) for texts in responses)}


def _timed(
    name: str, whole: Any, once: Any, prompts: Sequence[Any], responses: Sequence[Sequence[str]], repeats: int
) -> dict[str, Any]:
    """The three ways of one row, in turn, `repeats` times. whole, once: encoders without and with reuse."""
    calls: dict[str, Callable[[], Any]] = {
        "bare": bare_loop(whole, prompts, responses),
        "whole": partial(whole.encode, prompts, responses),
        "once": partial(once.encode, prompts, responses),
    }
    model = whole.reader.model
    whole.encode(prompts[:1], responses[:1])  # the first passes of a process are slower
    seconds: dict[str, list[float]] = {way: [] for way in calls}
    for _ in range(repeats):
        for way, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[way].append(time.perf_counter() - started)
    tokens = sum(len(row.ids) for batch in whole.whole_batches(prompts, responses) for row in batch)
    median = {way: statistics.median(values) for way, values in seconds.items()}
    ratio = {
        way: statistics.median(a / b for a, b in zip(seconds[way], seconds["bare"], strict=True))
        for way in ("whole", "once")
    }
    sizes = sorted({len(texts) for texts in responses})
    return {
        "texts": name,
        "shape": f"{len(prompts)} x {sizes[0] if len(sizes) == 1 else f'{sizes[0]} to {sizes[-1]}'}",
        "parameters": sum(part.numel() for part in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "tokens": tokens,
        "bare_seconds": median["bare"],
        "whole_seconds": median["whole"],
        "once_seconds": median["once"],
        "whole_over_bare": ratio["whole"],
        "once_over_bare": ratio["once"],
        "tokens_per_second": tokens / median["once"],
    }


def extraction_line(row: dict[str, Any]) -> str:
    """A row of the table."""
    return (
        f"| {row['texts']}, {row['shape']} | {row['parameters'] / 1e6:,.0f} M, {row['dtype']} | {row['tokens']:,} | "
        f"{row['bare_seconds']:.2f} | {row['whole_over_bare']:.2f} | {row['once_over_bare']:.2f} | "
        f"{row['tokens_per_second']:,.0f} |"
    )


def extraction_table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as Markdown."""
    return [
        "",
        "| texts | model | tokens | bare passes, s | extraction / bare | with prompts read once / bare | tokens/s |",
        "|---|---|---|---|---|---|---|",
        *(extraction_line(row) for row in rows),
    ]
