"""What labels that came back are worth: the criterion of the batch with them, against the criterion planned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from curation.batch.folder import (
    BatchFolder,
    read_information,
)
from curation.pool.labels import Label


def _counted(labels: Sequence[Label]) -> Counter[str]:
    """Labels per pair, skips left out: a tie teaches as much as a win."""
    return Counter(label.pair_id for label in labels if label.outcome != "skip")


def realised_information(batch: BatchFolder, labels: Sequence[Label]) -> dict[str, float] | None:
    """`information_of` the pairs that came back labelled."""
    return information_of(batch, _counted(labels))


def information_of(batch: BatchFolder, counts: Mapping[str, int]) -> dict[str, float] | None:
    """The criterion of the whole batch, of the pairs counted, and their ratio (1: nothing was lost).

    counts: pair_id -> labels, of which up to the copies that were planned count. None for a batch folder that does not
    hold its criterion.
    """
    from curation.design.criteria.base import cholesky

    stored = read_information(batch)
    if stored is None:
        return None
    import torch

    fisher, prior, selected = torch.as_tensor(stored[0]), torch.as_tensor(stored[1]), stored[2]
    n = float(batch.manifest["labels"])
    got = np.array([counts.get(pair, 0) for pair in selected.pair_ids], dtype=float)
    z = torch.as_tensor(selected.sensitivities.copy())

    def value(weights: np.ndarray) -> float:
        S = z.T @ (z * torch.as_tensor(weights / n)[:, None]) + prior
        return float(torch.trace(torch.cholesky_solve(fisher, cholesky(S))))

    copies = selected.copies.astype(float)
    planned, realised = value(copies), value(np.minimum(got, copies))
    return {
        "planned": planned,
        "realised": realised,
        "share": planned / realised,
        "labelled_pairs": float((got > 0).sum()),
        "pairs": float(len(got)),
    }
