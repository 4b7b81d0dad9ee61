"""Pools whose labels follow a planted direction."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from curation.insight.learning import Outcomes


def planted(seed: int, labels: int, kind: str, *, d: int = 64, strength: float = 1.5) -> tuple[Outcomes, np.ndarray]:
    """Labelled pairs, one a prompt, whose logit (standard deviation `strength`) hangs on one thing or on nothing.

    Fisher eigenvalues fall as k^-0.9 (style dominates the first), the basis is turned at random.
    """
    rng = np.random.default_rng(seed)
    values = np.arange(1, d + 1) ** -0.9
    values /= values.sum()
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
    along = rng.standard_normal((labels, d))
    length = 0.5 * rng.standard_normal(labels)
    on = {"leading": along[:, 0], "small": along[:, d // 2], "length": 2 * length, "nothing": np.zeros(labels)}[kind]
    wins = (rng.random(labels) < expit(strength * on)).astype(float)
    vectors = (along * np.sqrt(2 * values)) @ turn.T
    return Outcomes(vectors, wins, np.ones(labels), np.arange(labels), length), (turn * values) @ turn.T
