"""UMAP of vectors on which z and -z are the same point; run as a program, it waits for vectors and answers.

Nothing here needs torch, so that a small process of its own can hold what UMAP compiles (`dashboard.map_worker`).
"""

from __future__ import annotations

import io
import sys
import warnings
from typing import BinaryIO

import numpy as np

NEIGHBOURS, MIN_DIST = 15, 0.1
BLOCK = 1024  # rows of distances held at once
MANY = 2000  # points above which fewer rounds suffice
ROUNDS, ROUNDS_OF_MANY = 500, 200


def nearest(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest rows of every row, itself first, by min(|a - b|, |a + b|). vectors: (m, d).

    Returns numbers and distances, (m, count) each, the distances rising.
    """
    m = len(vectors)
    norms = np.einsum("ij,ij->i", vectors, vectors)
    numbers, distances = np.empty((m, count), np.int32), np.empty((m, count), np.float32)
    for start in range(0, m, BLOCK):
        rows = vectors[start : start + BLOCK]
        squared = norms[start : start + BLOCK, None] + norms[None, :] - 2 * np.abs(rows @ vectors.T)
        own = np.arange(len(rows))
        squared[own, start + own] = -1.0  # itself, whatever rounding says
        found = np.argpartition(squared, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(squared, found, axis=1)
        order = np.argsort(near, axis=1, kind="stable")
        numbers[start : start + BLOCK] = np.take_along_axis(found, order, axis=1)
        distances[start : start + BLOCK] = np.sqrt(np.clip(np.take_along_axis(near, order, axis=1), 0.0, None))
    return numbers, distances


def embed(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Coordinates (m, 2) by UMAP, no unit; the same for the same vectors and seed. vectors: (m, d), m above 2."""
    rows = np.ascontiguousarray(one_sided(vectors), dtype=np.float32)
    m = len(rows)
    count = min(NEIGHBOURS, m - 1)
    numbers, distances = nearest(rows, count)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap.umap_ import find_ab_params, fuzzy_simplicial_set, simplicial_set_embedding

        chance = np.random.RandomState(seed)
        graph = fuzzy_simplicial_set(
            rows, count, chance, "euclidean", knn_indices=numbers, knn_dists=distances
        )[0]  # fmt: skip
        a, b = find_ab_params(1.0, MIN_DIST)
        found, _ = simplicial_set_embedding(
            rows, graph, n_components=2, initial_alpha=1.0, a=a, b=b, gamma=1.0, negative_sample_rate=5,
            n_epochs=ROUNDS if m <= MANY else ROUNDS_OF_MANY, init="random" if m < 50 else "spectral",
            random_state=chance, metric="euclidean", metric_kwds={}, densmap=False, densmap_kwds={}, output_dens=False,
        )  # fmt: skip
    return np.asarray(found, dtype=float)


def one_sided(vectors: np.ndarray) -> np.ndarray:
    """Each row or its mirror, whichever has its largest entry positive: the same for z and -z. (m, d)."""
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return np.asarray(vectors * np.where(largest < 0, -1.0, 1.0))


def warm() -> None:
    """Compile what UMAP compiles, on a few made-up points."""
    embed(np.random.default_rng(0).standard_normal((64, 4)))


def send(stream: BinaryIO, array: np.ndarray) -> None:
    """Write an array to a pipe, after its length."""
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    stream.write(len(held.getvalue()).to_bytes(8, "little") + held.getvalue())
    stream.flush()


def receive(stream: BinaryIO) -> np.ndarray | None:
    """Read what `send` wrote; None where the other end is gone."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    content = stream.read(int.from_bytes(head, "little"))
    return np.load(io.BytesIO(content), allow_pickle=False)  # type: ignore[no-any-return]


def serve() -> None:
    """Answer vectors with coordinates until nobody asks any more."""
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    warm()
    while (vectors := receive(sys.stdin.buffer)) is not None:
        send(answers, embed(vectors))


if __name__ == "__main__":
    serve()
