"""What the labels teach: coverage of every Fisher direction, and what no feasible design can teach.

Source: docs/method.md section 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.geometry import Geometry
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise
from curation.design.sets.uniform import uniform_information
from curation.insight.explain import Explanations, fisher_directions

CEILINGS = 160  # directions whose ceiling is computed: one structured pass each


@dataclass(frozen=True)
class Coverage:
    """Per Fisher direction k (falling eigenvalue): mu, coverage u' Sigma u and share mu u' S^-1 u, each (d,).

    batch, design, uniform: coverage. ceiling: the most any feasible design could give that direction alone (nan where
    not computed). *_share: parts of f, summing to f; None under a criterion that does not divide so. spectrum_*:
    eigenvalues of Sigma, falling. overlap: (d, d) |v_j' u_k|^2 of the batch's eigenvectors v_j (rows) with Fisher's u_k
    (columns). prior: lambda s per direction.
    unteachable: directions that matter more than average and that no feasible design lifts above the prior.
    """

    mu: np.ndarray
    batch: np.ndarray
    design: np.ndarray
    uniform: np.ndarray
    ceiling: np.ndarray
    batch_share: np.ndarray | None
    design_share: np.ndarray | None
    uniform_share: np.ndarray | None
    spectrum_batch: np.ndarray
    spectrum_design: np.ndarray
    spectrum_uniform: np.ndarray
    overlap: np.ndarray
    prior: float
    unteachable: np.ndarray

    @property
    def less(self) -> np.ndarray:
        """Numbers of the directions about which the batch says less than uniform labels, most important first."""
        return np.flatnonzero(self.batch < self.uniform * (1 - 1e-9))

    def finding(self) -> str:
        """What the batch says less about than uniform labels, in a plain sentence: the worst comes first."""
        d, less = len(self.mu), self.less
        if not len(less):
            return f"About every one of the {d} directions the batch says at least as much as uniform labels would."
        held = ""
        if self.uniform_share is not None:
            held = f"; they hold {self.uniform_share[less].sum() / self.uniform_share.sum():.0%} of uniform's criterion"
        about = "direction" if len(less) == 1 else "directions"
        return (
            f"The batch says less than uniform labels would about {len(less)} of {d} {about} "
            f"({named_directions(less)}){held}."
        )

    def sums(self) -> str:
        """What the parts of the criterion sum to, batch beside expectations; empty where it does not divide."""
        if self.batch_share is None or self.uniform_share is None or self.design_share is None:
            return ""
        return (
            f"Bars sum to the criterion, lower is better: {self.batch_share.sum():.4g} for this batch of whole labels, "
            f"{self.uniform_share.sum():.4g} for uniform labels in expectation, {self.design_share.sum():.4g} for this "
            "design in expectation. Any few labels, uniform ones too, stand behind what is expected of them."
        )

    def out_of_reach(self) -> str:
        """The directions that no feasible design lifts above the prior, in a plain sentence; empty without any."""
        if not len(self.unteachable):
            return ""
        held = ""
        if self.batch_share is not None:
            held = (
                f"; they hold {self.batch_share[self.unteachable].sum() / self.batch_share.sum():.0%} of the batch's "
                "criterion"
            )
        return (
            f"{len(self.unteachable)} directions that matter more than average are beyond any feasible design: none "
            f"says more about them per label than the ridge's prior ({self.prior:.3g}) assumes{held}. Under a heavy "
            "ridge this is expected; a lighter one, or more diverse candidates along them, would let labels teach them."
        )


def named_directions(numbers: np.ndarray, most: int = 6) -> str:
    """The first of some directions by their numbers from 1, and how many more there are."""
    names = [str(k + 1) for k in numbers[:most].tolist()]
    more = len(numbers) - len(names)
    return f"{', '.join(names)} and {more} more" if more else ", ".join(names)


def coverage(
    criterion: Criterion, feasible: Feasible, design_information: Tensor, batch_information: Tensor
) -> Coverage:
    """Coverage of the design, the drawn batch, uniform sampling and the ceiling. information: (d, d) each."""
    geometry = feasible.geometry
    mu, U = fisher_directions(criterion)
    uniform = uniform_information(feasible)
    basis = torch.as_tensor(U, device=geometry.device)
    prior = _along(basis, criterion.prior)
    ceiling = _ceilings(feasible, basis, mu)
    batch_values, batch_vectors = torch.linalg.eigh(batch_information)
    return Coverage(
        mu=mu,
        batch=_along(basis, batch_information),
        design=_along(basis, design_information),
        uniform=_along(basis, uniform),
        ceiling=ceiling,
        batch_share=_shares(criterion, batch_information),
        design_share=_shares(criterion, design_information),
        uniform_share=_shares(criterion, uniform),
        spectrum_batch=batch_values.flip(0).clamp_min(0.0).cpu().numpy(),
        spectrum_design=_spectrum(design_information),
        spectrum_uniform=_spectrum(uniform),
        overlap=(batch_vectors.flip(1).T @ basis).square().cpu().numpy(),
        prior=float(prior.mean()),
        unteachable=np.flatnonzero((ceiling < prior) & (mu > mu.mean())),
    )


def _along(basis: Tensor, information: Tensor) -> np.ndarray:
    out: np.ndarray = ((information @ basis) * basis).sum(0).clamp_min(0.0).cpu().numpy()
    return out


def _shares(criterion: Criterion, information: Tensor) -> np.ndarray | None:
    shares = criterion.at(information).shares()
    return None if shares is None else np.asarray(shares.cpu().numpy())


def _spectrum(information: Tensor) -> np.ndarray:
    out: np.ndarray = torch.linalg.eigvalsh(information).flip(0).clamp_min(0.0).cpu().numpy()
    return out


def _ceilings(feasible: Feasible, basis: Tensor, mu: np.ndarray) -> np.ndarray:
    out = np.full(len(mu), np.nan)
    for k in range(min(len(mu), CEILINGS)):
        values = feasible.geometry.linear(basis[:, k].contiguous()).square()
        _, _, reach = maximise(feasible, values)
        out[k] = reach + feasible.pinned_value(values)
    return out


@dataclass(frozen=True)
class DirectionPairs:
    """The pairs that speak loudest for a direction: numbers and signed values u' S^-1 z, by falling size."""

    positive: np.ndarray
    positive_values: np.ndarray
    negative: np.ndarray
    negative_values: np.ndarray


