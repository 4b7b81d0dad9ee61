"""Sequences sorted by length and cut into batches: within a token budget, and with little padding."""

from __future__ import annotations

from collections.abc import Sequence

TIGHT = 0.8  # a batch that is large enough takes nothing shorter than this share of its longest sequence
ENOUGH = 8  # large enough: this part of the budget


def packed(sizes: Sequence[int], budget: int, *, before: int = 0, held: int = 0) -> list[list[int]]:
    """Indices of `sizes`, longest first, cut into batches whose padded size stays within `budget` tokens.

    before: tokens that stand before every sequence without being read; held: bound on a batch's tokens with them,
    0 for none. A sequence longer than the budget stands alone.
    """
    out: list[list[int]] = []
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        if out:
            count, longest = len(out[-1]), sizes[out[-1][0]]
            fits = (count + 1) * longest <= budget and (not held or (count + 1) * (before + longest) <= held)
            if fits and (sizes[i] >= TIGHT * longest or count * longest * ENOUGH < budget):
                out[-1].append(i)
                continue
        out.append([i])
    return out
