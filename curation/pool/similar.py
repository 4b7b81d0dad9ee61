"""Texts that are nearly the same anywhere in a pool: MinHash finds candidates, the exact similarity decides."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from curation.pool.checks import SHINGLE, words_of

PERMUTATIONS = 64
SLACK = 0.15  # the sketches are asked for pairs this much below the threshold, so that few are missed


def shingles(text: str) -> frozenset[bytes]:
    """The word 3-grams of a text, case and punctuation ignored; a text of fewer words is one gram."""
    words = words_of(text)
    if not words:
        return frozenset()
    last = max(1, len(words) - SHINGLE + 1)
    return frozenset(" ".join(words[i : i + SHINGLE]).encode() for i in range(last))


def similar_groups(texts: Sequence[str], *, near: float) -> list[list[int]]:
    """Groups of texts each of which has Jaccard similarity >= near with another of its group; positions, ascending.

    Equal texts count as similar. Sketches are of 64 hashes: a pair right at the threshold may be missed, a pair below
    it is never reported. Texts without a word are in no group.
    """
    from datasketch import MinHash, MinHashLSH

    grams = [shingles(text) for text in texts]
    first: dict[frozenset[bytes], int] = {}
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, gram in enumerate(grams):  # equal sets need no sketch
        if gram:
            parent[root(i)] = root(first.setdefault(gram, i))
    base = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
    index = MinHashLSH(threshold=max(near - SLACK, 0.1), num_perm=PERMUTATIONS)
    for gram, i in first.items():
        sketch = base.copy()
        sketch.update_batch(sorted(gram))
        for j in index.query(sketch):
            other = grams[j]
            if root(i) != root(j) and len(gram & other) >= near * len(gram | other):
                parent[root(i)] = root(j)
        index.insert(i, sketch)
    groups: dict[int, list[int]] = {}
    for i, gram in enumerate(grams):
        if gram:
            groups.setdefault(root(i), []).append(i)
    return sorted(group for group in groups.values() if len(group) > 1)
