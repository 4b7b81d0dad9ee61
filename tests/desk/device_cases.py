"""Designs of every kind of constraint, on the device that is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from curation.design.criteria.trace import make_criterion
from curation.design.factors import pair_factor
from curation.design.geometry import Geometry
from curation.design.sets.feasible import Feasible
from curation.design.sets.limits import Limits, MeanLimit
from curation.design.sets.make import make_feasible
from tests.desk.builders import random_fisher

PROMPTS, SIZE, DIM, BUDGET = 8, 5, 4, 14


def geometry_on(device: str, *, factor: bool = False) -> Geometry:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((PROMPTS * SIZE, DIM)) * [2, 1.5, 1, 0.7]
    edges: list[np.ndarray | None] = [None] * PROMPTS
    edges[1] = np.array([[0, 1], [0, 4], [2, 3]])
    made = Geometry(
        rows, np.arange(PROMPTS + 1) * SIZE, prompt_weights=rng.uniform(0.5, 2, PROMPTS), edges=edges, device=device
    )
    return made.with_factor(pair_factor(made, theta=np.array([0.5, -0.2, 0.1, 0.0]))) if factor else made


def limits_of(geometry: Geometry, name: str) -> Limits:
    rng = np.random.default_rng(1)
    costs = rng.uniform(0.5, 2.0, geometry.pairs)
    lengths = rng.uniform(0, 1, geometry.pairs)
    strata = np.arange(PROMPTS) % 2
    given: dict[str, Limits] = {
        "plain": Limits(),
        "quotas": Limits(strata=strata, quotas={0: (4.0, 8.0)}),
        "costs": Limits(costs=costs),
        "costs and caps": Limits(costs=costs, per_prompt=3.0),
        "caps": Limits(per_prompt=3.0),
        "shares": Limits(generators=np.tile(np.arange(SIZE), PROMPTS), generator_share=0.5),
        "mean length": Limits(means=(MeanLimit("mean length (--max-length-difference)", lengths, 0.45),)),
        "all": Limits(
            strata=strata, quotas={0: (4.0, 9.0)}, generators=np.tile(np.arange(SIZE), PROMPTS), generator_share=0.6,
            means=(MeanLimit("mean length (--max-length-difference)", lengths, 0.48),),
        ),
    }  # fmt: skip
    return given[name]


def problem(
    device: str, spread: Any, r: float, name: str, *, pins: bool = True, factor: bool = False
) -> tuple[Any, Feasible]:
    geometry = geometry_on(device, factor=factor)
    first = geometry.pair_offsets.tolist()
    feasible = make_feasible(
        geometry, budget=BUDGET, max_labels_per_pair=r, spread=spread, limits=limits_of(geometry, name),
        pinned={first[0]: 1.0, first[3] + 1: min(r, 2.0)} if pins else (), excluded=[first[2] + 1] if pins else (),
    )  # fmt: skip
    previous = torch.as_tensor(np.eye(DIM) * 0.01)
    return make_criterion(geometry, random_fisher(0, DIM), ridge=0.1, power=0.5, previous=previous), feasible
