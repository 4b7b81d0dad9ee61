"""Does choosing pairs pay, on outcomes that are known? (docs/method.md section 8)

For every seed the prompts are split anew into two halves. On one half every rule draws its batches, which are labelled
and fitted by the same learner; the other half, which no batch saw, says what each fitted policy earns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from curation.backtest.arena import LEAST_GENERATORS, Arena, BacktestError, Half, half_of
from curation.backtest.contrasts.base import CONTRASTS
from curation.backtest.linear_dpo import Batches, best_linear_reward, fit_linear_dpo
from curation.backtest.policy_value import Groups, default_kl, pair_accuracy, reward_at_kl
from curation.design.rules.base import RULES
from curation.design.selection.sampling import Batch
from curation.insight.learning_rule import Bets
from curation.pool.schema import Pool
from curation.representation.features_file import FeatureTable
from curation.representation.segments import centre_within
from curation.representation.space import fit_space
from curation.settings import PRESETS, DesignSettings, SpaceSettings, without_limits

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """A way to choose pairs. pick: `design`, a simple rule or a contrast. settings: its budget becomes the plan's.

    table: number of the features file it looks at. weighting: `inclusion` divides a label's loss by its inclusion
    probability (Horvitz and Thompson), `none` counts labels alike. mixture: share of the weights that is uniform.
    pilot: share of the labels that is bought first,
    by the design; 0: all at once. bets: how what the pilot's labels say decides on the rest, None: not at all.
    """

    name: str
    pick: str
    space: SpaceSettings
    settings: DesignSettings
    table: int = 0
    weighting: Literal["none", "inclusion"] = "none"
    mixture: float = 0.0
    pilot: float = 0.0
    bets: Bets | None = None

    @property
    def informed(self) -> bool:
        """Whether it is told something of outcomes before all its pairs are chosen."""
        return self.pilot > 0 or (self.pick in CONTRASTS and CONTRASTS[self.pick].informed)


@dataclass(frozen=True)
class Plan:
    """What to run. budgets: labels, rising. learner: the space every batch is fitted in, whatever its rule looked at.

    uniform_budgets: further budgets of the first rule named `uniform`, for label multiples. kl: nats at which policies
    are judged. repeats: draws of batch and labels a split. train: share of the prompts that batches are drawn from.
    new_generators: batches hold answers of one half of the generators, policies are judged on those of the other.
    """

    rules: tuple[Rule, ...]
    budgets: tuple[int, ...]
    learner: SpaceSettings
    uniform_budgets: tuple[int, ...] = ()
    kl: float | None = None
    train: float = 0.5
    seed: int = 0
    learner_table: int = 0
    repeats: int = 1
    new_generators: bool = False


@dataclass(frozen=True)
class Known:
    """What informed rules are told. strength: (n,) mean reward of each response's generator on other prompts. wins: for
    every draw, the labels (m,) of a batch that its first responses won, as an annotator would give them."""

    strength: Array
    wins: Sequence[Callable[[Batch], Array]]


class Draw(Protocol):
    """For every budget a batch a seed. Outcomes are out of its reach, but for what is handed to informed rules."""

    def __call__(
        self,
        pool: Pool,
        tables: tuple[FeatureTable, ...],
        rule: Rule,
        budgets: Sequence[int],
        seeds: Sequence[int],
        *,
        known: Known | None = None,
    ) -> list[list[Batch]]: ...


@dataclass(frozen=True)
class SeedResult:
    """One split, repeats averaged. reward, accuracy: (rules, budgets, P), nan on the prompts of the training half.
    gap: (rules, budgets). ridge: (rules, budgets), log10 of the learner's. uniform_reward: (uniform budgets, P).
    baseline: (P,) reward of the reference. kl: nats reached, worst."""

    reward: Array
    accuracy: Array
    gap: Array
    ridge: Array
    uniform_reward: Array
    baseline: Array
    kl: float


@dataclass(frozen=True)
class Outcome:
    """All splits, stacked: every array of SeedResult with the seeds in front. kl: nats at which policies are judged."""

    names: tuple[str, ...]
    budgets: tuple[int, ...]
    uniform_budgets: tuple[int, ...]
    reward: Array
    accuracy: Array
    gap: Array
    ridge: Array
    uniform_reward: Array
    baseline: Array
    kl: float
    seeds: int = field(default=0)

    def rule(self, name: str) -> int:
        """Place of a rule. Raises BacktestError where it took no part."""
        if name not in self.names:
            raise BacktestError(f"{name} took no part in this backtest; it had {', '.join(self.names)}.")
        return self.names.index(name)


def run_seed(arenas: Sequence[Arena], plan: Plan, seed: int, draw: Draw) -> tuple[SeedResult, ...]:
    """One split: draw, label, fit and judge every rule at every budget, on every one of the outcomes given.

    arenas: one pool with different outcomes; splits, batches and chances of the labels are the same for all of them.
    draw: batches of the training half.
    """
    rng = np.random.default_rng([plan.seed, seed])
    order = rng.permutation(arenas[0].prompts)
    size = round(plan.train * arenas[0].prompts)
    seen, rest = _sides(arenas[0], plan, seed)
    halves = [(half_of(a, order[:size], rows=seen), half_of(a, order[size:], rows=rest)) for a in arenas]
    train, test = halves[0]
    phi, unseen = _learner_rows(train, test, plan)
    fold_seed = int(rng.integers(2**31))
    draws = [seed * plan.repeats + k for k in range(plan.repeats)]
    uniform = next((rule for rule in plan.rules if rule.pick == "uniform"), None)
    jobs = [(rule, plan.budgets) for rule in plan.rules]
    if plan.uniform_budgets and uniform is not None:
        jobs.append((uniform, plan.uniform_budgets))
    blind = [None if job[0].informed else draw(train.pool, train.tables, *job, draws) for job in jobs]
    results = []
    for arena, (train, test) in zip(arenas, halves, strict=True):
        labels = [_Labels(arena, train, seed=[plan.seed, seed, 1, k]) for k in range(plan.repeats)]
        wanted: list[list[tuple[Rule, list[Batch]]]] = [[] for _ in (*plan.budgets, *plan.uniform_budgets)]
        for k, ((rule, budgets), made) in enumerate(zip(jobs, blind, strict=True)):
            found = made
            if found is None:
                told = Known(generator_strength(train), [label.wins for label in labels])
                found = draw(halves[0][0].pool, train.tables, rule, budgets, draws, known=told)
            first = len(plan.budgets) if k == len(plan.rules) else 0
            for row, batches in zip(wanted[first:], found, strict=False):
                row.append((rule, batches))
        theta, ridges = [], []
        for row in wanted:
            fit = fit_linear_dpo(_batches(phi, train, row, labels), rng=np.random.default_rng(fold_seed))
            theta.append(fit.theta.numpy())
            ridges.append(fit.ridge)
        results.append(
            _judge(plan, train, test, phi, unseen, np.concatenate(theta), np.concatenate(ridges), arena.prompts)
        )
    return tuple(results)


def _sides(arena: Arena, plan: Plan, seed: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Responses (N,) bool that batches may hold and that policies are judged on: all, or by halves of generators."""
    if not plan.new_generators:
        return None, None
    names = [response.generator or "" for prompt in arena.pool.prompts for response in prompt.responses]
    kinds, number = np.unique(names, return_inverse=True)
    if len(kinds) < LEAST_GENERATORS:
        raise BacktestError(
            f"{len(kinds)} generators are too few to leave half of them out; it takes {LEAST_GENERATORS}."
        )
    side = np.random.default_rng([plan.seed, seed, 3]).permutation(np.arange(len(kinds)) % 2).astype(bool)
    return ~side[number], side[number]


