"""Do answers with strength pay, on outcomes that are known? The same pairs, answered binary and graded by one latent.

Splits, batches, binary labels and folds are those of the backtest (`insight/backtest.py`) with the same seed, so its
curves of binary answers are found again here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit

from curation.backtest.arena import Arena, Half, half_of
from curation.backtest.graded_dpo import GradedBatches, fit_graded_dpo, fit_soft_dpo, soft_batches
from curation.backtest.linear_dpo import Batches, fit_linear_dpo
from curation.backtest.policy_value import reward_at_kl
from curation.backtest.split import Draw, Plan, kl_of
from curation.design.selection.sampling import Batch
from curation.insight.graded import (
    LEVELS,
    Answering,
    GradedError,
    Thresholds,
    levels_of,
    soft_targets,
    temperature_for_agreement,
    thresholds_by_share,
)
from curation.pool.schema import Pool
from curation.representation.features_file import FeatureTable
from curation.representation.space import fit_space

Array = NDArray[np.float64]
ANSWERS = ("binary", "graded", "soft", "soft estimated")


@dataclass(frozen=True)
class Noise:
    """How surely annotators answer. agreement: of two annotators' binary answers on random pairs, None where the
    backtest's own temperature was taken. thresholds: in units of the noise. targets: soft targets that pairs
    answered twice would give."""

    agreement: float | None
    temperature: float
    thresholds: Thresholds
    targets: tuple[float, ...]


@dataclass(frozen=True)
class GradedPlan:
    """base: its rules draw the batches; its uniform_budgets are further budgets of binary answers, of every rule.

    noises: of every one of the outcomes tested on.
    """

    base: Plan
    noises: tuple[tuple[Noise, ...], ...]
    answering: Answering = field(default_factory=Answering)


@dataclass(frozen=True)
class GradedSplit:
    """One split, repeats averaged. reward: (noises, answers, rules, budgets, P), nan on the training half. further:
    (noises, rules, further budgets, P), binary. baseline: (P,) of the reference. thresholds: (noises, rules, budgets,
    2) estimated, in units of the noise. shares: (noises, rules, 5) of the answers at each level. kl: nats, worst."""

    reward: Array
    further: Array
    baseline: Array
    thresholds: Array
    shares: Array
    kl: float


def noise_for(arena: Arena, agreement: float | None, answering: Answering) -> Noise:
    """The noise at which two annotators agree so often on random pairs; None takes the arena's temperature.

    Raises GradedError where only labels are known: they say nothing about strength.
    """
    if arena.source != "quality":
        raise GradedError(
            "graded answers are drawn from known `quality`, and this pool has only labels; add quality, or leave "
            "--answers binary."
        )
    whole = half_of(arena, np.arange(arena.prompts))
    gaps = whole.reward[whole.first] - whole.reward[whole.second]
    temperature = arena.temperature if agreement is None else temperature_for_agreement(gaps, agreement)
    eta = gaps / temperature
    thresholds = thresholds_by_share(eta, ties=answering.ties, much=answering.much)
    return Noise(agreement, temperature, thresholds, soft_targets(eta, thresholds))


def run_graded_seed(arenas: Sequence[Arena], plan: GradedPlan, seed: int, draw: Draw) -> tuple[GradedSplit, ...]:
    """One split: the batches of every rule and budget, answered and fitted in every way, judged on unseen prompts.

    arenas: one pool with different outcomes; splits, batches and chances are the same for all of them.
    """
    base = plan.base
    rng = np.random.default_rng([base.seed, seed])
    order = rng.permutation(arenas[0].prompts)
    size = round(base.train * arenas[0].prompts)
    halves = [(half_of(arena, order[:size]), half_of(arena, order[size:])) for arena in arenas]
    fold_seed = int(rng.integers(2**31))
    train, test = halves[0]
    budgets = (*base.budgets, *base.uniform_budgets)
    draws = [seed * base.repeats + k for k in range(base.repeats)]
    drawn = [draw(train.pool, train.tables, rule, budgets, draws) for rule in base.rules]
    phi, unseen = _learner_rows(train, test, base)
    found = []
    for (train, test), noises in zip(halves, plan.noises, strict=True):
        answers = [_Answers(train, plan, [base.seed, seed], repeat) for repeat in range(base.repeats)]
        judge = _Judge(test, unseen, kl_of(base, test.groups()), len(order))
        asked = [
            _batches(phi, train, [batch for of_rule in drawn for batch in of_rule[place]], answers, noises)
            for place in range(len(budgets))
        ]
        found.append(_fitted(plan, noises, asked, judge, fold_seed))
    return tuple(found)


def _fitted(
    plan: GradedPlan,
    noises: tuple[Noise, ...],
    asked: list[tuple[GradedBatches, Batches]],
    judge: _Judge,
    fold_seed: int,
) -> GradedSplit:
    """Every budget's answers fitted in every way and judged; further budgets only as binary ones."""
    base = plan.base
    shape = (len(noises), len(base.rules), base.repeats)
    binary = [judge(fit_linear_dpo(b, rng=np.random.default_rng(fold_seed)).theta, shape) for _, b in asked]
    main, thresholds, shares = [], [], []
    for won, (graded, _) in zip(binary, asked[: len(base.budgets)], strict=False):
        fit = fit_graded_dpo(graded, rng=np.random.default_rng(fold_seed))
        soft = fit_soft_dpo(graded, rng=np.random.default_rng(fold_seed))
        estimated = fit_linear_dpo(_estimated(graded, noises), rng=np.random.default_rng(fold_seed))
        main.append(np.stack([won, *(judge(f.theta, shape) for f in (fit, soft, estimated))], 1))
        thresholds.append(fit.thresholds.reshape(*shape, 2).mean(2))
        counts = graded.counts.sum(1).numpy().reshape(*shape, len(LEVELS)).sum(2)
        shares.append(counts / counts.sum(-1, keepdims=True))
    further = np.stack([binary[0], *binary[len(base.budgets) :]], 2)[:, :, 1:]  # the first only gives the shape
    return GradedSplit(
        reward=np.stack(main, 3),
        further=further,
        baseline=judge.baseline(),
        thresholds=np.stack(thresholds, 2),
        shares=np.mean(shares, axis=0),
        kl=judge.reached,
    )


