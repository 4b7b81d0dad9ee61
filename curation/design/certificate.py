"""How far a design can be from the best (equivalence theorem; docs/method.md section 6)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.sets.feasible import Feasible
from curation.design.sets.linear import maximise
from curation.design.sets.uniform import uniform_information


@dataclass(frozen=True)
class Certificate:
    """objective f, a lower bound of the best f, gap = 1 - bound / f and open = (f - bound) / (f_uniform - bound)."""

    objective: float
    lower_bound: float
    uniform: float

    @property
    def gap(self) -> float:
        """Relative distance to the lower bound."""
        return max(0.0, 1.0 - self.lower_bound / self.objective)

    @property
    def open(self) -> float:
        """Share of the attainable improvement over the uniform design that is still open; 0 where there is none."""
        attainable = self.uniform - self.lower_bound
        rest = max(0.0, self.objective - self.lower_bound)
        return rest / attainable if attainable > 1e-12 * self.objective else self.gap

    def holds(self, tol: float) -> bool:
        """Whether both gap and open are at most tol."""
        return self.gap <= tol and self.open <= tol


def lower_bound(objective: float, excess: float) -> float:
    """f^2 / (f + g), g = max_v <v, q> - <w, q> over the feasible set. Never above the best attainable f.

    By Cauchy-Schwarz f^2 <= tr(M S*^-1) tr(B S*), and tr(B S*) <= f + g.
    """
    return objective * objective / (objective + max(excess, 0.0))


def certify(criterion: Criterion, feasible: Feasible, weights: Tensor) -> Certificate:
    """Certificate of a design measure (pairs,) by a full float64 pass of its own, trusting nothing of the solver."""
    geometry = feasible.geometry
    point = criterion.at(geometry.information(weights))
    values = geometry.quadratic(point.root)
    _, _, best = maximise(feasible, values)
    excess = best + feasible.pinned_value(values) - float(values @ weights)
    return Certificate(
        objective=point.value,
        lower_bound=lower_bound(point.value, excess),
        uniform=criterion.value(uniform_information(feasible)),
    )
