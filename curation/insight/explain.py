"""Why a pair was chosen and what it is worth: exact figures, none by solving again (docs/method.md section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from curation.design.criteria.base import cholesky
from curation.design.criteria.trace import Criterion
from curation.design.result import Design
from curation.design.selection.tally import Tally
from curation.design.sets.feasible import Feasible
from curation.design.sets.thresholds import multipliers_at
from curation.design.sets.uniform import uniform_design

NAMED = 3  # directions named for a pair


@dataclass(frozen=True)
class Explanations:
    """Figures of m pairs, each (m,) unless said; directions, shares: (m, 3).

    score: information over that of the design's average label. margin: over the pair's own threshold. leverage:
    z' S^-1 z of the batch, times the pair's factor. feature_distance: |z|, whatever the factor. drop_cost: rise of f
    when one label of it is dropped, as a fraction of f.
    """

    pairs: np.ndarray
    weights: np.ndarray
    inclusion: np.ndarray
    score: np.ndarray
    margin: np.ndarray
    leverage: np.ndarray
    drop_cost: np.ndarray
    feature_distance: np.ndarray
    directions: np.ndarray
    shares: np.ndarray

    def rationale(self, m: int) -> str:
        """One sentence on the m-th pair, from its figures alone."""
        share = float(self.shares[m, 0])
        where = f"{share:.0%} of it about Fisher direction {int(self.directions[m, 0]) + 1}"
        margin = float(self.margin[m])
        if not np.isfinite(margin):
            standing = "drawn though its weight is zero"
        elif margin > 1.005:
            standing = f"{margin - 1:.0%} above the threshold of its prompt"
        elif margin > 0.995:
            standing = "at the threshold, so drawn by chance among equals"
        else:
            standing = f"{1 - margin:.0%} under the threshold, kept in only by chance or by a pin"
        return (
            f"Carries {self.score[m]:.2f} times the information of the design's average label, {where}; {standing}; "
            f"without it the criterion would be {self.drop_cost[m]:.2%} worse."
        )


def fisher_directions(criterion: Criterion) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues mu (d,), falling, and eigenvectors U (d, d) of M in columns, largest entry of each positive."""
    values, vectors = torch.linalg.eigh(criterion.fisher)
    values, vectors = values.flip(0).clamp_min(0.0), vectors.flip(1)
    largest = vectors.abs().argmax(0)
    signs = torch.sign(vectors[largest, torch.arange(len(values), device=vectors.device)])
    return values.cpu().numpy(), (vectors * signs).cpu().numpy()


