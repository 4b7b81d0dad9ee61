"""What labels say that no design can know: where quality lies among the Fisher directions, and whether longer wins.

The prior of theta is estimated instead of guessed (docs/method.md section 11): theta ~ N(0, spread c_a M^-a), the power
a and the spread weighed by the Laplace marginal likelihood of the labels, length as an effect of its own. With few
labels the evidence is flat, and then the words say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.special import logsumexp

from curation.errors import CurationError
from curation.insight.clustered import Interval
from curation.insight.learning_fit import Grid, Laplace, deal_prompts, fit_laplace, predict
from curation.insight.learning_intervals import clustered_mean, clustered_share
from curation.insight.learning_result import HeldOut, Leading, Learnt

Array = NDArray[np.float64]
Kept = tuple[tuple[Laplace, float], ...]
POWERS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # a of M^-a: -1 leading directions only, 0 as responses differ, 1 all alike
SPREADS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)  # prior variance of the logit of a random pair
DECISIVE = 3.0  # log evidence over a = 0 (20 to 1) from which the labels are believed
LENGTH_DEVIATION = 2.0  # prior deviation of the logit that length gives to an ordinary pair: wide
FLOOR = 1e-6  # Fisher directions below this share of the mean carry nothing and get no power of their own
FOLDS = 5  # of the prompts, for held-out figures
DRAWS = 400  # of the posterior, for intervals of shares


class LearningError(CurationError):
    """Labels that nothing can be learnt from."""


@dataclass(frozen=True)
class Outcomes:
    """Labelled pairs of a design's space. vectors: (m, d) z = first minus second of each pair.

    wins, trials: (m,) labels that the first response won (a tie is half a win), and labels. groups: (m,) prompt number
    of each pair. length: (m,) log length of the first less that of the second; all zero where it is not known.
    """

    vectors: Array
    wins: Array
    trials: Array
    groups: NDArray[np.int64]
    length: Array

    @property
    def labels(self) -> int:
        """How many labels that is."""
        return round(float(self.trials.sum()))


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Outcomes of several batches of one space as one."""
    return Outcomes(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Outcomes)})


def learn(
    outcomes: Outcomes,
    fisher: Array,
    *,
    uniform: Array | None = None,
    powers: Sequence[float] = POWERS,
    spreads: Sequence[float] = SPREADS,
    decisive: float = DECISIVE,
    folds: int = FOLDS,
    seed: int = 0,
) -> Learnt:
    """What labelled pairs say of theta and of length.

    fisher: (d, d) = M, whose directions the prior is about. uniform: (d, d) mean z z' over random pairs, None: 2 M.
    powers: must hold 0, which the others are judged against. spreads: prior variances of a random pair's logit.
    decisive: nats. folds: of prompts, for held-out figures, 0 for none. seed: of the folds and of the draws behind
    intervals. Raises LearningError where there are no labels or shapes do not fit.
    """
    checked = _checked(outcomes, fisher)
    if 0.0 not in powers:
        raise LearningError(f"the powers {list(powers)} leave out 0, which the others are judged against; add it.")
    values, vectors, random_pairs = _directions(fisher, uniform)
    rows, length_scale = _rows(checked, vectors)
    d = len(values)
    variances = [_prior_variances(values, random_pairs, power) for power in powers]
    grid = Grid(tuple(tuple(spread * variance for spread in spreads) for variance in variances), rows.shape[1])
    fitted = grid.fit(rows, checked.wins, checked.trials)
    log_evidence, kept, rng = fitted.log_evidence, fitted.kept, np.random.default_rng(seed)
    best = np.unravel_index(int(log_evidence.argmax()), log_evidence.shape)
    mean, covariance = _moments(kept)
    theta, spread_of = vectors @ mean[:d], vectors @ covariance[:d, :d] @ vectors.T
    shares, by_direction = _leading(kept, random_pairs, rng)
    has_length = length_scale > 0
    effect, sd = (float(mean[-1]), math.sqrt(covariance[-1, -1])) if has_length else (0.0, 0.0)
    of_quality, of_length = rows[:, :d] @ mean[:d], rows[:, d:] @ mean[d:]
    both = float(of_quality.var() + of_length.var())
    scaled = Interval(effect, effect - 1.96 * sd, effect + 1.96 * sd)
    prior = 1.0 / (spreads[int(best[1])] * variances[int(best[0])])
    return Learnt(
        labels=checked.labels,
        pairs=len(checked.wins),
        prompts=len(np.unique(checked.groups)),
        powers=tuple(powers),
        spreads=tuple(spreads),
        log_evidence=log_evidence,
        weights=fitted.weights,
        theta=theta,
        precision=np.asarray(scipy.linalg.inv(spread_of)),
        prior_precision=vectors @ (prior[:, None] * vectors.T),
        leading=shares,
        by_direction=by_direction,
        chance_by_direction=random_pairs / random_pairs.sum(),
        longer=longer_wins(checked),
        length_effect=None if not has_length else _times(scaled, length_scale),
        length_evidence=_savage_dickey(kept) if has_length else 0.0,
        length_share=float(of_length.var()) / both if both > 0 else 0.0,
        held_out=_held_out(grid, rows, checked, folds, rng),
        signal=float(log_evidence.max()) - _null_evidence(rows[:, d:], checked),
        decisive_at=decisive,
    )


