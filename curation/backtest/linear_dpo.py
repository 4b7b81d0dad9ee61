"""Linear DPO: a logistic regression on differences of representations, its ridge chosen inside the batch.

In a log-linear policy the implicit reward is theta' phi (in units of 1 / beta), so the DPO loss of a labelled pair is
the logistic loss of theta' z (HGM section 2). One rule chooses the ridge, the same for every batch: K-fold
cross-validation over the batch's own prompts, on a fixed grid. Many batches are fitted at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

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


class Objective(Protocol):
    """A convex loss of models (B, F, D) on shared rows, as Newton's method sees it.

    logits: whatever the rest needs of the parameters, worked out once a step. data_loss, loss: (B, F), without and
    with the penalty, inf where parameters are not allowed. gradient: (B, F, D). hessian: (B, F, D, D). All but
    data_loss with the penalty.
    """

    def logits(self, parameters: Tensor) -> Tensor: ...
    def data_loss(self, logits: Tensor, parameters: Tensor) -> Tensor: ...
    def loss(self, logits: Tensor, parameters: Tensor) -> Tensor: ...
    def gradient(self, logits: Tensor, parameters: Tensor) -> Tensor: ...
    def hessian(self, logits: Tensor, parameters: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Logistic:
    """sum_e [trials softplus(theta'z) - wins theta'z] + ridge / 2 |theta|^2. z: (B, n, d). wins, trials: (B, F, n)."""

    z: Tensor
    wins: Tensor
    trials: Tensor
    ridge: float

    def logits(self, parameters: Tensor) -> Tensor:
        return parameters @ self.z.transpose(1, 2)

    def data_loss(self, logits: Tensor, parameters: Tensor) -> Tensor:
        return (self.trials * torch.nn.functional.softplus(logits) - self.wins * logits).sum(-1)

    def loss(self, logits: Tensor, parameters: Tensor) -> Tensor:
        return self.data_loss(logits, parameters) + 0.5 * self.ridge * parameters.square().sum(-1)

    def gradient(self, logits: Tensor, parameters: Tensor) -> Tensor:
        return (self.trials * torch.sigmoid(logits) - self.wins) @ self.z + self.ridge * parameters

    def hessian(self, logits: Tensor, parameters: Tensor) -> Tensor:
        mean, rows = torch.sigmoid(logits), self.z[:, None]
        eye = self.ridge * torch.eye(self.z.shape[2], dtype=self.z.dtype, device=self.z.device)
        return rows.transpose(2, 3) @ ((self.trials * mean * (1 - mean))[..., None] * rows) + eye


def fit_linear_dpo(
    batches: Batches, *, rng: np.random.Generator, ridges: tuple[float, ...] = RIDGES, folds: int = FOLDS
) -> LinearFit:
    """Fit every batch with the ridge that predicts its own held-out prompts best.

    Minimises sum_e [-wins log s(theta'z) - (trials - wins) log s(-theta'z)] + ridge / 2 |theta|^2, s the logistic
    function. rng: deals prompts to folds, every prompt whole. Ties go to the stiffer ridge.
    """
    z, back = shortened(batches.vectors)
    count = batches.trials if batches.weights is None else batches.trials * batches.weights
    wins = batches.wins if batches.weights is None else batches.wins * batches.weights

    def objective(seen: Tensor, ridge: float) -> Logistic:
        return Logistic(z, seen * wins[:, None], seen * count[:, None], ridge)

    fold = torch.as_tensor(deal_folds(batches.groups, folds, rng), device=z.device)
    start = torch.zeros(len(z), folds + 1, z.shape[2], dtype=z.dtype, device=z.device)
    chosen, best, held_out = cross_validated(objective, start, fold, count.sum(1), ridges=ridges)
    return LinearFit(lengthened(chosen, back), np.asarray(ridges)[best], held_out)


def cross_validated(
    objective: Callable[[Tensor, float], Objective],
    start: Tensor,
    fold: Tensor,
    labels: Tensor,
    *,
    ridges: tuple[float, ...],
) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Parameters (B, D) fitted to everything at the ridge that predicts held-out folds best, the place (B,) of that
    ridge, and the held-out loss per label at every ridge, (B, R). Ties go to the first ridge.

    objective: of the labels seen, a mask (B, F, n), and a ridge. start: (B, folds + 1, D), the last model sees all.
    fold: (B, n) of every row. labels: (B,). ridges: falling, so that every fit starts from a stiffer one.
    """
    folds = start.shape[1] - 1
    held = fold[:, None, :] == torch.arange(folds, device=start.device)[None, :, None]  # (B, F, n)
    seen = torch.cat([~held, torch.ones_like(held[:, :1])], 1).to(start.dtype)
    aside = held.to(start.dtype)
    parameters, losses, whole = start, [], []
    for ridge in ridges:
        parameters = minimise(objective(seen, ridge), parameters)
        test, models = objective(aside, ridge), parameters[:, :-1]
        losses.append(test.data_loss(test.logits(models), models).sum(1) / labels)
        whole.append(parameters[:, -1])
    held_out = torch.stack(losses, 1)
    best = held_out.argmin(1)
    chosen = torch.stack(whole, 1)[torch.arange(len(start)), best]
    return chosen, best.cpu().numpy(), held_out.cpu().numpy()


def best_linear_reward(vectors: Tensor, probability: Tensor, weights: Tensor, *, ridge: float = 1e-3) -> Tensor:
    """theta* (d,): what unlimited labels on all given pairs would teach, for the parameter gap.

    vectors: (m, d). probability: (m,) that the first wins. weights: (m,) of each pair, summing to m. ridge: per
    coordinate, tiny, only so that a direction in which no pair differs stays at zero.
    """
    start = torch.zeros(1, 1, vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    wins, trials = (weights * probability)[None, None], weights[None, None]
    return minimise(Logistic(vectors[None], wins, trials, ridge * len(vectors)), start)[0, 0]


def deal_folds(groups: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each pair, (B, n): the prompts of each batch are shuffled and dealt in turn."""
    order = rng.permutation(int(groups.max(initial=0)) + 1)
    out = np.empty_like(groups)
    for row, group in zip(out, groups, strict=True):
        present = np.unique(order[group])
        row[:] = np.searchsorted(present, order[group]) % folds
    return out


def shortened(z: Tensor) -> tuple[Tensor, Tensor | None]:
    """Rows (B, n, d) in the n dimensions that they span, with the way back (B, d, n), where n is below d.

    The ridge keeps theta in the span of the rows, so nothing is lost.
    """
    if z.shape[1] >= z.shape[2]:
        return z, None
    basis, rest = torch.linalg.qr(z.transpose(1, 2))
    return rest.transpose(1, 2).contiguous(), basis


def lengthened(theta: Tensor, back: Tensor | None) -> Tensor:
    """theta (B, d) of what `shortened` gave, in the dimensions it started from."""
    return theta if back is None else (back @ theta[..., None])[..., 0]


def minimise(objective: Objective, start: Tensor) -> Tensor:
    """Newton's method for models (B, F, D) at once, from parameters that are allowed.

    Each Hessian serves a few steps, because its construction is the dear part. A step that raises a model's loss is
    shortened for that model.
    """
    parameters = start
    logits = objective.logits(parameters)
    loss = objective.loss(logits, parameters)
    for _ in range(ROUNDS):
        factor = torch.linalg.cholesky_ex(objective.hessian(logits, parameters)).L
        for _ in range(CHORDS):
            step = torch.cholesky_solve(objective.gradient(logits, parameters)[..., None], factor)[..., 0]
            scale = torch.ones_like(loss)
            for _ in range(8):
                moved = parameters - scale[..., None] * step
                moved_logits = objective.logits(moved)
                moved_loss = objective.loss(moved_logits, moved)
                worse = moved_loss > loss + 1e-12 * loss.abs()
                if not bool(worse.any()):
                    break
                scale = torch.where(worse, scale / 4, scale)
            better = moved_loss <= loss
            parameters = torch.where(better[..., None], moved, parameters)
            logits = torch.where(better.view(*better.shape, *[1] * (logits.ndim - 2)), moved_logits, logits)
            loss = torch.minimum(loss, moved_loss)
            if float(step.abs().max()) <= TOLERANCE * max(float(parameters.abs().max()), 1e-3):
                return parameters
    return parameters