def generator_strength(half: Half) -> Array:
    """(n,) mean reward of each response's generator over the other prompts of the half, each prompt centred.

    Zero where a generator answers no other prompt. Stands for what a leaderboard tells before any label is bought.
    """
    names = [response.generator or "" for prompt in half.pool.prompts for response in prompt.responses]
    _, kind = np.unique(names, return_inverse=True)
    centred = np.nan_to_num(centre_within(half.reward, half.offsets))
    owner = np.repeat(np.arange(len(half.prompts)), np.diff(half.offsets))
    own = np.zeros((len(half.prompts), int(kind.max()) + 1))
    count = np.zeros_like(own)
    np.add.at(own, (owner, kind), centred)
    np.add.at(count, (owner, kind), 1.0)
    others = own.sum(0) - own, count.sum(0) - count
    mean = np.divide(others[0], others[1], out=np.zeros_like(own), where=others[1] > 0)
    return np.asarray(mean[owner, kind])


def _learner_rows(train: Half, test: Half, plan: Plan) -> tuple[Array, Array]:
    """Rows of both halves in the learner's space, which is fitted on the training half without looking at labels."""
    table = train.tables[plan.learner_table].matrix
    space = fit_space(table, train.offsets, train.pool.lengths(), settings=plan.learner)
    phi = space.transform(table, train.offsets, train.pool.lengths())
    unseen = space.transform(test.tables[plan.learner_table].matrix, test.offsets, test.pool.lengths())
    return phi, unseen


