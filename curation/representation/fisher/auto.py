"""The first of the other kinds, by rank, that will do."""

from __future__ import annotations

from curation.errors import RepresentationError
from curation.representation.fisher.base import FISHERS, Given, Kind, Probabilities


def probabilities(given: Given) -> Probabilities:
    """Those of the first kind that gives itself unasked; its reason says why the ones before it would not do."""
    refused: list[str] = []
    for kind in FISHERS:
        if kind.unasked is None:
            continue
        lacking = given.lacking if kind.needs_logprobs else ""
        found = lacking or kind.unasked(given, " and ".join(refused))
        if isinstance(found, Probabilities):
            return found
        refused.append(found)
    raise RepresentationError(f"no Fisher matrix will do by itself: {' and '.join(refused)}; name one with --fisher.")


PLUG = Kind(name="auto", rank=0, probabilities=probabilities, chooses=True)
