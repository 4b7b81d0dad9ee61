"""A criterion's value and derivatives held against its own formula written out, by finite differences over every pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from curation.design.geometry import Geometry
from tests.desk.builders import explicit_vectors


def assert_derivatives(criterion: Any, explicit: Callable[..., float], geometry: Geometry, *, seed: int) -> None:
    """explicit: (criterion, vectors (m, d), weights (m,)) to f."""
    z = explicit_vectors(geometry)
    w = np.random.default_rng(seed).dirichlet(np.full(geometry.pairs, 3.0))
    information = geometry.information(torch.as_tensor(w))
    point = criterion.at(information)
    assert point.value == pytest.approx(explicit(criterion, z, w))
    assert criterion.value(information) == pytest.approx(point.value)
    q = geometry.quadratic(point.root).numpy()
    gradient, hessian = point.curvature(torch.as_tensor(z))
    assert gradient.numpy() == pytest.approx(-q, rel=1e-9)
    matrices = torch.as_tensor(z[:, :, None] * z[:, None, :])
    slopes, bends = point.mixture(matrices)
    assert slopes.numpy() == pytest.approx(-q, rel=1e-9)
    assert bends.numpy() == pytest.approx(hessian.numpy(), rel=1e-7, abs=1e-9)
    eye = np.eye(geometry.pairs) * 1e-5
    for e in range(geometry.pairs):
        up, down = explicit(criterion, z, w + eye[e]), explicit(criterion, z, w - eye[e])
        assert (up - down) / 2e-5 == pytest.approx(-q[e], rel=1e-5)
        sides = [
            geometry.quadratic(criterion.at(geometry.information(torch.as_tensor(w + sign * eye[e]))).root).numpy()
            for sign in (1, -1)
        ]
        assert -(sides[0] - sides[1]) / 2e-5 == pytest.approx(hessian[e].numpy(), rel=1e-4, abs=1e-6)
