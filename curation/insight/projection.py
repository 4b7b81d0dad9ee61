"""A map of pair feature differences in two dimensions, on which a pair and its mirror are the same point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from curation.design.geometry import Geometry
from curation.errors import DesignError
from curation.insight.embedding import MIN_DIST, NEIGHBOURS, embed, one_sided

Embedder = Callable[[np.ndarray], np.ndarray]

MOST = 20_000  # points of one map: a browser draws no more at ease
FEWEST = 15  # below this the neighbourhood graph says nothing


@dataclass(frozen=True)
class Projection:
    """coordinates: (m, 2), no unit. method: how they came about."""

    coordinates: np.ndarray
    method: str


def mirror_distance(vectors: np.ndarray) -> np.ndarray:
    """min(|a - b|, |a + b|) of all rows: z and -z are the same pair. vectors: (m, d). Returns (m, m)."""
    gram = vectors @ vectors.T
    norms = gram.diagonal()
    squared = norms[:, None] + norms[None, :] - 2 * np.abs(gram)
    out: np.ndarray = np.sqrt(np.clip(squared, 0.0, None))
    np.fill_diagonal(out, 0.0)
    symmetric: np.ndarray = (out + out.T) / 2
    return symmetric


def project_pairs(vectors: np.ndarray, *, embedder: Embedder = embed) -> Projection:
    """UMAP of the mirror distance; classical scaling for fewer than 15 pairs. vectors: (m, d), m at most MOST.

    embedder: makes the coordinates, here or in a process that is kept warm.
    """
    vectors = np.asarray(vectors, dtype=float)
    m = len(vectors)
    if m > MOST:
        raise DesignError(f"{m} pairs are too many for one map; draw at most {MOST:,}.")
    if m == 0:
        return Projection(np.zeros((0, 2)), "no pairs")
    if m < FEWEST or not np.abs(one_sided(vectors) - one_sided(vectors)[:1]).max() > 0:
        return Projection(
            _classical(mirror_distance(vectors)), f"classical scaling ({m} pairs are too few or too alike for UMAP)"
        )
    with _torch_threads_kept():
        coordinates = embedder(vectors)
    return Projection(coordinates, f"UMAP, {min(NEIGHBOURS, m - 1)} neighbours, minimum distance {MIN_DIST:g}")


@contextmanager
def _torch_threads_kept() -> Iterator[None]:
    """numba's thread pool raises torch's number of threads for good, and what is fitted after it differs in bits."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _classical(distance: np.ndarray) -> np.ndarray:
    """Two leading coordinates of classical multidimensional scaling. distance: (m, m). Returns (m, 2)."""
    m = len(distance)
    if m == 1:
        return np.zeros((1, 2))
    centre = np.eye(m) - 1.0 / m
    values, vectors = eigh(-0.5 * centre @ np.square(distance) @ centre)
    top = np.argsort(values)[::-1][:2]
    return np.asarray(vectors[:, top] * np.sqrt(np.clip(values[top], 0.0, None)))


def sample_pairs(
    geometry: Geometry, weights: np.ndarray, batch_pairs: np.ndarray, *, candidates: int = 1500, seed: int = 0
) -> np.ndarray:
    """Pair numbers to draw: all of the batch, and `candidates` more: half at most of the design's other pairs, by
    weight, the rest at random. At most MOST in all; of a larger batch the first ones.
    """
    chosen = np.asarray(batch_pairs, dtype=np.int64)[:MOST]
    candidates = min(candidates, MOST - len(chosen))
    support = np.flatnonzero(weights > 0)
    support = support[np.argsort(-weights[support], kind="stable")]
    extra = support[~np.isin(support, chosen)][: candidates // 2]
    chosen = np.concatenate([chosen, extra])
    rest = candidates - len(extra)
    if rest > 0 and geometry.pairs > len(chosen):
        rng = np.random.default_rng(seed)
        others = rng.choice(geometry.pairs, size=min(geometry.pairs, rest + len(chosen)), replace=False)
        chosen = np.concatenate([chosen, others[~np.isin(others, chosen)][:rest]])
    return np.sort(chosen)
