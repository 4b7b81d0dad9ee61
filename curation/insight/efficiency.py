"""How many uniform labels would be worth as much, in the criterion (METHOD.md section 8)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import brentq
from torch import Tensor

from curation.design.criterion import Criterion
from curation.design.geometry import Geometry


@dataclass(frozen=True)
class LabelEquivalent:
    """Uniform labels that reach the batch's criterion (inf: no number does), and their multiple of the budget."""

    labels: float
    budget: float

    @property
    def multiple(self) -> float:
        """Uniform labels per label of the batch."""
        return self.labels / self.budget

    def sentence(self) -> str:
        """The figure in words."""
        if math.isinf(self.labels):
            return (
                f"In the criterion, no number of uniform labels reaches what these {self.budget:g} labels reach. "
                "The criterion is not the reward."
            )
        return (
            f"In the criterion, {self.labels:,.0f} uniform labels would be worth these {self.budget:g} "
            f"({self.multiple:.2f} per label). The criterion is not the reward."
        )


def label_equivalent(
    criterion: Criterion, geometry: Geometry, batch_information: Tensor, budget: float
) -> LabelEquivalent:
    """n' with T(n', uniform) = T(budget, batch), T(n, D) = tr(M (n Sigma_D + rho I)^-1), rho of the present design.

    batch_information: (d, d), labels counted 1 / budget each. Uniform: any admissible pair with equal chance.
    """
    target = criterion.value(batch_information) / budget
    prior = criterion.prior * budget
    factor = torch.linalg.cholesky(prior)
    half = torch.linalg.solve_triangular(factor, geometry.uniform_information(), upper=False)
    whitened = torch.linalg.solve_triangular(factor, half.T, upper=False)
    values, vectors = torch.linalg.eigh((whitened + whitened.T) / 2)
    root = torch.linalg.solve_triangular(factor, criterion.root, upper=False)
    mass = (vectors.T @ root).square().sum(1)

    def excess(log_labels: float) -> float:
        return float((mass / (1 + math.exp(log_labels) * values.clamp_min(0.0))).sum()) - target

    low, high = math.log(1e-6), math.log(1e12)
    if excess(high) > 0:
        return LabelEquivalent(math.inf, budget)
    if excess(low) < 0:
        return LabelEquivalent(0.0, budget)
    return LabelEquivalent(math.exp(float(brentq(excess, low, high, xtol=1e-12))), budget)
