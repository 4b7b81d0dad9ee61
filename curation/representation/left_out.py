"""How well log-probabilities are explained on prompts that the fit has not seen, by features and by length alone.

A fit with as many coordinates as answers explains anything it has seen: permuted log-probabilities, too. And summed
log-probabilities of long texts differ by their length before anything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from curation.errors import RepresentationError
from curation.representation.segments import centre_within, check_offsets

FOLDS = 5
_ROUNDING = 1e-24  # of the largest squared log-probability: what equal ones differ by
_TINY = 1e-9  # ridge of the regression on length, as a share of the mean variance


@dataclass(frozen=True)
class LeftOut:
    """Shares of the within-prompt variance of log-probabilities on left-out prompts; below 0: worse than nothing.

    features: explained by the features. length: by length alone, None where it is unknown.
    """

    features: float
    length: float | None
    folds: int

    def clause(self) -> str:
        """For people: both shares, and what follows."""
        said = f"on prompts left out of the fit the features explain {_percent(self.features)} of them"
        if self.length is None:
            return said
        beside = f"{said}, length alone {_percent(self.length)}"
        return (
            f"{beside}: what is explained is that answers differ in length" if self.length >= self.features else beside
        )


def left_out(
    phi: ArrayLike,
    offsets: ArrayLike,
    logprob: ArrayLike,
    lengths: ArrayLike | None = None,
    *,
    ridge_share: float,
    folds: int = FOLDS,
) -> LeftOut | None:
    """R squared of ridge regression of centred log-probabilities on centred features, over prompts left out by turns.

    phi: (N, d). offsets: (P + 1,). logprob: (N,) nats, finite. lengths: (N,) or (N, k), 0 or more, tokens or
    characters; log(1 + length) and length are regressed on. ridge_share: ridge as a share of the mean variance per
    coordinate. Every prompt is predicted once, by a fit on others. None where fewer than two prompts have
    log-probabilities that differ. Raises RepresentationError when shapes do not fit.
    """
    space = np.asarray(phi, dtype=np.float64)
    bounds = check_offsets(offsets, space.shape[0])
    values = np.asarray(logprob, dtype=np.float64)
    if values.shape != (space.shape[0],):
        raise RepresentationError(f"{values.size} log-probabilities for {space.shape[0]} responses; give one each.")
    target = centre_within(values, bounds)
    prompts = bounds.size - 1
    told = np.add.reduceat(target**2, bounds[:-1]) if prompts else np.zeros(0)
    if np.count_nonzero(told > _ROUNDING * max(float(np.max(values**2, initial=0.0)), 1e-300)) < 2:
        return None
    folds = min(folds, prompts)
    order = np.random.default_rng(0).permutation(prompts)
    fold = np.empty(prompts, dtype=np.int64)
    fold[order] = np.arange(prompts) % folds
    owner = np.repeat(fold, np.diff(bounds))
    return LeftOut(
        features=_share(centre_within(space, bounds), target, owner, folds, ridge_share),
        length=None if lengths is None else _by_length(lengths, bounds, target, owner, folds),
        folds=folds,
    )


def _by_length(
    lengths: ArrayLike, bounds: NDArray[np.int64], target: NDArray[np.float64], owner: NDArray[np.int64], folds: int
) -> float:
    size = np.asarray(lengths, dtype=np.float64)
    if size.shape[:1] != target.shape or not (np.isfinite(size).all() and (size >= 0).all()):
        raise RepresentationError(f"{size.shape[0]} lengths for {target.size} responses; give one of 0 or more each.")
    columns = size.reshape(len(size), -1)
    centred = centre_within(np.concatenate([np.log1p(columns), columns], axis=1), bounds)
    spread = np.sqrt((centred**2).mean(axis=0))
    kept = spread > 0
    if not kept.any():
        return 0.0
    return _share(centred[:, kept] / spread[kept], target, owner, folds, _TINY)


def _share(
    rows: NDArray[np.float64], target: NDArray[np.float64], owner: NDArray[np.int64], folds: int, ridge_share: float
) -> float:
    """1 - squared error over the folds / sum of squares. rows: (N, d), target: (N,), both centred within prompts."""
    parts = [rows[owner == k] for k in range(folds)]
    wanted = [target[owner == k] for k in range(folds)]
    grams = [part.T @ part for part in parts]
    sides = [part.T @ want for part, want in zip(parts, wanted, strict=True)]
    gram, side, d = sum(grams), sum(sides), rows.shape[1]
    error = 0.0
    for k in range(folds):
        rest = gram - grams[k]
        ridge = ridge_share * float(np.trace(rest)) / d
        if ridge <= 0:  # the features do not differ in the prompts that are left: they predict nothing
            error += float(wanted[k] @ wanted[k])
            continue
        theta = scipy.linalg.solve(rest + ridge * np.eye(d), side - sides[k], assume_a="pos")
        error += float(np.sum((wanted[k] - parts[k] @ theta) ** 2))
    return 1.0 - error / float(target @ target)


def _percent(share: float) -> str:
    return f"{max(share, 0.0):.0%}" if share > -0.005 else "none"
