"""The stated problems of the performance table: generators, seeds, sizes, and how a call is timed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from curation.design.criteria.base import Criterion
    from curation.design.geometry import Geometry
    from curation.design.sets.feasible import Feasible


RIDGE = 0.06  # relative


SIMPLEX = 500  # budget that the simplex rows name; it changes nothing there


@dataclass(frozen=True)
class Work:
    """One row: a shape of generator G, a feasible set and the certificate to reach. prompts x candidates, d = dim."""

    name: str
    budget: int
    spread: Any
    gap: float = 1.0
    open: float = 1.0
    most: float = 1.0
    prompts: int = 805
    candidates: int = 19
    dim: int = 128

    @property
    def shape(self) -> tuple[int, int, int]:
        """Prompts, candidates, dimensions."""
        return self.prompts, self.candidates, self.dim


def _rows() -> tuple[Work, ...]:
    free = [Work(f"free, r = 1, n = {n:,}", n, "free", gap=1e-6) for n in (175, 500, 2_000, 20_000, 68_827)]
    balanced = [Work(f"balanced, n = {n:,}", n, "balanced", open=1e-5) for n in (175, 500, 805, 2_000)]
    capped = [Work(f"capped, n = {n:,}", n, "capped", open=1e-5) for n in (175, 500, 2_000)]
    simplex = Work("free, r = inf", SIMPLEX, "free", gap=1e-6, most=math.inf)
    return (
        simplex,
        *free,
        *balanced,
        *capped,
        replace(simplex, candidates=57),
        Work("balanced, n = 805", 805, "balanced", open=1e-4, candidates=57),
        replace(simplex, candidates=227),
        Work("capped, n = 80,400", 80_400, "capped", open=1e-4, prompts=160_800, candidates=2),
    )


ROWS = _rows()


QUICK = tuple(
    replace(work, name=f"{work.spread}, n = 30", prompts=40, candidates=8, dim=12, budget=30)
    for work in ROWS
    if work.name in ("free, r = inf", "free, r = 1, n = 175", "balanced, n = 500", "capped, n = 500")
)


def generator(prompts: int, candidates: int, dim: int, *, seed: int = 0) -> np.ndarray:
    """Generator G: N(0, 1) times k^-0.7 in coordinate k, times Gamma(2, 1) per row. Returns (N, dim)."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((prompts * candidates, dim)) * np.arange(1, dim + 1) ** -0.7
    scaled: np.ndarray = rows * rng.gamma(2.0, 1.0, size=len(rows))[:, None]
    return scaled


def problem(
    prompts: int, candidates: int, dim: int, *, ridge: float = RIDGE, device: str = "cpu"
) -> tuple[Geometry, Criterion]:
    """Geometry and criterion (uniform Fisher) of generator G, seed 0."""
    import torch

    from curation.design.criteria.trace import make_criterion
    from curation.design.geometry import Geometry

    rows = generator(prompts, candidates, dim)
    geometry = Geometry(rows, np.arange(prompts + 1) * candidates, device=device)
    blocks = rows.reshape(prompts, candidates, dim)
    centred = (blocks - blocks.mean(1, keepdims=True)).reshape(-1, dim)
    return geometry, make_criterion(geometry, torch.as_tensor(centred.T @ centred / len(rows)), ridge=ridge)


def feasible_of(geometry: Geometry, work: Work, **changes: Any) -> Feasible:
    """The feasible set of a row."""
    from curation.design.sets.make import make_feasible

    given = {"budget": work.budget, "max_labels_per_pair": work.most, "spread": work.spread}
    return make_feasible(geometry, **(given | changes))


def timed(call: Callable[[], Any], repeats: int, device: str = "cpu") -> tuple[list[float], Any]:
    """Seconds of every call, and the last result."""
    import torch

    seconds, result = [], None
    for _ in range(repeats):
        started = time.perf_counter()
        result = call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds, result
