"""A map of pair feature differences in two dimensions, on which a pair and its mirror are the same point."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from curation.design.geometry import Geometry
from curation.errors import DesignError

MOST = 3000  # points of one map: the distance matrix is dense
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


def project_pairs(vectors: np.ndarray, *, seed: int = 0, neighbors: int = 15, min_dist: float = 0.1) -> Projection:
    """UMAP of the mirror distance; classical scaling for fewer than 15 pairs. vectors: (m, d), m <= 3000."""
    vectors = np.asarray(vectors, dtype=float)
    m = len(vectors)
    if m > MOST:
        raise DesignError(f"{m} pairs are too many for one map; draw at most {MOST}.")
    if m == 0:
        return Projection(np.zeros((0, 2)), "no pairs")
    distance = mirror_distance(vectors)
    if m < FEWEST or float(distance.max()) == 0.0:
        return Projection(_classical(distance), f"classical scaling ({m} pairs are too few for UMAP)")
    with _torch_threads_kept(), warnings.catch_warnings():
        import umap

        warnings.simplefilter("ignore")
        mapper = umap.UMAP(
            metric="precomputed",
            n_neighbors=min(neighbors, m - 1),
            min_dist=min_dist,
            random_state=seed,
            init="random" if m < 50 else "spectral",
        )
        coordinates = np.asarray(mapper.fit_transform(distance), dtype=float)
    return Projection(coordinates, f"UMAP, {min(neighbors, m - 1)} neighbours, minimum distance {min_dist:g}")


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
    geometry: Geometry, weights: np.ndarray, batch_pairs: np.ndarray, *, limit: int = 1500, seed: int = 0
) -> np.ndarray:
    """Pair numbers to draw: the batch, then the support by weight, then others at random. At most `limit` (<= 3000)."""
    limit = min(limit, MOST)
    chosen = np.asarray(batch_pairs, dtype=np.int64)[:limit]
    support = np.flatnonzero(weights > 0)
    support = support[np.argsort(-weights[support], kind="stable")]
    extra = support[~np.isin(support, chosen)][: max(0, (limit - len(chosen)) // 2)]
    chosen = np.concatenate([chosen, extra])
    rest = limit - len(chosen)
    if rest > 0 and geometry.pairs > len(chosen):
        rng = np.random.default_rng(seed)
        others = rng.choice(geometry.pairs, size=min(geometry.pairs, rest + len(chosen)), replace=False)
        chosen = np.concatenate([chosen, others[~np.isin(others, chosen)][:rest]])
    return np.sort(chosen)