def direction_pairs(
    criterion: Criterion, geometry: Geometry, information: Tensor, k: int, *, top: int = 8
) -> DirectionPairs:
    """Pairs with the largest |u_k' S^-1 z_e|, both signs. A pair's sign is that of (a minus b)."""
    _, U = fisher_directions(criterion)
    factor = criterion.at(information).factor
    direction = torch.as_tensor(U[:, k : k + 1], device=geometry.device)
    values = geometry.plain.linear(torch.cholesky_solve(direction, factor)[:, 0].contiguous())
    high, low = values.topk(min(top, len(values))), (-values).topk(min(top, len(values)))
    up, down = high.values > 0, low.values > 0
    return DirectionPairs(
        positive=high.indices[up].cpu().numpy(),
        positive_values=high.values[up].cpu().numpy(),
        negative=low.indices[down].cpu().numpy(),
        negative_values=-low.values[down].cpu().numpy(),
    )


def serving(explanations: Explanations, k: int) -> np.ndarray:
    """Places in a batch of the pairs that name direction k among what they are chosen for, its largest share first."""
    named = explanations.directions == k
    rows = np.flatnonzero(named.any(axis=1))
    share = np.where(named, explanations.shares, 0.0).sum(axis=1)[rows]
    return np.asarray(rows[np.argsort(-share, kind="stable")])