def scores(
    criterion: Criterion, feasible: Feasible, design: Design, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Score and margin of pairs (m,) under the design's own S."""
    geometry = feasible.geometry
    values = geometry.quadratic(criterion.at(geometry.information(design.weights)).root)
    average = float(values @ design.weights)
    threshold = multipliers_at(feasible, design.weights, values).threshold(feasible)
    chosen = torch.as_tensor(np.asarray(pairs, dtype=np.int64), device=geometry.device)
    q = values[chosen]
    limit = threshold[chosen]
    margin = torch.where(limit > 0, q / limit, torch.full_like(q, torch.inf))
    return (q / average).cpu().numpy(), margin.cpu().numpy()


def explain(
    criterion: Criterion, feasible: Feasible, design: Design, batch_information: Tensor, pairs: np.ndarray
) -> Explanations:
    """Figures of pairs (m,): score and margin under the design, everything else under the batch's S (d, d)."""
    geometry = feasible.geometry
    pairs = np.asarray(pairs, dtype=np.int64)
    score, margin = scores(criterion, feasible, design, pairs)
    z = geometry.vectors(pairs)
    point = criterion.at(batch_information)
    solved = torch.cholesky_solve(z.T, point.factor).T  # rows S^-1 z
    leverage = (z * solved).sum(1)
    mu, U = fisher_directions(criterion)
    along = (solved @ torch.as_tensor(U, device=z.device)).square() * torch.as_tensor(mu, device=z.device)
    q = along.sum(1)
    top = along.topk(min(NAMED, along.shape[1]), dim=1)
    shares = top.values / q.clamp_min(1e-300)[:, None]
    missing = NAMED - shares.shape[1]
    weights = design.weights[torch.as_tensor(pairs, device=z.device)].cpu().numpy()
    return Explanations(
        pairs=pairs,
        weights=weights,
        inclusion=weights * feasible.labels,
        score=score,
        margin=margin,
        leverage=leverage.cpu().numpy(),
        drop_cost=(_drop(q, leverage, feasible.labels) / point.value).cpu().numpy(),
        feature_distance=geometry.differences(pairs).norm(dim=1).cpu().numpy(),
        directions=np.pad(top.indices.cpu().numpy(), ((0, 0), (0, missing))),
        shares=np.pad(shares.cpu().numpy(), ((0, 0), (0, missing))),
    )


def _drop(q: Tensor, leverage: Tensor, n: float) -> Tensor:
    """Rise of f when one label of a pair goes (Sherman-Morrison): (q/n) / (1 - l/n)."""
    return (q / n) / (1 - leverage / n)


def drop_price(
    criterion: Criterion, batch_information: Tensor, vectors: Tensor, budget: float, *, copies: np.ndarray | None = None
) -> float:
    """Rise of f when a set of labels is dropped, as a fraction of f (Woodbury's block formula).

    vectors: (m, d). copies: labels dropped of each, default one.
    """
    if not len(vectors):
        return 0.0
    labels = torch.ones(len(vectors), dtype=torch.float64) if copies is None else torch.as_tensor(copies)
    V = vectors * (labels.to(vectors) / budget).sqrt()[:, None]
    point = criterion.at(batch_information)
    solved = torch.cholesky_solve(V.T, point.factor).T  # rows S^-1 v
    inner = torch.eye(len(V), dtype=V.dtype, device=V.device) - solved @ V.T
    across = solved @ criterion.root  # (m, k)
    rise = torch.linalg.solve_triangular(cholesky(inner), across, upper=False).square().sum()
    return float(rise) / point.value


@dataclass(frozen=True)
class Replacement:
    """The pair to take instead of a dropped one. gain: fall of f when it is added after the removal; net: change of
    f against the untouched batch (negative: better). Both as fractions of the untouched batch's f."""

    pair: int
    gain: float
    net: float


def best_replacement(
    criterion: Criterion,
    feasible: Feasible,
    batch_information: Tensor,
    batch_pairs: np.ndarray,
    dropped: int,
    *,
    copies: np.ndarray | None = None,
    closed: Sequence[int] = (),
) -> Replacement | None:
    """The admissible pair with the largest (q/n) / (1 + l/n) once one label of `dropped` is gone, or None.

    Admissible: not in the batch, not excluded nor `closed` (pair numbers), and every constraint has room for it once
    the pair is gone; of the dropped pair's own prompt where totals are fixed (balanced). One structured pass for q, one
    for the leverage.
    """
    geometry, n = feasible.geometry, feasible.labels
    before = criterion.value(batch_information)
    z = geometry.vectors(np.array([dropped]))
    information = batch_information - z.T @ z / n
    point = criterion.at(information)
    inverse_root = torch.linalg.cholesky(torch.cholesky_inverse(point.factor))
    gain = (geometry.quadratic(point.root) / n) / (1 + geometry.quadratic(inverse_root) / n)
    open_pairs = _admissible(feasible, batch_pairs, dropped, copies)
    open_pairs[torch.as_tensor(closed, dtype=torch.int64, device=open_pairs.device)] = False
    if not bool(open_pairs.any()):
        return None
    best = int(gain.masked_fill(~open_pairs, -torch.inf).argmax())
    amount = float(gain[best])
    return Replacement(pair=best, gain=amount / before, net=(point.value - amount) / before - 1.0)


def _admissible(feasible: Feasible, batch_pairs: np.ndarray, dropped: int, copies: np.ndarray | None) -> Tensor:
    tally = Tally(feasible, uniform_design(feasible))
    counts = np.ones(len(batch_pairs), dtype=int) if copies is None else copies
    for pair, count in zip(batch_pairs.tolist(), counts.tolist(), strict=True):
        more = int(min(count, tally.limit)) - tally.copies.get(pair, 0)  # repeats for agreement are not the design's
        if more > 0:
            tally.add(pair, more)
    if dropped in tally.copies:
        tally.add(dropped, -1)
    room = tally.open_pairs()
    room[torch.as_tensor(batch_pairs, device=room.device)] = False
    if feasible.spread.fixes:
        geometry = feasible.geometry
        own = int(geometry.prompt_of(np.array([dropped]))[0])
        inside = torch.zeros_like(room)
        inside[int(geometry.pair_offsets[own]) : int(geometry.pair_offsets[own + 1])] = True
        room &= inside
    return room