def _learner_rows(train: Half, test: Half, plan: Plan) -> tuple[Array, Array]:
    """Rows of both halves in the learner's space, fitted on the training half."""
    pools: list[tuple[Pool, FeatureTable]] = [(half.pool, half.tables[plan.learner_table]) for half in (train, test)]
    (pool, table), _ = pools
    space = fit_space(table.matrix, pool.offsets(), pool.lengths(), settings=plan.learner)
    phi, unseen = (space.transform(t.matrix, p.offsets(), p.lengths()) for p, t in pools)
    return phi, unseen


class _Answers:
    """Answers to the pairs of a half: the k-th answer to a pair is the same whichever batch or rule asks for it."""

    def __init__(self, half: Half, plan: GradedPlan, seed: Sequence[int], repeat: int) -> None:
        self.gaps = half.reward[half.first] - half.reward[half.second]
        self.answering, self.seed, self.repeat = plan.answering, list(seed), repeat
        normal = np.random.default_rng([*seed, 3]).standard_normal(plan.answering.annotators)
        self.factors = np.exp(plan.answering.jitter * normal)
        self._kept: list[tuple[Array, Array]] = []

    def _noise(self, copy: int) -> tuple[Array, Array]:
        """Noise of the latent of a copy's answers, and the factor of each annotator's thresholds, (pairs,) each."""
        while len(self._kept) <= copy:
            at = len(self._kept)
            chance = np.random.default_rng([*self.seed, 1, self.repeat, at]).random(len(self.gaps))
            who = np.random.default_rng([*self.seed, 2, self.repeat, at]).integers(len(self.factors), size=len(chance))
            with np.errstate(divide="ignore"):
                self._kept.append((-logit(chance), self.factors[who]))
        return self._kept[copy]

    def of(self, batch: Batch, noise: Noise) -> tuple[Array, Array]:
        """(m,) binary answers that the first response won, and (m, 5) answers of each level."""
        wins, counts = np.zeros(len(batch.pairs)), np.zeros((len(batch.pairs), len(LEVELS)))
        for copy in range(int(batch.copies.max())):
            draw, factor = (values[batch.pairs] for values in self._noise(copy))
            latent = self.gaps[batch.pairs] / noise.temperature + draw
            asked = batch.copies > copy
            low, high = noise.thresholds
            levels = levels_of(latent, (low * factor, high * factor))
            wins += asked & (latent > 0)
            counts[np.arange(len(counts)), levels] += asked
        return wins, counts