def longer_wins(outcomes: Outcomes) -> Interval | None:
    """Share of the labels that the longer response won, ties counting half; None where no pair differs in length."""
    differ = outcomes.length != 0
    if not differ.any():
        return None
    wins = np.where(outcomes.length > 0, outcomes.wins, outcomes.trials - outcomes.wins)[differ]
    return clustered_share(wins, outcomes.trials[differ], outcomes.groups[differ])


def _checked(outcomes: Outcomes, fisher: Array) -> Outcomes:
    vectors = np.asarray(outcomes.vectors, dtype=float)
    m, d = vectors.shape
    if fisher.shape != (d, d):
        raise LearningError(f"the Fisher matrix is {fisher.shape}, the labelled pairs have {d} coordinates.")
    columns = {name: np.asarray(getattr(outcomes, name)) for name in ("wins", "trials", "groups", "length")}
    for name, column in columns.items():
        if column.shape != (m,):
            raise LearningError(f"{column.size} {name} for {m} labelled pairs; give one each.")
    labelled = columns["trials"] > 0
    if not labelled.any():
        raise LearningError("no pair has a label, so there is nothing to learn from; import labels first.")
    wins, trials = columns["wins"].astype(float)[labelled], columns["trials"].astype(float)[labelled]
    if (wins < 0).any() or (wins > trials).any():
        raise LearningError("a pair has more wins than labels, or fewer than none; give 0 <= wins <= trials.")
    return Outcomes(
        vectors[labelled], wins, trials, columns["groups"].astype(np.int64)[labelled],
        columns["length"].astype(float)[labelled],
    )  # fmt: skip


def _directions(fisher: Array, uniform: Array | None) -> tuple[Array, Array, Array]:
    """Fisher eigenvalues (d,) falling, eigenvectors (d, d), and the variance (d,) of random pairs along them."""
    values, vectors = scipy.linalg.eigh((fisher + fisher.T) / 2)
    values, vectors = values[::-1], vectors[:, ::-1]
    floor = FLOOR * float(values.mean())
    if not floor > 0:
        raise LearningError("the Fisher matrix is zero: all candidates of every prompt are alike; check the features.")
    values = np.maximum(values, floor)
    along = 2.0 * values if uniform is None else np.maximum(np.einsum("ik,ij,jk->k", vectors, uniform, vectors), 0.0)
    return values, vectors, along


def _prior_variances(values: Array, along: Array, power: float) -> Array:
    """c_a mu^-a (d,): prior variances of theta along the directions that give a random pair's logit variance 1."""
    raw = (values / values[0]) ** -power
    return np.asarray(raw / float(raw @ along))


def _rows(outcomes: Outcomes, vectors: Array) -> tuple[Array, float]:
    """(m, d) pairs along the Fisher directions, with length as one more column (m, d + 1) where it is known.

    Returns the factor that turns that column's coefficient into logits per unit of log length, 0 without it.
    """
    rows = outcomes.vectors @ vectors
    size = math.sqrt(float(np.mean(np.square(outcomes.length))))
    if size == 0:
        return rows, 0.0
    scale = LENGTH_DEVIATION / size
    return np.hstack([rows, outcomes.length[:, None] * scale]), scale


