"""A made-up pool of real size for the dashboard's benchmark: texts of a page, features that point somewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

PROMPTS, CANDIDATES, DIM = 805, 19, 128
WORDS = 180  # of a response, on average
STRATA = ("code", "law", "letters", "maths")
SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zan", "der", "pil")


def write_pool(folder: Path, *, prompts: int = PROMPTS, candidates: int = CANDIDATES, seed: int = 0) -> Path:
    """`speed.jsonl` and `speed.features.parquet` in a folder. Returns the pool's path.

    Responses lie around their generator's own point, so that generators, strata and directions differ.
    """
    from curation.pool.readers.read import read_pool
    from curation.representation.features_file import write_features

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    words = np.array(["".join(rng.choice(SYLLABLES, size=rng.integers(1, 4))) for _ in range(4000)])
    path = folder / "speed.jsonl"
    with path.open("w", encoding="utf-8") as out:
        for x in range(prompts):
            sizes = rng.gamma(4.0, WORDS / 4.0, size=candidates).astype(int) + 8
            responses = [
                {"response_id": f"r{k}", "text": _text(words, size, rng), "generator": f"model-{k:02d}"}
                for k, size in enumerate(sizes.tolist())
            ]
            row = {
                "prompt_id": f"p{x:04d}",
                "prompt": _text(words, 25, rng),
                "stratum": STRATA[x % len(STRATA)],
                "responses": responses,
            }
            out.write(json.dumps(row) + "\n")
    pool = read_pool(path).pool
    scale = np.arange(1, DIM + 1) ** -0.5
    rows = rng.standard_normal((prompts, candidates, DIM)) * scale
    rows += (rng.standard_normal((prompts, 1, DIM)) + 0.7 * rng.standard_normal((1, candidates, DIM))) * scale
    logprob = -np.asarray(pool.lengths(), dtype=np.float64) * rng.gamma(8.0, 0.03, size=prompts * candidates)
    write_features(
        folder / "speed.features.parquet",
        pool.ids(),
        rows.reshape(-1, DIM).astype(np.float32),
        reference_logprob=logprob,
        metadata={"pool_fingerprint": pool.fingerprint, "model": "made up"},
    )
    return path


def _text(words: np.ndarray, size: int, rng: np.random.Generator) -> str:
    """Made-up words with a full stop after every twelfth."""
    chosen = rng.choice(words, size=size).tolist()
    return " ".join(f"{word}." if place % 12 == 11 else word for place, word in enumerate(chosen)).capitalize()
