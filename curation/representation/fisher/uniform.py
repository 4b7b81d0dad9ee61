"""Every candidate alike: what candidates drawn from the reference stand for, and what always will do."""

from __future__ import annotations

from curation.representation.fisher.base import Given, Kind, Probabilities


def probabilities(given: Given) -> Probabilities:
    """1/K in a prompt of K."""
    return _alike(given, "uniform was asked for: every candidate counts alike.")


def unasked(given: Given, because: str) -> Probabilities | str:
    """The same, with why it had to be."""
    return _alike(given, f"uniform, because {because}.")


def _alike(given: Given, reason: str) -> Probabilities:
    import numpy as np

    from curation.representation.segments import spread_rows

    counts = np.diff(given.offsets).astype(np.float64)
    return Probabilities(spread_rows(1.0 / counts, given.offsets), "uniform", reason, None, counts)


PLUG = Kind(name="uniform", rank=90, probabilities=probabilities, unasked=unasked)