def _moments(kept: Kept) -> tuple[Array, Array]:
    """Mean (k,) and covariance (k, k) of the posterior, averaged over priors."""
    mean = sum((weight * fit.coefficients for fit, weight in kept), np.zeros_like(kept[0][0].coefficients))
    covariance = np.zeros((len(mean), len(mean)))
    for fit, weight in kept:
        off = fit.coefficients - mean
        covariance += weight * (fit.covariance() + np.outer(off, off))
    return mean, covariance


def _leading(kept: Kept, along: Array, rng: np.random.Generator) -> tuple[tuple[Leading, ...], Array]:
    """Shares of the logit's variance in the leading eighth and quarter of the directions, and in each, (d,)."""
    d = len(along)
    weights = np.array([weight for _, weight in kept])
    counts = rng.multinomial(DRAWS, weights / weights.sum())
    draws = []
    for (fit, _), count in zip(kept, counts.tolist(), strict=True):
        noise = rng.standard_normal((len(fit.factor), count))
        drawn = scipy.linalg.solve_triangular(fit.factor.T, noise, lower=False)
        draws.append((fit.coefficients[:, None] + drawn)[:d].T)
    power = np.square(np.vstack(draws)) * along
    shares = power / power.sum(1, keepdims=True)
    out = []
    for part in (8, 4):
        count = max(1, round(d / part))
        leading = shares[:, :count].sum(1)
        low, high = np.quantile(leading, [0.025, 0.975])
        chance = float(along[:count].sum() / along.sum())
        out.append(Leading(count, d, Interval(float(leading.mean()), float(low), float(high)), chance))
    return tuple(out), np.asarray(shares.mean(0))


def _savage_dickey(kept: Kept) -> float:
    """Log Bayes factor of a length effect against none: prior over posterior density of 0, averaged over priors."""
    terms = []
    for fit, weight in kept:
        half = scipy.linalg.solve_triangular(fit.factor, np.eye(len(fit.factor))[:, -1], lower=True)
        variance = float(half @ half)
        log_density = -0.5 * float(fit.coefficients[-1]) ** 2 / variance - 0.5 * math.log(variance)
        terms.append(math.log(weight) + log_density)
    return -float(logsumexp(terms))


def _null_evidence(length: Array, outcomes: Outcomes) -> float:
    """Log evidence of theta = 0, with length where it is known."""
    if not length.shape[1]:
        return -float(outcomes.trials.sum()) * math.log(2.0)
    return fit_laplace(length, outcomes.wins, outcomes.trials, np.ones(1)).log_evidence


def _held_out(grid: Grid, rows: Array, outcomes: Outcomes, folds: int, rng: np.random.Generator) -> HeldOut | None:
    """Labels of a fold of prompts predicted from the others, priors weighed anew each time; None below two folds.

    Folds share their training labels, so the accuracy varies more than independent labels would make it (of random
    labels the plain interval held 1/2 in 172 of 200 draws); its variance is corrected as by Nadeau and Bengio (2003).
    """
    wins, trials = outcomes.wins, outcomes.trials
    _, place = np.unique(outcomes.groups, return_inverse=True)
    folds = min(folds, int(place.max()) + 1)
    if folds < 2:
        return None
    fold, probability = deal_prompts(place, folds, rng), np.empty(len(wins))
    for number in range(folds):
        out = fold == number
        fitted = grid.fit(rows[~out], wins[~out], trials[~out])
        probability[out] = sum(weight * predict(fit, rows[out]) for fit, weight in fitted.kept)
    right = np.where(probability > 0.5, wins, np.where(probability < 0.5, trials - wins, trials / 2))
    p = np.clip(probability, 1e-12, 1.0 - 1e-12)
    told = np.bincount(place, weights=wins * np.log(p) + (trials - wins) * np.log1p(-p))
    count = np.bincount(place, weights=trials).astype(float)
    gain = clustered_mean(told + count * math.log(2.0), count)
    shared = 1.0 + folds / (folds - 1)
    return HeldOut(clustered_share(right, trials, place, inflation=shared), math.log(2.0) - gain.value, gain)


def _times(interval: Interval, factor: float) -> Interval:
    return Interval(interval.value * factor, interval.low * factor, interval.high * factor)
