"""Which directions matter: response probabilities of the reference and the Fisher matrix they give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from curation.errors import RepresentationError
from curation.representation.segments import (
    centre_within,
    check_offsets,
    segment_sums,
    softmax_within,
    spread_rows,
)
from curation.settings import FisherKind

RIDGE_SHARE = 1e-3  # ridge of the log-probability regression, as a share of the mean variance per coordinate
MIN_EFFECTIVE = 2.0  # `auto` wants at least this many effective candidates in the median prompt
CROWDED = 1.5  # effective candidates below which one of them has nearly all mass
MANY = 0.1  # share of such prompts that is worth a warning
_REMEDY = "run `python -m curation features` with a language model, or use --fisher uniform"


@dataclass(frozen=True)
class Probabilities:
    """Probability of each candidate of its prompt, and how it was come by."""

    p: NDArray[np.float64]  # (N,), sums to 1 in each prompt
    kind: FisherKind  # the kind used, never "auto"
    reason: str  # one sentence for people
    fit_r2: float | None  # share of the within-prompt log-probability variance that theta_0 explains
    effective: NDArray[np.float64]  # (P,) exp of the entropy: the effective number of candidates

    @property
    def crowded(self) -> float:
        """Share of the prompts in which nearly all mass sits on one candidate."""
        return float(np.mean(self.effective < CROWDED))

    def warning(self) -> str | None:
        """What to know where the mass sits on one candidate in many prompts, else None."""
        if self.crowded <= MANY:
            return None
        return (
            f"in {self.crowded:.0%} of the prompts nearly all probability sits on one candidate (fewer than "
            f"{CROWDED:g} effective ones), so the Fisher matrix sees few directions there: use --fisher uniform, "
            "--per-token, or a higher --temperature."
        )


def response_probabilities(
    phi: ArrayLike,
    offsets: ArrayLike,
    *,
    logprob: ArrayLike | None,
    kind: FisherKind,
    temperature: float = 1.0,
    n_tokens: ArrayLike | None = None,
) -> Probabilities:
    """Probability of each response among the candidates of its prompt (docs/method.md section 2).

    phi: (N, d). logprob: (N,) nats, nan where unknown, or None. `reference`: softmax of phi theta_0, where theta_0 is
    the ridge regression (ridge 1e-3 trace/d) of the within-prompt centred log-probabilities on the within-prompt
    centred phi. `empirical`: softmax of log-probability / temperature, per token when `n_tokens` (N,) is given.
    `uniform`: all alike. `auto`: `reference` if every response has a log-probability and the median effective number
    of candidates is at least 2, else `uniform`. Raises RepresentationError when log-probabilities that were asked for
    are missing.
    """
    space = np.asarray(phi, dtype=np.float64)
    bounds = check_offsets(offsets, space.shape[0])
    values = np.full(space.shape[0], np.nan) if logprob is None else np.asarray(logprob, dtype=np.float64)
    if values.shape != (space.shape[0],):
        raise RepresentationError(f"{values.size} log-probabilities for {space.shape[0]} responses; give one each.")
    missing = int(np.sum(~np.isfinite(values)))
    if kind == "uniform":
        return _uniform(bounds, "uniform was asked for: every candidate counts alike.")
    if kind == "auto":
        if missing:
            return _uniform(bounds, f"uniform, because {_missing(missing, values.size)}.")
        found = _reference(space, bounds, values)
        median = float(np.median(found.effective))
        if median < MIN_EFFECTIVE:
            return _uniform(
                bounds,
                f"uniform, because the reference would rest on {median:.2f} effective candidates in the median prompt "
                f"(rule: at least {MIN_EFFECTIVE:g}).",
            )
        return found
    if missing:
        raise RepresentationError(
            f"--fisher {kind} needs a reference log-probability for every response, but "
            f"{_missing(missing, values.size)}; {_REMEDY}."
        )
    if kind == "empirical":
        return _empirical(bounds, values, temperature, n_tokens)
    if kind == "reference":
        return _reference(space, bounds, values)
    raise RepresentationError(f"--fisher {kind!r} is unknown; use auto, reference, empirical or uniform.")


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


def effective_candidates(p: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """exp of the entropy of p in each prompt, (P,): K when all are alike, 1 when one takes all."""
    terms = np.where(p > 0, -p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    return np.asarray(np.exp(segment_sums(terms, offsets)), dtype=np.float64)


def _uniform(offsets: NDArray[np.int64], reason: str) -> Probabilities:
    counts = np.diff(offsets).astype(np.float64)
    return Probabilities(spread_rows(1.0 / counts, offsets), "uniform", reason, None, counts)


def _reference(phi: NDArray[np.float64], offsets: NDArray[np.int64], logprob: NDArray[np.float64]) -> Probabilities:
    centred = centre_within(phi, offsets)
    target = centre_within(logprob, offsets)
    gram = centred.T @ centred
    d = gram.shape[0]
    ridge = RIDGE_SHARE * float(np.trace(gram)) / d
    if ridge <= 0:
        raise RepresentationError(
            "the features do not differ within any prompt, so log-probabilities cannot be regressed on them; "
            "use --fisher uniform or other features."
        )
    theta = scipy.linalg.solve(gram + ridge * np.eye(d), centred.T @ target, assume_a="pos")
    fitted = centred @ theta
    total = float(target @ target)
    r2 = 1.0 - float(np.sum((target - fitted) ** 2)) / total if total > 0 else None
    p = softmax_within(fitted, offsets)
    effective = effective_candidates(p, offsets)
    share = "they do not differ within prompts" if r2 is None else f"features explain {r2:.0%} of them within prompts"
    reason = (
        f"reference: log-probabilities regressed on the features ({share}); "
        f"{float(np.median(effective)):.1f} effective candidates in the median prompt."
    )
    return Probabilities(p, "reference", reason, r2, effective)


def _empirical(
    offsets: NDArray[np.int64], logprob: NDArray[np.float64], temperature: float, n_tokens: ArrayLike | None
) -> Probabilities:
    if not (temperature > 0 and np.isfinite(temperature)):
        raise RepresentationError(f"temperature {temperature} is not a positive number; try 1.")
    logits = logprob / temperature
    if n_tokens is not None:
        tokens = np.asarray(n_tokens, dtype=np.float64)
        if tokens.shape != logprob.shape:
            raise RepresentationError(f"{tokens.size} token counts for {logprob.size} responses; give one each.")
        logits = logits / np.maximum(tokens, 1.0)
    p = softmax_within(logits, offsets)
    effective = effective_candidates(p, offsets)
    per = " per token" if n_tokens is not None else ""
    reason = (
        f"empirical: softmax of the log-probabilities{per} at temperature {temperature:g}; "
        f"{float(np.median(effective)):.1f} effective candidates in the median prompt."
    )
    return Probabilities(p, "empirical", reason, None, effective)


def _missing(missing: int, total: int) -> str:
    if missing == total:
        return "no response has a reference log-probability"
    return f"{missing:,} of {total:,} responses have no reference log-probability"
