"""The reference policy as it is: a softmax of the log-probabilities themselves."""

from __future__ import annotations

from curation.errors import RepresentationError
from curation.representation.fisher.base import Given, Kind, Probabilities, softmaxed


def probabilities(given: Given) -> Probabilities:
    """Softmax of log-probability / temperature, per token where token counts are given."""
    import numpy as np

    if not (given.temperature > 0 and np.isfinite(given.temperature)):
        raise RepresentationError(f"temperature {given.temperature} is not a positive number; try 1.")
    logits, per = given.logprob / given.temperature, ""
    if given.n_tokens is not None:
        if given.n_tokens.shape != logits.shape:
            raise RepresentationError(f"{given.n_tokens.size} token counts for {logits.size} responses; give one each.")
        logits, per = logits / np.maximum(given.n_tokens, 1.0), " per token"
    how = f"softmax of the log-probabilities{per} at temperature {given.temperature:g}"
    return softmaxed("empirical", given, logits, how)


PLUG = Kind(name="empirical", rank=20, probabilities=probabilities, needs_logprobs=True, tempered=True)
