"""What a fitted policy earns on prompts: expected reward at equal KL, and the pairs it orders rightly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STEPS = 60  # of the search for the sharpness


@dataclass(frozen=True)
class Groups:
    """Candidates of prompts a policy is judged on. offsets: (G + 1,) rows of each group. owner: (G,) prompt of each.

    weights: (G,) of each group, sum 1. reward: (N,) of each candidate. The reference takes every candidate alike.
    """

    offsets: np.ndarray
    owner: np.ndarray
    weights: Array
    reward: Array


def default_kl(groups: Groups) -> float:
    """A quarter of the largest KL that candidates taken alike allow, mean log K, in nats."""
    return 0.25 * float(groups.weights @ np.log(np.diff(groups.offsets)))


def reward_at_kl(scores: Array, groups: Groups, kl: float) -> tuple[Array, Array]:
    """Expected reward of policies p ~ exp(t score) over each group, t such that the mean KL to the reference is `kl`.

    scores: (C, N), one policy a row. kl: nats. Returns the reward of each group, (C, G), and the KL reached, (C,): a
    policy whose scores are all alike stays at the reference (KL 0), one whose best candidates tie may fall short.
    """
    starts, sizes = groups.offsets[:-1], np.diff(groups.offsets)
    centred = _centred(scores, groups)
    t = sharpness_at_kl(scores, groups, kl)
    p, reached = _tilted(centred, t, starts, sizes, groups.weights)
    return np.add.reduceat(p * groups.reward, starts, axis=1), reached


def sharpness_at_kl(scores: Array, groups: Groups, kl: float) -> Array:
    """t (C,) of p ~ exp(t score) whose mean KL to the reference is `kl` nats; 0 where all scores are alike."""
    starts, sizes = groups.offsets[:-1], np.diff(groups.offsets)
    centred = _centred(scores, groups)
    spread = np.sqrt(np.mean(np.square(centred), axis=1))
    flat = spread <= 1e-12
    scale = np.where(flat, 1.0, spread)
    centred /= scale[:, None]
    low, high = np.full(len(scores), -12.0), np.full(len(scores), 12.0)  # log t
    for _ in range(STEPS):
        middle = (low + high) / 2
        _, reached = _tilted(centred, np.exp(middle), starts, sizes, groups.weights)
        low, high = np.where(reached < kl, middle, low), np.where(reached < kl, high, middle)
        if float((high - low).max()) < 1e-9:
            break
    return np.asarray(np.where(flat, 0.0, np.exp((low + high) / 2) / scale))


def _centred(scores: Array, groups: Groups) -> Array:
    """Scores (C, N) less their mean in each group."""
    starts, sizes = groups.offsets[:-1], np.diff(groups.offsets)
    return np.asarray(scores - np.repeat(np.add.reduceat(scores, starts, axis=1) / sizes, sizes, axis=1))


def _tilted(scores: Array, t: Array, starts: np.ndarray, sizes: np.ndarray, weights: Array) -> tuple[Array, Array]:
    """Probabilities (C, N) and mean KL (C,) of p ~ exp(t score) in each group."""
    logits = t[:, None] * scores
    logits -= np.repeat(np.maximum.reduceat(logits, starts, axis=1), sizes, axis=1)
    p = np.exp(logits)
    total = np.add.reduceat(p, starts, axis=1)
    p /= np.repeat(total, sizes, axis=1)
    kl = np.add.reduceat(p * logits, starts, axis=1) - np.log(total) + np.log(sizes)
    return p, kl @ weights


def pair_accuracy(differences: Array, probability: Array, owner: np.ndarray, prompts: int) -> Array:
    """Share of each prompt's pairs that a policy orders as the truth does, (C, prompts); nan where all are ties.

    differences: (C, m) score of the first minus the second. probability: (m,) that the first wins; 1/2 is a tie and is
    left out. owner: (m,) prompt of each pair. A policy that is undecided on a pair gets half of it.
    """
    decided = probability != 0.5
    sign = np.sign(probability[decided] - 0.5)
    right = 0.5 + 0.5 * np.sign(differences[:, decided]) * sign
    place = owner[decided]
    count = np.bincount(place, minlength=prompts).astype(float)
    sums = np.stack([np.bincount(place, weights=row, minlength=prompts) for row in right])
    return np.asarray(np.divide(sums, count, out=np.full_like(sums, np.nan), where=count > 0))