def _batches(
    phi: Array, half: Half, row: list[Batch], answers: list[_Answers], noises: tuple[Noise, ...]
) -> tuple[GradedBatches, Batches]:
    """The batches of one budget (rules outermost, then repeats) answered at every noise, which comes first of all."""
    flat = [(noise, batch, answers[k % len(answers)]) for noise in noises for k, batch in enumerate(row)]
    shape = (len(flat), max(len(batch.pairs) for batch in row))
    vectors, counts = np.zeros((*shape, phi.shape[1])), np.zeros((*shape, len(LEVELS)))
    wins, trials, groups = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=np.int64)
    for k, (noise, batch, answer) in enumerate(flat):
        m = len(batch.pairs)
        vectors[k, :m] = phi[half.first[batch.pairs]] - phi[half.second[batch.pairs]]
        wins[k, :m], counts[k, :m] = answer.of(batch, noise)
        trials[k, :m] = batch.copies
        groups[k, :m] = half.owner[batch.pairs]
        groups[k, m:] = groups[k, 0]
    z = torch.as_tensor(vectors)
    return (
        GradedBatches(z, torch.as_tensor(counts), groups),
        Batches(z, torch.as_tensor(wins), torch.as_tensor(trials), groups),
    )


def _estimated(graded: GradedBatches, noises: tuple[Noise, ...]) -> Batches:
    """Soft targets as pairs answered twice would tell them, each noise's own."""
    plain = soft_batches(graded)
    targets = torch.tensor([noise.targets for noise in noises], dtype=graded.counts.dtype)
    each = targets.repeat_interleave(len(graded.counts) // len(noises), 0)
    return Batches(plain.vectors, (graded.counts @ each[..., None])[..., 0], plain.trials, plain.groups)


class _Judge:
    """Reward at equal KL of fitted policies on the prompts of a half."""

    def __init__(self, test: Half, unseen: Array, kl: float, prompts: int) -> None:
        self.test, self.unseen, self.kl, self.prompts, self.reached = test, unseen, kl, prompts, np.inf

    def __call__(self, theta: torch.Tensor, shape: tuple[int, ...]) -> Array:
        """Reward of policies theta (C, d) by prompt of the arena, (*shape[:-1], P), the last of shape averaged."""
        reward, reached = reward_at_kl(theta.numpy() @ self.unseen.T, self.test.groups(), self.kl)
        self.reached = min(self.reached, float(reached.min()))
        return self._spread(reward.reshape(*shape, -1).mean(len(shape) - 1))

    def baseline(self) -> Array:
        """Reward of the reference, (P,)."""
        groups = self.test.groups()
        return self._spread(np.add.reduceat(groups.reward, groups.offsets[:-1]) / np.diff(groups.offsets))

    def _spread(self, values: Array) -> Array:
        out = np.full((*values.shape[:-1], self.prompts), np.nan)
        out[..., self.test.prompts] = values
        return out