class _Labels:
    """Labels of the pairs of a half: the k-th label of a pair is the same whichever batch asks for it."""

    def __init__(self, arena: Arena, half: Half, *, seed: list[int]) -> None:
        self.given = arena.source == "labels"
        self.probability = half.probability
        self.seed = seed
        self._chances: list[Array] = []

    def wins(self, batch: Batch) -> Array:
        """(m,) labels of each pair that its first response won; given probabilities count as they are."""
        if self.given:
            return np.asarray(batch.copies * self.probability[batch.pairs], dtype=np.float64)
        out = np.zeros(len(batch.pairs))
        for copy in range(int(batch.copies.max())):
            while len(self._chances) <= copy:
                rng = np.random.default_rng([*self.seed, len(self._chances)])
                self._chances.append(rng.random(len(self.probability)))
            won = self._chances[copy][batch.pairs] < self.probability[batch.pairs]
            out += won & (batch.copies > copy)
        return out


def _batches(phi: Array, half: Half, row: list[tuple[Rule, list[Batch]]], labels: list[_Labels]) -> Batches:
    """The batches of one budget, rule by rule and repeat by repeat, padded to the longest."""
    flat = [(rule, batch, label) for rule, drawn in row for batch, label in zip(drawn, labels, strict=True)]
    shape = (len(flat), max(len(batch.pairs) for _, batch, _ in flat))
    vectors = np.zeros((*shape, phi.shape[1]))
    wins, trials, weights, groups = np.zeros(shape), np.zeros(shape), np.ones(shape), np.zeros(shape, dtype=np.int64)
    for k, (rule, batch, label) in enumerate(flat):
        m = len(batch.pairs)
        vectors[k, :m] = phi[half.first[batch.pairs]] - phi[half.second[batch.pairs]]
        wins[k, :m], trials[k, :m] = label.wins(batch), batch.copies
        groups[k, :m] = half.owner[batch.pairs]
        groups[k, m:] = groups[k, 0]
        if rule.weighting == "inclusion" and batch.inclusion is not None:
            weight = batch.copies / batch.inclusion
            weights[k, :m] = weight * (m / weight.sum())
    return Batches(
        torch.as_tensor(vectors),
        torch.as_tensor(wins),
        torch.as_tensor(trials),
        groups,
        None if np.all(weights == 1) else torch.as_tensor(weights),
    )


