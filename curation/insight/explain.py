"""Why a pair was chosen and what it is worth: exact figures, none by solving again (docs/method.md section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.result import Design
from curation.design.selection.tally import Tally
from curation.design.sets.feasible import Feasible
from curation.design.sets.thresholds import multipliers_at
from curation.design.sets.uniform import uniform_design

NAMED = 3  # directions named for a pair
UNDIVIDED = "This criterion does not divide over Fisher directions, so none is named."


@dataclass(frozen=True)
class Explanations:
    """Figures of m pairs, each (m,) unless said; directions, shares: (m, 3), or (m, 0) under a criterion that does not
    divide over directions.

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
        where, end = "", f" {UNDIVIDED}"
        if self.shares.shape[1]:
            where = f", {float(self.shares[m, 0]):.0%} of it about Fisher direction {int(self.directions[m, 0]) + 1}"
            end = ""
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
            f"Carries {self.score[m]:.2f} times the information of the design's average label{where}; {standing}; "
            f"without it the criterion would be {self.drop_cost[m]:.2%} worse.{end}"
        )


def fisher_directions(criterion: Criterion) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues mu (d,) and eigenvectors U (d, d) of M, as `Criterion.directions`."""
    values, vectors = criterion.directions
    return values.cpu().numpy(), vectors.cpu().numpy()


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
    """Figures of a batch's pairs (m,): score and margin under the design, all else under the batch's S (d, d)."""
    geometry = feasible.geometry
    pairs = np.asarray(pairs, dtype=np.int64)
    score, margin = scores(criterion, feasible, design, pairs)
    z = geometry.vectors(pairs)
    point = criterion.at(batch_information)
    directions, shares = _named(point.parts(z), len(pairs))
    weights = design.weights[torch.as_tensor(pairs, device=z.device)].cpu().numpy()
    return Explanations(
        pairs=pairs,
        weights=weights,
        inclusion=weights * feasible.labels,
        score=score,
        margin=margin,
        leverage=point.leverage(z).cpu().numpy(),
        drop_cost=(-point.fall(z, feasible.labels, -1) / point.value).cpu().numpy(),
        feature_distance=geometry.differences(pairs).norm(dim=1).cpu().numpy(),
        directions=directions,
        shares=shares,
    )


def _named(parts: Tensor | None, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The directions that most of m pairs' q = z' B z lies along, and its shares, (m, 3) each. parts: (m, d) of q."""
    if parts is None:
        return np.zeros((m, 0), dtype=np.int64), np.zeros((m, 0))
    top = parts.topk(min(NAMED, parts.shape[1]), dim=1)
    shares = top.values / parts.sum(1).clamp_min(1e-300)[:, None]
    missing = ((0, 0), (0, NAMED - shares.shape[1]))
    return np.pad(top.indices.cpu().numpy(), missing), np.pad(shares.cpu().numpy(), missing)


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
    """The admissible pair by which f falls most once one label of `dropped` is gone, or None.

    Admissible: not in the batch, not excluded nor `closed` (pair numbers), and every constraint has room for it once
    the pair is gone; of the dropped pair's own prompt where totals are fixed (balanced).
    """
    geometry, n = feasible.geometry, feasible.labels
    before = criterion.value(batch_information)
    z = geometry.vectors(np.array([dropped]))
    point = criterion.at(batch_information - z.T @ z / n)
    open_pairs = _admissible(feasible, batch_pairs, dropped, copies)
    open_pairs[torch.as_tensor(closed, dtype=torch.int64, device=open_pairs.device)] = False
    if not bool(open_pairs.any()):
        return None
    gain = point.falls(geometry, n, open_pairs)
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
