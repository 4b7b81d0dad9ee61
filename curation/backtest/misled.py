"""Where the reference misleads: the criterion at a policy fitted on known outcomes against the one designs are made at.

The design is made at the reference policy theta_0, because the optimum is unknown. Where outcomes are known the policy
they lead to can stand in for it: its Fisher matrix M(theta) says which directions matter there, and its predictions say
how much a label teaches (a label whose outcome is nearly certain teaches next to nothing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curation.backtest.arena import Arena, half_of
from curation.backtest.linear_dpo import Batches, fit_linear_dpo
from curation.backtest.policy_value import sharpness_at_kl
from curation.design.criteria.base import Criterion
from curation.design.result import Design
from curation.design.sets.feasible import Feasible
from curation.representation.fisher_matrix import fisher_matrix
from curation.representation.segments import softmax_within

Array = NDArray[np.float64]
MOST_PAIRS = 20_000  # that theta is fitted on, drawn alike where there are more


@dataclass(frozen=True)
class Misled:
    """Direction by direction, in the order of M(theta_0)'s eigenvalues, the largest first.

    reference, fitted: (d,) v'Mv at theta_0 and at theta, each as a share of its trace. cost_reference, cost_fitted:
    (d,) shares of the criterion of the design made at theta_0. certain: (d,) 1 - v'Sigma(theta)v / v'Sigma(theta_0)v,
    the information that is not there because outcomes are near certain. gained: of what the best possible design gains
    over uniform labels when M(theta) is what matters, the part that the design made at theta_0 gains; nan where an
    older file does not say. efficiency: the bound over its criterion there, which tells no labels from the bound badly
    where the prior is heavy. kl: nats at which theta is taken. pairs: theta is fitted on.
    """

    reference: Array
    fitted: Array
    cost_reference: Array
    cost_fitted: Array
    certain: Array
    efficiency: float
    gained: float
    kl: float
    pairs: int

    def worst(self, count: int = 3) -> list[int]:
        """Directions whose share of what matters grows most from theta_0 to theta."""
        return [int(k) for k in np.argsort(self.reference - self.fitted, kind="stable")[:count]]

    def sentence(self) -> str:
        """What an analyst should take from it."""
        moved = 0.5 * float(np.abs(self.reference - self.fitted).sum())
        ahead = ", ".join(f"direction {k + 1} ({self.reference[k]:.1%} to {self.fitted[k]:.1%})" for k in self.worst())
        told = (
            f"At the policy fitted on the known outcomes, {moved:.0%} of what matters lies in other directions than at "
            f"the reference, most of it gained by {ahead}."
        )
        if np.isnan(self.gained):
            return told
        share = f"{self.gained:.0%} of what the best design there gains" if self.gained > 0 else "nothing"
        return f"{told} Over uniform labels the design made at the reference gains {share} there."

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self.__dict__.items()}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Misled:
        """From the JSON form; one of before `gained` was told has none."""
        arrays: dict[str, Any] = {k: np.array(v) if isinstance(v, list) else v for k, v in kept.items()}
        return cls(**{"gained": float("nan"), **arrays})


def where_misled(
    phi: Array,
    probability: Array,
    fisher: Array,
    arena: Arena,
    solve: Callable[[Array], tuple[Criterion, Feasible, Design]],
    *,
    kl: float,
) -> Misled:
    """Compare the criterion at theta_0 with the one at theta fitted on every known outcome, taken at `kl` nats.

    phi: (N, d) candidates of the arena's pool. probability: (N,) of the reference. fisher: (d, d) = M(theta_0). solve:
    the design for a Fisher matrix.
    """
    whole = half_of(arena, np.arange(arena.prompts))
    offsets, weights = arena.pool.offsets(), arena.pool.prompt_weights()
    rng = np.random.default_rng(0)
    count = len(whole.first)
    chosen = np.arange(count) if count <= MOST_PAIRS else np.sort(rng.choice(count, MOST_PAIRS, replace=False))
    z = phi[whole.first[chosen]] - phi[whole.second[chosen]]
    batch = Batches(
        torch.as_tensor(z[None]),
        torch.as_tensor(whole.probability[chosen][None]),
        torch.ones(1, len(chosen), dtype=torch.float64),
        whole.owner[chosen][None],
    )
    theta = fit_linear_dpo(batch, rng=rng).theta[0].numpy()
    groups = whole.groups()
    rows = whole.group_rows()
    t = float(sharpness_at_kl((phi[rows] @ theta)[None], groups, kl)[0])
    with np.errstate(divide="ignore"):
        start = np.log(probability)
    p = softmax_within(start + t * (phi @ theta), offsets)
    fitted = fisher_matrix(phi, offsets, p, weights)

    criterion, feasible, design = solve(fisher)
    there, _, best = solve(fitted)
    information = feasible.geometry.information(design.weights)
    sure = best.certificate
    values, vectors = np.linalg.eigh(fisher)
    basis = vectors[:, np.argsort(-values, kind="stable")]
    inverse = np.linalg.inv((information + criterion.prior).numpy())
    chance = 1 / (1 + np.exp(-t * z @ theta))
    along = np.square(z @ basis)
    return Misled(
        reference=_shares(basis, fisher),
        fitted=_shares(basis, fitted),
        cost_reference=_costs(basis, fisher, inverse),
        cost_fitted=_costs(basis, fitted, inverse),
        certain=1 - (4 * chance * (1 - chance)) @ along / np.maximum(along.sum(0), 1e-300),
        efficiency=sure.lower_bound / there.value(information),
        gained=(sure.uniform - there.value(information)) / max(sure.uniform - sure.lower_bound, 1e-300),
        kl=kl,
        pairs=len(chosen),
    )


def _shares(basis: Array, matrix: Array) -> Array:
    """v'Av of every column of an orthonormal basis, over the trace."""
    along = np.einsum("dk,de,ek->k", basis, matrix, basis)
    return np.asarray(along / max(float(np.trace(matrix)), 1e-300))


def _costs(basis: Array, fisher: Array, inverse: Array) -> Array:
    """Share of tr(M S^-1) in every direction: v' M S^-1 v, summing to 1."""
    along = np.einsum("dk,de,ek->k", basis, fisher @ inverse, basis)
    return np.asarray(along / along.sum())
