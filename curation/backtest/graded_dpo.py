"""Linear DPO on graded answers: a cumulative logit with symmetric thresholds, or soft targets in the binary learner.

A label between two cuts a < b of the latent costs softplus(a - eta) + softplus(eta - b) - log(1 - exp(a - b)), because
s(u) - s(v) = s(u) s(-v) (1 - exp(v - u)): two binary observations and a term in the thresholds alone. The loss is
jointly convex in theta and the thresholds, so Newton's method of the binary learner fits both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from curation.backtest.linear_dpo import (
    FOLDS,
    RIDGES,
    Batches,
    LinearFit,
    Objective,
    cross_validated,
    deal_folds,
    fit_linear_dpo,
    lengthened,
    shortened,
)
from curation.insight.graded import SOFT, GradedError, Thresholds

PRIOR = 0.1  # labels of each level at eta = 0 added to every batch, so that thresholds stay apart, above 0 and finite
ENDLESS = 1e3  # stands for an infinite threshold


@dataclass(frozen=True)
class GradedBatches:
    """Labelled batches of one space. vectors: (B, n, d) z of each pair. counts: (B, n, 5) labels of each level, all 0
    pads a short batch. groups: (B, n) prompt of each pair. weights: (B, n) what a label counts, None where all count
    one."""

    vectors: Tensor
    counts: Tensor
    groups: np.ndarray
    weights: Tensor | None = None


@dataclass(frozen=True)
class GradedFit(LinearFit):
    """A LinearFit, theta in the same units (logits of a binary answer), and thresholds (B, 2) in those units."""

    thresholds: np.ndarray


@dataclass(frozen=True)
class CumulativeLogit:
    """-sum log P(level | theta'z, t) + ridge / 2 |theta|^2 + the prior labels; parameters (B, F, d + 2): theta, t1, t2.

    z: (B, n, d). above, trials: (B, F, n, 4) labels whose lower cut, and whose either cut, is -t2, -t1, t1, t2.
    gaps: (B, F, 2) ties, and slight answers. prior: labels of each level at eta = 0.
    """

    z: Tensor
    above: Tensor
    trials: Tensor
    gaps: Tensor
    ridge: float
    prior: float = PRIOR

    def logits(self, parameters: Tensor) -> Tensor:
        """theta'z less each cut, (B, F, n, 4)."""
        theta, t = parameters[..., :-2], parameters[..., -2:]
        return (theta @ self.z.transpose(1, 2))[..., None] - _cuts(t)[..., None, :]

    def data_loss(self, logits: Tensor, parameters: Tensor) -> Tensor:
        fit = (self.trials * torch.nn.functional.softplus(logits) - self.above * logits).sum((-2, -1))
        return fit + _gap_loss(parameters[..., -2:], self.gaps)

    def loss(self, logits: Tensor, parameters: Tensor) -> Tensor:
        theta, t = parameters[..., :-2], parameters[..., -2:]
        cuts = _cuts(t)
        prior = self.prior * (2 * torch.nn.functional.softplus(-cuts) + cuts).sum(-1)
        prior = prior + _gap_loss(t, self._prior_gaps()) + 0.5 * self.ridge * theta.square().sum(-1)
        return torch.where((_widths(t) > 0).all(-1), self.data_loss(logits, parameters) + prior, torch.inf)

    def gradient(self, logits: Tensor, parameters: Tensor) -> Tensor:
        theta, t = parameters[..., :-2], parameters[..., -2:]
        residual = self.trials * torch.sigmoid(logits) - self.above
        by_cut = residual.sum(-2) + self.prior * (2 * torch.sigmoid(-_cuts(t)) - 1)
        slope = -(self.gaps + self._prior_gaps()) / torch.expm1(_widths(t))
        along = residual.sum(-1) @ self.z + self.ridge * theta
        return torch.cat([along, -by_cut @ _signs(t) + slope @ _width_signs(t)], -1)

    def hessian(self, logits: Tensor, parameters: Tensor) -> Tensor:
        t, mean, rows = parameters[..., -2:], torch.sigmoid(logits), self.z[:, None]
        weight = self.trials * mean * (1 - mean)
        eye = self.ridge * torch.eye(self.z.shape[2], dtype=self.z.dtype, device=self.z.device)
        main = rows.transpose(2, 3) @ (weight.sum(-1)[..., None] * rows) + eye
        signs, width_signs, chance = _signs(t), _width_signs(t), torch.sigmoid(_cuts(t))
        across = -rows.transpose(2, 3) @ weight @ signs
        by_cut = weight.sum(-2) + 2 * self.prior * chance * (1 - chance)
        bend = (self.gaps + self._prior_gaps()) / (2 * torch.sinh(_widths(t).clamp(max=300) / 2)).square()
        corner = signs.T @ (by_cut[..., None] * signs) + width_signs.T @ (bend[..., None] * width_signs)
        return torch.cat([torch.cat([main, across], -1), torch.cat([across.transpose(-1, -2), corner], -1)], -2)

    def _prior_gaps(self) -> Tensor:
        return self.prior * torch.tensor([1.0, 2.0], dtype=self.z.dtype, device=self.z.device)


@dataclass(frozen=True)
class GivenThresholds:
    """A CumulativeLogit whose thresholds (B, 1, 2) do not move; parameters (B, F, d) are theta alone."""

    inner: CumulativeLogit
    thresholds: Tensor

    def logits(self, parameters: Tensor) -> Tensor:
        return self.inner.logits(self._whole(parameters))

    def data_loss(self, logits: Tensor, parameters: Tensor) -> Tensor:
        return self.inner.data_loss(logits, self._whole(parameters))

    def loss(self, logits: Tensor, parameters: Tensor) -> Tensor:
        return self.data_loss(logits, parameters) + 0.5 * self.inner.ridge * parameters.square().sum(-1)

    def gradient(self, logits: Tensor, parameters: Tensor) -> Tensor:
        return self.inner.gradient(logits, self._whole(parameters))[..., :-2]

    def hessian(self, logits: Tensor, parameters: Tensor) -> Tensor:
        return self.inner.hessian(logits, self._whole(parameters))[..., :-2, :-2]

    def _whole(self, theta: Tensor) -> Tensor:
        return torch.cat([theta, self.thresholds.expand(-1, theta.shape[1], -1)], -1)


def fit_graded_dpo(
    batches: GradedBatches,
    *,
    rng: np.random.Generator,
    ridges: tuple[float, ...] = RIDGES,
    folds: int = FOLDS,
    thresholds: Thresholds | None = None,
) -> GradedFit:
    """Fit every batch by cumulative logit, theta and thresholds together, with the ridge of `fit_linear_dpo`'s rule.

    rng: deals prompts to folds as there. thresholds: given and not estimated; (0, inf) on answers that are only
    `slightly` is the binary learner exactly. Raises GradedError for thresholds that the answers contradict.
    """
    z, back = shortened(batches.vectors)
    counts = batches.counts if batches.weights is None else batches.counts * batches.weights[..., None]
    above, below = counts[..., 1:], counts[..., :-1]  # level k lies between cuts k - 1 and k
    gaps = torch.stack([counts[..., 2], counts[..., 1] + counts[..., 3]], -1)

    given = None if thresholds is None else _given(thresholds, counts)

    def objective(seen: Tensor, ridge: float) -> Objective:
        mask = seen[..., None]
        free = CumulativeLogit(
            z, mask * above[:, None], mask * (above + below)[:, None], (mask * gaps[:, None]).sum(-2), ridge
        )
        return free if given is None else GivenThresholds(free, given)

    start = torch.zeros(len(z), folds + 1, z.shape[2], dtype=z.dtype, device=z.device)
    if given is None:
        start = torch.cat([start, _first_thresholds(counts)[:, None].expand(-1, folds + 1, -1)], -1)
    fold = torch.as_tensor(deal_folds(batches.groups, folds, rng), device=z.device)
    chosen, best, held_out = cross_validated(objective, start, fold, counts.sum((1, 2)), ridges=ridges)
    whole = chosen if given is None else torch.cat([chosen, given[:, 0]], -1)
    return GradedFit(
        theta=lengthened(whole[:, :-2], back),
        ridge=np.asarray(ridges)[best],
        held_out=held_out,
        thresholds=whole[:, -2:].cpu().numpy(),
    )


def fit_soft_dpo(
    batches: GradedBatches, *, rng: np.random.Generator, targets: tuple[float, ...] = SOFT,
    ridges: tuple[float, ...] = RIDGES, folds: int = FOLDS,
) -> LinearFit:  # fmt: skip
    """The binary learner on soft targets: each level counts as a share of a win, as an export of soft labels does."""
    return fit_linear_dpo(soft_batches(batches, targets), rng=rng, ridges=ridges, folds=folds)


def soft_batches(batches: GradedBatches, targets: tuple[float, ...] = SOFT) -> Batches:
    """Graded answers as shares of wins. targets: (5,) chance of left that each level stands for."""
    worth = torch.tensor(targets, dtype=batches.counts.dtype, device=batches.counts.device)
    return Batches(batches.vectors, batches.counts @ worth, batches.counts.sum(-1), batches.groups, batches.weights)


def _first_thresholds(counts: Tensor) -> Tensor:
    """(B, 2) that fit the shares of the levels at eta = 0, prior included."""
    by_level = counts.sum(1) + PRIOR
    total = by_level.sum(-1)
    ties = by_level[:, 2] / total
    inner = 1 - (by_level[:, 0] + by_level[:, 4]) / total
    return torch.logit(torch.stack([1 + ties, 1 + inner], -1) / 2)


def _given(thresholds: Thresholds, counts: Tensor) -> Tensor:
    low, high = thresholds
    seen = counts.sum((0, 1))
    if not 0 <= low < high:
        raise GradedError(f"thresholds {low:g}, {high:g} must rise from 0; give them as (0.5, 1.5).")
    if (low == 0 and seen[2] > 0) or (np.isinf(high) and seen[0] + seen[4] > 0):
        raise GradedError(
            f"thresholds {low:g}, {high:g} leave no room for answers that were given; leave thresholds to be estimated."
        )
    pair = torch.tensor([low, min(high, ENDLESS)], dtype=counts.dtype, device=counts.device)
    return pair.expand(len(counts), 1, 2)


def _gap_loss(t: Tensor, labels: Tensor) -> Tensor:
    """-log(1 - exp(-width)) for every label between two finite cuts; thresholds (..., 2), labels (..., 2)."""
    each = -torch.log(-torch.expm1(-_widths(t).clamp(min=1e-300)))
    return torch.where(labels > 0, labels * each, 0.0).sum(-1)


def _cuts(t: Tensor) -> Tensor:
    """-t2, -t1, t1, t2, (..., 4), of thresholds (..., 2)."""
    return torch.cat([-t.flip(-1), t], -1)


def _signs(t: Tensor) -> Tensor:
    """(4, 2): derivative of the cuts."""
    return torch.tensor([[0, -1], [-1, 0], [1, 0], [0, 1]], dtype=t.dtype, device=t.device)


def _widths(t: Tensor) -> Tensor:
    """Of the tie's band and of the two slight ones', (..., 2)."""
    return torch.stack([2 * t[..., 0], t[..., 1] - t[..., 0]], -1)


def _width_signs(t: Tensor) -> Tensor:
    """(2, 2): derivative of the widths."""
    return torch.tensor([[2, 0], [-1, 1]], dtype=t.dtype, device=t.device)