def _judge(
    plan: Plan, train: Half, test: Half, phi: Array, unseen: Array, theta: Array, ridges: Array, prompts: int
) -> SeedResult:
    """Reward at equal KL and pair accuracy on the unseen half, parameter gap to the best linear reward of both.

    theta: (C, d), budgets outermost, then rules, then repeats, which are averaged.
    """
    groups = test.groups()
    kl = kl_of(plan, groups)
    scores = theta @ unseen.T
    by_group, reached = reward_at_kl(scores[:, test.group_rows()], groups, kl)
    share = np.bincount(groups.owner, weights=groups.weights, minlength=len(test.prompts))
    by_prompt = np.stack([np.bincount(groups.owner, weights=row * groups.weights) for row in by_group]) / share
    mean = np.add.reduceat(groups.reward, groups.offsets[:-1]) / np.diff(groups.offsets)
    baseline = np.bincount(groups.owner, weights=mean * groups.weights) / share
    right = pair_accuracy(
        scores[:, test.first] - scores[:, test.second], test.probability, test.owner, len(test.prompts)
    )
    gaps = _parameter_gaps(theta, train, test, phi, unseen)
    rules, budgets, more = len(plan.rules), len(plan.budgets), len(plan.uniform_budgets)

    def averaged(values: Array) -> Array:
        return np.asarray(values.reshape(-1, plan.repeats, *values.shape[1:]).mean(1), dtype=np.float64)

    def spread(values: Array) -> Array:
        out = np.full((len(values) // plan.repeats, prompts), np.nan)
        out[:, test.prompts] = averaged(values)
        return out

    main = rules * budgets
    whole = np.full(prompts, np.nan)
    whole[test.prompts] = baseline
    reward = spread(by_prompt)
    return SeedResult(
        reward=reward[:main].reshape(budgets, rules, prompts).transpose(1, 0, 2),
        accuracy=spread(right)[:main].reshape(budgets, rules, prompts).transpose(1, 0, 2),
        gap=averaged(gaps)[:main].reshape(budgets, rules).T,
        ridge=averaged(np.log10(ridges))[:main].reshape(budgets, rules).T,
        uniform_reward=reward[main:].reshape(more, prompts),
        baseline=whole,
        kl=float(reached.min()),
    )


def kl_of(plan: Plan, groups: Groups) -> float:
    """Nats at which a plan's policies are judged on given groups."""
    return plan.kl if plan.kl is not None else default_kl(groups)


def _parameter_gaps(theta: Array, train: Half, test: Half, phi: Array, unseen: Array) -> Array:
    """(theta - theta*)' M (theta - theta*) / theta*' M theta* of each policy, (C,): 1 is what knowing nothing costs."""
    vectors, probability, weights = [], [], []
    for half, rows in ((train, phi), (test, unseen)):
        vectors.append(rows[half.first] - rows[half.second])
        probability.append(half.probability)
        count = np.bincount(half.owner, minlength=len(half.prompts))
        weights.append(half.pool.prompt_weights()[half.owner] / count[half.owner])
    z, weight = np.concatenate(vectors), np.concatenate(weights)
    weight *= len(z) / weight.sum()
    best = best_linear_reward(
        torch.as_tensor(z), torch.as_tensor(np.concatenate(probability)), torch.as_tensor(weight)
    ).numpy()
    moments = (z * weight[:, None]).T @ z  # uniform pairs: proportional to M under a uniform reference
    away = theta - best
    return np.asarray(np.einsum("cd,de,ce->c", away, moments, away) / max(float(best @ moments @ best), 1e-300))


def stack(plan: Plan, results: Sequence[SeedResult]) -> Outcome:
    """All splits together."""
    arrays = {f.name: np.stack([getattr(one, f.name) for one in results]) for f in fields(SeedResult) if f.name != "kl"}
    return Outcome(
        names=tuple(rule.name for rule in plan.rules),
        budgets=plan.budgets,
        uniform_budgets=plan.uniform_budgets,
        kl=float(plan.kl or min(one.kl for one in results)),
        seeds=len(results),
        **arrays,
    )


def standard_rules(space: SpaceSettings, settings: DesignSettings) -> tuple[Rule, ...]:
    """The chosen design, its paper variant and every simple rule, under the same constraints."""
    hgm = PRESETS["hgm"]
    published = without_limits(hgm.design(settings))
    rules = [Rule("design", "design", space, settings), Rule("paper", "design", hgm.space(space), published)]
    return (*rules, *(Rule(rule.name, rule.name, space, settings) for rule in RULES))
