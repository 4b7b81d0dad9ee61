"""Linear DPO: a logistic regression on differences of representations, its ridge chosen inside the batch.

In a log-linear policy the implicit reward is theta' phi (in units of 1 / beta), so the DPO loss of a labelled pair is
the logistic loss of theta' z (HGM section 2). One rule chooses the ridge, the same for every batch: K-fold
cross-validation over the batch's own prompts, on a fixed grid. Many batches are fitted at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RIDGES = tuple(float(value) for value in np.logspace(2.5, -1.5, 9))  # falling: every fit starts from a stiffer one
FOLDS = 5
ROUNDS = 12  # Hessians of one ridge, at most
CHORDS = 3  # steps with one Hessian
TOLERANCE = 1e-5  # of the largest step, relative to the largest coefficient


@dataclass(frozen=True)
class Batches:
    """Labelled batches of one space. vectors: (B, n, d) z of each pair. wins, trials: (B, n) labels that the first
    response won, and labels; trials 0 pads a short batch. groups: (B, n) prompt of each pair. weights: (B, n) what a
    label counts in the loss, or None where every label counts one."""

    vectors: Tensor
    wins: Tensor
    trials: Tensor
    groups: np.ndarray
    weights: Tensor | None = None


@dataclass(frozen=True)
class LinearFit:
    """theta: (B, d). ridge: (B,) the one chosen. held_out: (B, R) cross-validated log loss per label at every ridge."""

    theta: Tensor
    ridge: np.ndarray
    held_out: np.ndarray


def fit_linear_dpo(
    batches: Batches, *, rng: np.random.Generator, ridges: tuple[float, ...] = RIDGES, folds: int = FOLDS
) -> LinearFit:
    """Fit every batch with the ridge that predicts its own held-out prompts best.

    Minimises sum_e [-wins log s(theta'z) - (trials - wins) log s(-theta'z)] + ridge / 2 |theta|^2, s the logistic
    function. rng: deals prompts to folds, every prompt whole. Ties go to the stiffer ridge.
    """
    z, back = _shortened(batches.vectors)
    trials = batches.trials
    fold = torch.as_tensor(deal_folds(batches.groups, folds, rng), device=z.device)
    count = trials if batches.weights is None else trials * batches.weights
    wins = batches.wins if batches.weights is None else batches.wins * batches.weights
    held = fold[:, None, :] == torch.arange(folds, device=z.device)[None, :, None]  # (B, F, n)
    keep = torch.cat([~held, torch.ones_like(held[:, :1])], 1).to(z.dtype)  # the last model sees everything
    theta = torch.zeros(len(z), folds + 1, z.shape[2], dtype=z.dtype, device=z.device)
    losses, whole = [], []
    for ridge in ridges:
        theta = _minimise(z, keep * wins[:, None], keep * count[:, None], ridge, theta)
        logits = theta[:, :-1] @ z.transpose(1, 2)
        loss = count[:, None] * torch.nn.functional.softplus(logits) - wins[:, None] * logits
        losses.append((loss * held).sum((1, 2)) / count.sum(1))
        whole.append(theta[:, -1])
    held_out = torch.stack(losses, 1)
    best = held_out.argmin(1)
    chosen = torch.stack(whole, 1)[torch.arange(len(z)), best]
    if back is not None:
        chosen = (back @ chosen[..., None])[..., 0]
    return LinearFit(chosen, np.asarray(ridges)[best.cpu().numpy()], held_out.cpu().numpy())


def best_linear_reward(vectors: Tensor, probability: Tensor, weights: Tensor, *, ridge: float = 1e-3) -> Tensor:
    """theta* (d,): what unlimited labels on all given pairs would teach, for the parameter gap.

    vectors: (m, d). probability: (m,) that the first wins. weights: (m,) of each pair, summing to m. ridge: per
    coordinate, tiny, only so that a direction in which no pair differs stays at zero.
    """
    z = vectors[None]
    start = torch.zeros(1, 1, vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    return _minimise(z, (weights * probability)[None, None], weights[None, None], ridge * len(vectors), start)[0, 0]


def deal_folds(groups: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each pair, (B, n): the prompts of each batch are shuffled and dealt in turn."""
    order = rng.permutation(int(groups.max(initial=0)) + 1)
    out = np.empty_like(groups)
    for row, group in zip(out, groups, strict=True):
        present = np.unique(order[group])
        row[:] = np.searchsorted(present, order[group]) % folds
    return out


def _shortened(z: Tensor) -> tuple[Tensor, Tensor | None]:
    """Rows (B, n, d) in the n dimensions that they span, with the way back (B, d, n), where n is below d.

    The ridge keeps theta in the span of the rows, so nothing is lost.
    """
    if z.shape[1] >= z.shape[2]:
        return z, None
    basis, rest = torch.linalg.qr(z.transpose(1, 2))
    return rest.transpose(1, 2).contiguous(), basis


def _minimise(z: Tensor, wins: Tensor, trials: Tensor, ridge: float, start: Tensor) -> Tensor:
    """Newton's method for models (B, F, d) on shared rows z (B, n, d); wins, trials: (B, F, n).

    Each Hessian serves a few steps, because its construction is the dear part. A step that raises a model's loss is
    halved for that model.
    """
    theta = start
    rows, columns = z[:, None], z.transpose(1, 2)
    eye = ridge * torch.eye(z.shape[2], dtype=z.dtype, device=z.device)
    logits = theta @ columns
    loss = _loss(logits, wins, trials, theta, ridge)
    for _ in range(ROUNDS):
        mean = torch.sigmoid(logits)
        hessian = rows.transpose(2, 3) @ ((trials * mean * (1 - mean))[..., None] * rows) + eye
        factor = torch.linalg.cholesky_ex(hessian).L
        for _ in range(CHORDS):
            gradient = (trials * torch.sigmoid(logits) - wins) @ z + ridge * theta
            step = torch.cholesky_solve(gradient[..., None], factor)[..., 0]
            scale = torch.ones_like(loss)
            for _ in range(8):
                moved = theta - scale[..., None] * step
                moved_logits = moved @ columns
                moved_loss = _loss(moved_logits, wins, trials, moved, ridge)
                worse = moved_loss > loss + 1e-12 * loss.abs()
                if not bool(worse.any()):
                    break
                scale = torch.where(worse, scale / 4, scale)
            better = (moved_loss <= loss)[..., None]
            theta, logits = torch.where(better, moved, theta), torch.where(better, moved_logits, logits)
            loss = torch.minimum(loss, moved_loss)
            if float(step.abs().max()) <= TOLERANCE * max(float(theta.abs().max()), 1e-3):
                return theta
    return theta


def _loss(logits: Tensor, wins: Tensor, trials: Tensor, theta: Tensor, ridge: float) -> Tensor:
    """Penalised loss of each model, (B, F)."""
    fit = (trials * torch.nn.functional.softplus(logits) - wins * logits).sum(-1)
    return fit + 0.5 * ridge * theta.square().sum(-1)
