"""Every criterion that there is, on one geometry: with formulas of its own, hedged, and with none but the common ones."""

from __future__ import annotations

import torch

from curation.design.criteria.base import Criterion
from curation.design.criteria.determinant import Determinant
from curation.design.criteria.hedged import Hedged
from curation.design.criteria.trace import make_criterion
from curation.design.geometry import Geometry
from tests.desk.builders import random_fisher
from tests.desk.quadratic_mean import QuadraticMean

NAMES = ("trace", "determinant", "hedged", "hedged of two kinds", "quadratic mean")


def criterion_named(name: str, geometry: Geometry, seed: int) -> Criterion:
    """One of `NAMES`, of a random Fisher matrix and a light ridge."""
    trace = make_criterion(geometry, random_fisher(seed, geometry.dim), ridge=0.1)
    other = make_criterion(geometry, random_fisher(seed + 100, geometry.dim), ridge=2.0, power=0.5)
    determinant = Determinant(trace.fisher, trace.prior)
    made: dict[str, Criterion] = {
        "trace": trace,
        "determinant": determinant,
        "hedged": Hedged(trace, other, 0.3),
        "hedged of two kinds": Hedged(trace, determinant, 0.6),
        "quadratic mean": QuadraticMean(trace.fisher, trace.prior + 0.01 * torch.eye(geometry.dim)),
    }
    return made[name]
