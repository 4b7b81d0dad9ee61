"""How long work on a model will take here, told before it begins: measured on a few made-up tokens."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from curation.experiments.training import Training

PROBE = (8, 64)  # texts x tokens of the probe
BACKWARD = 2.0  # passes forward that a pass back costs
REFERENCE = 1.0  # passes forward that DPO spends on its reference
SAMPLING = 4.0  # passes that a sampled token costs: one at a time, of a batch of texts


def tokens_a_second(model: Any) -> float:
    """Tokens that one pass forward reads in a second."""
    import torch

    ids = torch.as_tensor(np.random.default_rng(0).integers(0, model.get_input_embeddings().weight.shape[0], PROBE))
    ids = ids.to(model.device)
    with torch.inference_mode():
        model(input_ids=ids[:1])
        started = time.perf_counter()
        model(input_ids=ids).logits.sum().item()
    return float(ids.numel() / (time.perf_counter() - started))


def training_passes(rows: int, tokens: int, settings: Training, *, preferences: bool) -> float:
    """Tokens that passes forward read in the time a training takes. rows: texts, or pairs, of `tokens` each."""
    each = 1 + BACKWARD + (REFERENCE if preferences else 0.0)
    return rows * min(tokens, settings.max_tokens) * (2 if preferences else 1) * settings.epochs * each


def spoken(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
