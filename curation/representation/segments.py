"""Sums and means over the rows of each prompt: prompt x owns rows offsets[x]:offsets[x+1]."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curation.errors import RepresentationError


def check_offsets(offsets: ArrayLike, n_rows: int) -> NDArray[np.int64]:
    """The offsets as int64 (P+1,). Raises RepresentationError unless they cut n_rows rows into non-empty prompts."""
    bounds = np.asarray(offsets, dtype=np.int64)
    if bounds.ndim != 1 or bounds.size < 2 or bounds[0] != 0 or bounds[-1] != n_rows or np.any(np.diff(bounds) < 1):
        raise RepresentationError(
            f"offsets do not cut the {n_rows} responses into prompts: they must rise from 0 to {n_rows} with at "
            "least one response per prompt; use the pool's own offsets."
        )
    return bounds


def segment_sums(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of each prompt's rows. values: (N,) or (N, d). Returns (P,) or (P, d)."""
    counts = np.diff(offsets)
    if counts.size and np.all(counts == counts[0]):  # one size: a reshape is several times faster than reduceat
        shaped = values.reshape(counts.size, int(counts[0]), *values.shape[1:])
        return np.asarray(shaped.sum(axis=1), dtype=np.float64)
    return np.asarray(np.add.reduceat(values, offsets[:-1], axis=0), dtype=np.float64)


def segment_max(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Largest value of each prompt. values: (N,). Returns (P,)."""
    return np.asarray(np.maximum.reduceat(values, offsets[:-1]), dtype=np.float64)


def spread_rows(per_prompt: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Repeat each prompt's value on each of its rows. per_prompt: (P,) or (P, d). Returns (N,) or (N, d)."""
    return np.repeat(per_prompt, np.diff(offsets), axis=0)


def centre_within(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Subtract each prompt's mean from its rows. values: (N,) or (N, d), any float type; returns float64."""
    exact = np.asarray(values, dtype=np.float64)
    counts = np.diff(offsets).astype(np.float64)
    means = segment_sums(exact, offsets) / (counts if exact.ndim == 1 else counts[:, None])
    return exact - spread_rows(means, offsets)


def softmax_within(logits: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Softmax over the candidates of each prompt. logits: (N,). Returns (N,), summing to one per prompt."""
    shifted = np.exp(logits - spread_rows(segment_max(logits, offsets), offsets))
    return np.asarray(shifted / spread_rows(segment_sums(shifted, offsets), offsets), dtype=np.float64)


def effective_candidates(p: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """exp of the entropy of p in each prompt, (P,): K when all are alike, 1 when one takes all."""
    terms = np.where(p > 0, -p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    return np.asarray(np.exp(segment_sums(terms, offsets)), dtype=np.float64)
