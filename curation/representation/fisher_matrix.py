"""Which directions matter: response probabilities of the reference and the Fisher matrix they give."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curation.errors import RepresentationError
from curation.representation.fisher.base import FISHERS, Given, Probabilities
from curation.representation.segments import check_offsets, segment_sums, spread_rows

_REMEDY = "run `python -m curation features` with a language model, or use --fisher uniform"


def response_probabilities(
    phi: ArrayLike,
    offsets: ArrayLike,
    *,
    logprob: ArrayLike | None,
    kind: str,
    temperature: float = 1.0,
    n_tokens: ArrayLike | None = None,
) -> Probabilities:
    """Probability of each response among the candidates of its prompt (docs/method.md section 2).

    phi: (N, d). logprob: (N,) nats, nan where unknown, or None. kind: a module of the folder `fisher`. temperature,
    n_tokens (N,): of the kinds they count for. Raises RepresentationError when log-probabilities that were asked for
    are missing.
    """
    space = np.asarray(phi, dtype=np.float64)
    bounds = check_offsets(offsets, space.shape[0])
    values = np.full(space.shape[0], np.nan) if logprob is None else np.asarray(logprob, dtype=np.float64)
    if values.shape != (space.shape[0],):
        raise RepresentationError(f"{values.size} log-probabilities for {space.shape[0]} responses; give one each.")
    tokens = None if n_tokens is None else np.asarray(n_tokens, dtype=np.float64)
    given = Given(space, bounds, values, temperature, tokens)
    asked = FISHERS[kind]
    if asked.needs_logprobs and given.lacking:
        raise RepresentationError(
            f"--fisher {kind} needs a reference log-probability for every response, but {given.lacking}; {_REMEDY}."
        )
    return asked.probabilities(given)


def fisher_matrix(phi: ArrayLike, offsets: ArrayLike, p: ArrayLike, prompt_weights: ArrayLike) -> NDArray[np.float64]:
    """M = sum_x omega_x Cov_p[phi], (d, d), symmetric positive semidefinite (docs/method.md section 2).

    phi: (N, d). p: (N,), sums to 1 in each prompt. prompt_weights: (P,), 0 or more. Raises RepresentationError when
    shapes do not fit.
    """
    space = np.asarray(phi, dtype=np.float64)
    bounds = check_offsets(offsets, space.shape[0])
    probability = np.asarray(p, dtype=np.float64)
    weights = np.asarray(prompt_weights, dtype=np.float64)
    if probability.shape != (space.shape[0],) or weights.shape != (bounds.size - 1,):
        raise RepresentationError(
            f"{probability.size} probabilities and {weights.size} prompt weights do not fit {space.shape[0]} "
            f"responses of {bounds.size - 1} prompts."
        )
    if np.any(weights < 0) or not np.isfinite(weights).all():
        raise RepresentationError("a prompt weight is negative or not finite; weights are 0 or more.")
    means = segment_sums(space * probability[:, None], bounds)
    rows = space - spread_rows(means, bounds)
    rows *= np.sqrt(spread_rows(weights, bounds) * probability)[:, None]
    product = rows.T @ rows
    return np.asarray((product + product.T) / 2, dtype=np.float64)
