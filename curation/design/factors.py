"""What a label of a pair is worth, apart from what the pair compares: nuisance, certainty, strength.

Source: docs/method.md section 11.

A label follows P = sigma(theta' z + b' u), u = u_i - u_j the difference of nuisance coordinates (log length, markdown),
b ~ N(0, tau^2) anew on every prompt. Averaged over b the label is nearly logistic in eta / s, s^2 = 1 + c tau^2 |u|^2,
c = (16 sqrt(3) / (15 pi))^2 = 0.346 (the logistic nearest to a normal curve; Zeger, Liang and Albert 1988). So one
label tells sigma'(eta / s) / s^2 about eta = theta' z, within 15 % of what quadrature gives up to tau |u| = 2.
This is a number of the pair's two candidates, computed like every other pass over the pool: structured, one (pairs,)
vector, no (pairs, d) array. Labels of one prompt share its b; that they repeat each other is left to the spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from curation.design.geometry import Geometry
from curation.errors import DesignError

ATTENUATION = (16 * math.sqrt(3) / (15 * math.pi)) ** 2  # c
LEAST = 1e-12  # a label whose answer is certain tells next to nothing; the factor stays positive


def pair_factor(
    geometry: Geometry,
    *,
    theta: np.ndarray | Tensor | None = None,
    nuisance: np.ndarray | Tensor | None = None,
    tau2: float | Sequence[float] | np.ndarray = 0.0,
    thresholds: Sequence[float] | None = None,
) -> Tensor:
    """Information of one label of every pair, in units of a binary label of a pair that is a coin toss. (pairs,).

    theta: (d,) fitted preference, default 0. nuisance: (N, k) coordinates of every candidate, with tau2 the variance of
    a prompt's random slope, one for all columns or one each. thresholds: of graded answers, rising, in the units of
    theta' z (see `graded_information`); default a binary answer, whose factor is exactly 1 without theta and nuisance.
    To be given to `Geometry.with_factor`. Raises DesignError.
    """
    eta = torch.zeros(geometry.pairs, dtype=torch.float64, device=geometry.device)
    if theta is not None:
        direction = torch.as_tensor(theta, dtype=torch.float64, device=geometry.device)
        if direction.shape != (geometry.dim,) or not bool(torch.isfinite(direction).all()):
            raise DesignError(f"theta has shape {tuple(direction.shape)}; this space needs {geometry.dim} numbers.")
        eta = geometry.plain.linear(direction)
    spread = torch.ones_like(eta)  # s^2
    if nuisance is not None:
        spread = 1.0 + ATTENUATION * nuisance_variance(geometry, nuisance, tau2)
    scale = spread.sqrt()
    information = graded_information(eta, (0.0,) if thresholds is None else thresholds, scale=scale)
    return (4.0 * information).clamp_min_(LEAST)


def nuisance_variance(
    geometry: Geometry, nuisance: np.ndarray | Tensor, tau2: float | Sequence[float] | np.ndarray
) -> Tensor:
    """sum_k tau2_k (u_ik - u_jk)^2 of every pair, one structured pass over the nuisance coordinates (N, k). (pairs,).

    Raises DesignError.
    """
    u = torch.as_tensor(nuisance, dtype=torch.float64, device=geometry.device)
    u = u[:, None] if u.ndim == 1 else u
    given = np.asarray(tau2, dtype=float)
    if given.ndim > 1 or (given.ndim == 1 and given.shape != (u.shape[1],)):
        raise DesignError(f"{given.size} nuisance variances for {u.shape[1]} nuisance columns; give one, or one each.")
    if not bool(torch.isfinite(u).all()) or not (np.isfinite(given) & (given >= 0)).all():
        raise DesignError("nuisance coordinates must be finite and their variance finite and not negative.")
    variance = np.broadcast_to(given, (u.shape[1],)).copy()
    root = torch.diag(torch.as_tensor(variance, dtype=torch.float64, device=geometry.device).sqrt())
    return geometry.over(u).quadratic(root)


def graded_information(eta: Tensor, thresholds: Sequence[float], *, scale: Tensor | None = None) -> Tensor:
    """J(eta) = sum_k p_k'^2 / p_k of a graded answer with P(answer <= k) = sigma((threshold_k - eta) / scale).

    eta, scale: (m,). thresholds: (K - 1,) rising, between K answers from "right, much" to "left, much"; (0,) is the
    binary answer with J = sigma'(eta). With F_k the chances above, p_k' = -p_k (1 - F_k - F_{k-1}) / scale, so
    J = sum_k p_k (1 - F_k - F_{k-1})^2 / scale^2: nothing is divided by a small chance. Returns (m,).
    Raises DesignError.
    """
    steps = [float(step) for step in thresholds]
    rising = all(a < b for a, b in pairwise(steps))
    if not steps or not rising or not all(math.isfinite(step) for step in steps):
        raise DesignError(f"thresholds of graded answers {steps} must be finite and rising; (0,) is left or right.")
    s = torch.ones_like(eta) if scale is None else scale
    out = torch.zeros_like(eta)
    edges = [(step - eta) / s for step in steps]
    for k in range(len(edges) + 1):
        above, below = edges[k] if k < len(edges) else None, edges[k - 1] if k else None
        p = _between(below, above)
        F = torch.zeros_like(eta)
        for edge in (above, below):
            F += 0.0 if edge is None else torch.sigmoid(edge)
        F += 1.0 if above is None else 0.0
        out += p * (1.0 - F).square()
    return out / s.square()


def _between(below: Tensor | None, above: Tensor | None) -> Tensor:
    """sigma(above) - sigma(below) without cancellation: sigma(a) - sigma(b) = (1 - e^(b-a)) sigma(a) sigma(-b)."""
    if below is None:
        assert above is not None
        return torch.sigmoid(above)
    if above is None:
        return torch.sigmoid(-below)
    return -torch.expm1(below - above) * torch.sigmoid(above) * torch.sigmoid(-below)
