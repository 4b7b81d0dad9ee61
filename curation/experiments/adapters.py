"""DPO of low-rank adapters (LoRA, by peft) on the upper layers of a model, resumable to the step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.experiments.training import PolicyError, hushed
from curation.experiments.upper import Halves, Read

Array = NDArray[np.float64]
KEPT_EVERY = 30.0  # seconds between two notes of where the training stands
SCORED = 16  # answers scored at a time


@dataclass(frozen=True)
class AdapterTraining:
    """DPO at `beta` with AdamW: pairs a step, rank of the adapters (their scale is twice the rank over the rank)."""

    epochs: int = 2
    learning_rate: float = 5e-4
    batch: int = 8
    beta: float = 0.1
    rank: int = 16


def train(
    halves: Halves,
    read: Read,
    pairs: Sequence[tuple[int, int]],
    settings: AdapterTraining,
    *,
    seed: int,
    folder: Path,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Any, list[float]]:
    """The upper part with adapters trained on (winner, loser) rows, and the loss of every step.

    folder: where the adapters, the optimiser and the step are kept now and then; a training that is found there goes
    on from its step and ends where an uninterrupted one ends. told: steps done, in all.
    """
    import peft
    import torch

    if not pairs:
        raise PolicyError("no pair was labelled with a winner, so there is nothing to train on.")
    with torch.random.fork_rng(devices=[]), hushed():
        torch.manual_seed(seed)
        model = peft.get_peft_model(
            copy.deepcopy(halves.upper),
            peft.LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear"),
        )
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=settings.learning_rate, weight_decay=0.0)
    rng = np.random.default_rng([seed, 4])
    order = np.concatenate([rng.permutation(len(pairs)) for _ in range(settings.epochs)])
    batches = [order[k : k + settings.batch] for k in range(0, len(order), settings.batch)]
    mark = folder / "training.pt"
    losses: list[float] = []
    if mark.is_file():
        found = torch.load(mark, weights_only=True, map_location=halves.device)
        peft.set_peft_model_state_dict(model, found["adapters"])
        optimiser.load_state_dict(found["optimiser"])
        losses = found["losses"]
    model.train()
    kept = time.monotonic()
    for step in range(len(losses), len(batches)):
        rows = [pairs[k] for k in batches[step]]
        flat = [winner for winner, _ in rows] + [loser for _, loser in rows]
        reference = torch.as_tensor(read.logprob[flat], dtype=torch.float32, device=halves.device)
        moved = halves.log_probabilities(model, read, flat) - reference
        loss = -torch.nn.functional.logsigmoid(settings.beta * (moved[: len(rows)] - moved[len(rows) :])).mean()
        if not bool(torch.isfinite(loss)):
            raise PolicyError(f"the loss of step {step + 1} is not a number; use a lower --learning-rate.")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
        told(step + 1, len(batches))
        if time.monotonic() - kept > KEPT_EVERY and step + 1 < len(batches):
            adapters = peft.get_peft_model_state_dict(model)
            state = {"adapters": adapters, "optimiser": optimiser.state_dict(), "losses": losses}
            torch.save(state, mark.with_suffix(".part"))
            mark.with_suffix(".part").replace(mark)
            kept = time.monotonic()
    return model.eval(), losses


def implicit_rewards(halves: Halves, read: Read, model: Any, rows: Sequence[int]) -> Array:
    """How much more likely each answer has become, log of policy over reference, nats, (N,)."""
    import torch

    order = sorted(range(len(rows)), key=lambda k: -int(read.lengths[rows[k]]))
    out = np.zeros(len(rows))
    with torch.inference_mode():
        for begin in range(0, len(order), SCORED):
            part = order[begin : begin + SCORED]
            now = halves.log_probabilities(model, read, [rows[k] for k in part]).double().cpu().numpy()
            out[part] = now - read.logprob[[rows[k] for k in part]]
    return out
