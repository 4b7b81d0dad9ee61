"""Laplace fits of a logistic model under Gaussian priors: their mode, their evidence, what they predict.

Everything is d x d algebra on the labelled pairs (docs/method.md section 11).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

Array = NDArray[np.float64]
STEPS = 50  # of Newton's method, at most; five to eight are usual
TOLERANCE = 1e-7  # of the Newton decrement, in nats
NEGLIGIBLE = 2e-3  # posterior weight of a prior below which it is left out of averages


@dataclass(frozen=True)
class Laplace:
    """A posterior as the normal distribution at its mode. logit of pair e: rows[e] @ coefficients.

    coefficients: (k,) the mode. factor: (k, k) lower Cholesky factor of the posterior precision. log_evidence: nats.
    """

    coefficients: Array
    factor: Array
    log_evidence: float

    def covariance(self) -> Array:
        """Of the posterior, (k, k)."""
        half = scipy.linalg.solve_triangular(self.factor, np.eye(len(self.factor)), lower=True)
        return np.asarray(half.T @ half)


def log_joint(
    coefficients: Array, rows: Array, wins: Array, trials: Array, precision: Array
) -> tuple[float, Array, Array]:
    """Log likelihood plus log prior without its constant, with gradient (k,) and negative Hessian (k, k).

    sum_e wins_e eta_e - trials_e log(1 + exp(eta_e)) - 1/2 sum_k precision_k coefficients_k^2, eta = rows coefficients.
    rows: (m, k). wins, trials: (m,). precision: (k,) of the independent normal priors.
    """
    logits = rows @ coefficients
    value = float(wins @ logits - trials @ np.logaddexp(0.0, logits) - 0.5 * precision @ np.square(coefficients))
    mean = expit(logits)
    gradient = rows.T @ (wins - trials * mean) - precision * coefficients
    curvature = rows.T @ (rows * (trials * mean * (1.0 - mean))[:, None])
    curvature[np.diag_indices_from(curvature)] += precision
    return value, gradient, curvature


def fit_laplace(rows: Array, wins: Array, trials: Array, precision: Array, *, start: Array | None = None) -> Laplace:
    """The mode by Newton's method, and the Laplace approximation to the log evidence.

    log p(y) = log joint at the mode + 1/2 log |diag(precision)| - 1/2 log |negative Hessian|: the 2 pi cancel.
    """
    now = np.zeros(rows.shape[1]) if start is None else start
    value, gradient, curvature = log_joint(now, rows, wins, trials, precision)
    for _ in range(STEPS):
        step = scipy.linalg.cho_solve((np.linalg.cholesky(curvature), True), gradient)
        if float(gradient @ step) <= TOLERANCE:
            break
        length = 1.0
        while True:
            moved = log_joint(now + length * step, rows, wins, trials, precision)
            if moved[0] >= value or length < 1e-6:
                break
            length /= 2.0
        now = now + length * step
        value, gradient, curvature = moved
    factor: Array = np.asarray(np.linalg.cholesky(curvature), dtype=np.float64)
    evidence = value + 0.5 * float(np.log(precision).sum()) - float(np.log(np.diag(factor)).sum())
    return Laplace(now, factor, evidence)


def predict(fit: Laplace, rows: Array) -> Array:
    """Probability (m,) that the first of each pair wins: logits moderated by their posterior variance (MacKay 1992)."""
    half = scipy.linalg.solve_triangular(fit.factor, rows.T, lower=True)
    variance = np.einsum("ij,ij->j", half, half)
    return np.asarray(expit(rows @ fit.coefficients / np.sqrt(1.0 + np.pi / 8.0 * variance)))


def deal_prompts(groups: NDArray[np.int64], folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Fold (m,) of each pair: prompts are shuffled and dealt in turn, every prompt whole."""
    prompts, place = np.unique(groups, return_inverse=True)
    dealt = np.arange(len(prompts)) % folds
    return np.asarray(rng.permutation(dealt)[place])


@dataclass(frozen=True)
class Fitted:
    """A grid of priors on some labels. log_evidence, weights: (powers, spreads). kept: the fits that count, with the
    weights, which sum to 1."""

    log_evidence: Array
    weights: Array
    kept: tuple[tuple[Laplace, float], ...]


@dataclass(frozen=True)
class Grid:
    """Priors to weigh. variances: of theta along each direction, one (d,) for every power and spread. width: columns of
    the rows; those beyond d (length) have prior variance 1."""

    variances: tuple[tuple[Array, ...], ...]
    width: int

    def fit(self, rows: Array, wins: Array, trials: Array) -> Fitted:
        """Every prior's fit, started from its neighbour's of less spread."""
        fits: list[list[Laplace]] = []
        for of_power in self.variances:
            line: list[Laplace] = []
            for variance in of_power:
                precision = np.ones(self.width)
                precision[: len(variance)] = 1.0 / variance
                start = line[-1].coefficients if line else None
                line.append(fit_laplace(rows, wins, trials, precision, start=start))
            fits.append(line)
        log_evidence = np.array([[fit.log_evidence for fit in line] for line in fits])
        weights = np.exp(log_evidence - logsumexp(log_evidence))
        places = np.argwhere(weights > NEGLIGIBLE).tolist()
        total = sum(float(weights[i, j]) for i, j in places)
        kept = tuple((fits[i][j], float(weights[i, j]) / total) for i, j in places)
        return Fitted(log_evidence, weights, kept)
