"""How much of a batch is about answer length: how far its pairs differ in it, and how much of its score goes with it.

Of a pair e with z_e, and u_e its difference of log(1 + characters), let q_e = z_e' B z_e with B = S^-1 M S^-1 be the
score it is chosen for under the design's S (docs/method.md sections 5 and 9). Regress z on u over the labels, through
the origin, because a pair and its mirror are the same: the part of z that goes with length is c u, with
c = sum w u z / sum w u^2, and the remainder is uncorrelated with u. So the scores split without a cross term, and

    share = c'Bc sum w u^2 / sum w q

is the part of the labels' summed score that their length differences explain: R^2 of the regression in the criterion's
metric. It is 1 where pairs differ in nothing but length, and does not need a coordinate of its own for length. By
chance alone one regressor explains 1/m of m labels; that is taken off as in an adjusted R^2. Uniform labels under the
same constraints are measured by the same B.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.geometry import Geometry
from curation.design.result import Design
from curation.design.sets.feasible import Feasible
from curation.design.sets.uniform import uniform_design, uniform_information

Array = NDArray[np.float64]
_CHUNK = 1 << 20  # pairs at a time, so that no long array stands beside the weights


@dataclass(frozen=True)
class LengthShare:
    """What a batch has to do with answer length.

    difference: mean |difference of log(1 + characters)| of its labels, so the log of the factor (geometric mean) by
    which the lengths of a pair differ. uniform_difference: of uniform labels under the same constraints;
    pool_difference: of all pairs. share, uniform_share: of the score that labels are chosen for, what their length
    differences explain, 0 to 1; None where the two answers of every pair are equally long.
    """

    difference: float
    uniform_difference: float
    pool_difference: float
    share: float | None
    uniform_share: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> LengthShare:
        """Back from JSON."""
        return cls(**{name: kept[name] for name in cls.__dataclass_fields__})

    def sentence(self) -> str:
        """Both figures in words, uniform's beside them."""
        apart = (
            f"Its pairs differ in length by a factor of {math.exp(self.difference):.2f} on average (uniform labels: "
            f"{math.exp(self.uniform_difference):.2f}; all pairs: {math.exp(self.pool_difference):.2f})."
        )
        if self.share is None or self.uniform_share is None:
            return f"Answers of a prompt are equally long, so nothing lies along length. {apart}"
        return (
            f"{self.share:.0%} of what this batch is chosen for lies along answer length (uniform labels: "
            f"{self.uniform_share:.0%}). {apart}"
        )


def sentence_of_batch(manifest: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    """The sentence of a batch folder; of one from before 0.3.0, which kept no share, what its texts say."""
    if kept := manifest.get("length"):
        return LengthShare.from_dict(kept).sentence()
    copies = np.array([record["copies"] for record in records], dtype=np.float64)
    apart = [abs(math.log1p(len(record["response_a"])) - math.log1p(len(record["response_b"]))) for record in records]
    factor = math.exp(float(copies @ np.array(apart)) / max(float(copies.sum()), 1.0))
    return f"Its pairs differ in length by a factor of {factor:.2f} on average."


def length_share(
    criterion: Criterion,
    feasible: Feasible,
    design: Design,
    lengths: ArrayLike,
    pairs: NDArray[np.int64],
    copies: NDArray[np.int64],
) -> LengthShare:
    """The labels of a batch, `copies` (m,) on `pairs` (m,), against answer length. lengths: (N,) in characters."""
    geometry = feasible.geometry
    log_length = np.log1p(np.asarray(lengths, dtype=np.float64))
    metric = criterion.at(geometry.information(design.weights)).B
    every = np.arange(geometry.pairs)
    share = copies / copies.sum()
    taught = geometry.information_of(*(torch.as_tensor(each, device=geometry.device) for each in (pairs, share)))
    batch = _measure(geometry, metric, log_length, np.asarray(pairs), share, taught)
    uniform = _measure(
        geometry, metric, log_length, every, uniform_design(feasible).cpu().numpy(), uniform_information(feasible)
    )
    apart = float(geometry.difference(torch.as_tensor(log_length, device=geometry.device)).abs().mean())
    return LengthShare(batch[0], uniform[0], apart, batch[1], uniform[1])


def _measure(
    geometry: Geometry,
    metric: Tensor,
    log_length: Array,
    pairs: NDArray[np.int64],
    weights: Array,
    information: Tensor,
) -> tuple[float, float | None]:
    """Mean |u| and share of the score that u explains, over pairs (m,) with weights (m,) of sum 1 and their Sigma."""
    node = np.zeros(len(log_length))  # so that Phi' node = sum w u z, without building z
    distance = square = 0.0
    for start in range(0, len(pairs), _CHUNK):
        first, second = geometry.endpoints(pairs[start : start + _CHUNK])
        part = weights[start : start + _CHUNK]
        u = log_length[first] - log_length[second]
        node += np.bincount(first, part * u, minlength=len(node)) - np.bincount(second, part * u, minlength=len(node))
        distance += float(part @ np.abs(u))
        square += float(part @ u**2)
    score = float((metric * information).sum())
    if square <= 1e-24 or score <= 0:
        return distance, None
    along = geometry.features.T @ torch.as_tensor(node, device=geometry.device)
    explained = float(along @ metric @ along) / (square * score)
    effective = 1.0 / float(np.square(weights).sum())
    by_chance = (1.0 - explained) / max(effective - 1.0, 1.0)
    return distance, min(max(explained - by_chance, 0.0), 1.0)
