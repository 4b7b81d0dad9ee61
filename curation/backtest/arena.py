"""The part of a pool whose outcomes are known: what a backtest draws from, labels with and judges on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curation.backtest.policy_value import Groups
from curation.errors import CurationError
from curation.pool.schema import Pool, Prompt, Truth
from curation.representation.features_file import FeatureTable

Array = NDArray[np.float64]
RewardKind = Literal["auto", "logit", "raw"]
CLIP = 1e-4  # a known probability is kept this far from 0 and 1 before its logit is taken
MOST_EXTREME = 1 / 3  # share of qualities that are exactly 0 or 1 from which `auto` takes them as they are
LEAST_PROMPTS = 8  # below, two halves say nothing
LEAST_GENERATORS = 4  # to leave half of them out, or to tell the strong from the weak


class BacktestError(CurationError):
    """A backtest cannot be run as asked."""


@dataclass(frozen=True)
class Arena:
    """Prompts with known outcomes, only responses (or pairs) whose outcome is known.

    tables: one per features file, rows in the pool's flat order. source: where outcomes come from. reward: (N,) by
    response, nan where only labels are known. probability: (pairs,) that the first response wins, in the order of the
    pool's pairs. unit: what the reward is, in words. temperature: of the labels drawn (nan for given labels).
    """

    pool: Pool
    tables: tuple[FeatureTable, ...]
    source: Literal["quality", "labels"]
    reward: Array
    probability: Array
    unit: str
    temperature: float
    notes: tuple[str, ...] = ()

    @property
    def prompts(self) -> int:
        """Prompts with known outcomes."""
        return len(self.pool.prompts)


@dataclass(frozen=True)
class Half:
    """Some prompts of an arena. prompts: their numbers there. rows: of its responses. first, second: (m,) rows within
    this half that its pairs compare. owner: (m,) prompt within this half. probability: (m,). reward: (n,)."""

    pool: Pool
    tables: tuple[FeatureTable, ...]
    prompts: np.ndarray
    rows: np.ndarray
    first: np.ndarray
    second: np.ndarray
    owner: np.ndarray
    probability: Array
    reward: Array

    @property
    def offsets(self) -> np.ndarray:
        """(P + 1,) row where each prompt starts."""
        return self.pool.offsets()

    def groups(self) -> Groups:
        """What policies are judged on: the candidates of each prompt, or the two of each labelled pair."""
        weights = self.pool.prompt_weights()
        if np.isfinite(self.reward).all():
            return Groups(self.offsets, np.arange(len(self.prompts)), weights, self.reward)
        share = weights[self.owner] / np.bincount(self.owner, minlength=len(weights))[self.owner]
        reward = np.stack([self.probability, 1 - self.probability], axis=1).ravel()
        return Groups(np.arange(0, 2 * len(self.owner) + 1, 2), self.owner, share, reward)

    def group_rows(self) -> np.ndarray:
        """Rows of the half that `groups` lists, in its order."""
        if np.isfinite(self.reward).all():
            return np.arange(len(self.rows))
        return np.stack([self.first, self.second], axis=1).ravel()


def make_arena(
    pool: Pool,
    truth: Truth,
    tables: Sequence[FeatureTable],
    *,
    reward: RewardKind = "auto",
    temperature: float | None = None,
    source: Literal["auto", "quality", "labels"] = "auto",
) -> Arena:
    """The part of a pool that can be tested on. tables: features of all its responses, in the pool's order.

    Quality comes before labels where both are known. reward `logit`: the logit of a quality that is a probability,
    clipped to 1e-4; `auto`: logit where all values lie in [0, 1] and fewer than a third are exactly 0 or 1 (verified
    answers and shares of a few votes are no probabilities: their logit is the clip), else raw. temperature: labels are
    Bradley-Terry draws on reward / temperature; None: 1 for logits, else the median reward difference of the pairs.
    Raises BacktestError where too little is known.
    """
    chosen = source if source != "auto" else "quality" if truth.quality else "labels"
    if chosen == "quality":
        return _by_quality(pool, truth, tables, reward, temperature)
    return _by_labels(pool, truth, tables)


def _by_quality(
    pool: Pool, truth: Truth, tables: Sequence[FeatureTable], kind: RewardKind, temperature: float | None
) -> Arena:
    known = np.array([truth.quality.get(key, np.nan) for key in pool.ids()], dtype=np.float64)
    offsets = pool.offsets()
    prompts, rows = [], []
    for x, prompt in enumerate(pool.prompts):
        span = np.arange(offsets[x], offsets[x + 1])
        kept = np.flatnonzero(np.isfinite(known[span]))
        shrunk = _restricted(prompt, kept)
        if shrunk is not None:
            prompts.append(shrunk)
            rows.append(span[kept])
    flat = _enough(prompts, rows, "quality of at least two responses", len(pool.prompts))
    quality = known[flat]
    if kind == "logit" and not (quality.min() >= 0 and quality.max() <= 1):
        raise BacktestError(
            f"quality runs from {quality.min():g} to {quality.max():g}, so it is no probability; use --reward raw."
        )
    extreme = float(np.mean((quality == 0) | (quality == 1)))
    graded = bool(quality.min() >= 0 and quality.max() <= 1 and extreme < MOST_EXTREME)
    logit = kind == "logit" or (kind == "auto" and graded)
    reward, unit = quality, "quality as given"
    if logit:
        inside = np.clip(quality, CLIP, 1 - CLIP)
        reward, unit = np.log(inside) - np.log1p(-inside), f"logit of quality (nats), clipped to {CLIP:g}"
    smaller = Pool(tuple(prompts), name=pool.name)
    first, second, _ = pair_ends(smaller)
    gaps = reward[first] - reward[second]
    if not np.any(gaps):
        raise BacktestError("all responses of every prompt have the same quality, so no policy can be better.")
    if temperature is None:
        temperature = 1.0 if logit else float(np.median(np.abs(gaps[gaps != 0])))
    if not (temperature > 0 and np.isfinite(temperature)):
        raise BacktestError(f"--temperature {temperature:g} is not a positive number; 1 takes the reward as it is.")
    return Arena(
        pool=smaller,
        tables=tuple(_rows_of(table, flat) for table in tables),
        source="quality",
        reward=reward,
        probability=1 / (1 + np.exp(-gaps / temperature)),
        unit=unit,
        temperature=float(temperature),
        notes=_left_out(pool, smaller),
    )


def _by_labels(pool: Pool, truth: Truth, tables: Sequence[FeatureTable]) -> Arena:
    found: dict[str, dict[tuple[str, str], list[float]]] = {}
    for prompt_id, a, b, p in truth.labels:
        pair, value = ((a, b), p) if a <= b else ((b, a), 1 - p)
        found.setdefault(prompt_id, {}).setdefault(pair, []).append(value)
    offsets = pool.offsets()
    prompts, rows, probability = [], [], []
    for x, prompt in enumerate(pool.prompts):
        place = {response.response_id: k for k, response in enumerate(prompt.responses)}
        ends: dict[tuple[int, int], float] = {}
        for (a, b), values in found.get(prompt.prompt_id, {}).items():
            if a in place and b in place and a != b:
                i, j, p = place[a], place[b], float(np.mean(values))
                ends[min(i, j), max(i, j)] = p if i < j else 1 - p
        if not ends:
            continue
        kept = sorted({k for pair in ends for k in pair})
        new = {old: k for k, old in enumerate(kept)}
        pairs = tuple(sorted((new[i], new[j]) for i, j in ends))
        prompts.append(replace(prompt, responses=tuple(prompt.responses[k] for k in kept), pairs=pairs))
        rows.append(offsets[x] + np.array(kept))
        probability += [ends[kept[i], kept[j]] for i, j in pairs]
    flat = _enough(prompts, rows, "at least one known label", len(pool.prompts))
    smaller = Pool(tuple(prompts), name=pool.name)
    return Arena(
        pool=smaller,
        tables=tuple(_rows_of(table, flat) for table in tables),
        source="labels",
        reward=np.full(len(flat), np.nan),
        probability=np.array(probability),
        unit="share of held-out labels won",
        temperature=float("nan"),
        notes=_left_out(pool, smaller),
    )


def half_sizes(arena: Arena) -> tuple[int, int]:
    """Prompts of a training half, and pairs that the poorest such half has for certain."""
    counts = np.sort([prompt.n_pairs for prompt in arena.pool.prompts])
    prompts = round(0.5 * arena.prompts)
    return prompts, int(counts[:prompts].sum())


def half_of(arena: Arena, prompts: np.ndarray, *, rows: np.ndarray | None = None) -> Half:
    """Some prompts of an arena, by rising number. rows: (N,) bool, its responses that are kept; None: all.

    Prompts that keep no admissible pair drop out.
    """
    prompts = np.sort(prompts)
    offsets = arena.pool.offsets()
    counts = np.array([prompt.n_pairs for prompt in arena.pool.prompts])
    starts = np.concatenate([[0], np.cumsum(counts)])
    span = {x: np.arange(offsets[x], offsets[x + 1]) for x in prompts.tolist()}
    pairs = np.concatenate([np.arange(starts[x], starts[x + 1]) for x in prompts])
    entries = [arena.pool.prompts[x] for x in prompts.tolist()]
    if rows is not None:
        shrunk = [_restricted(entry, np.flatnonzero(rows[span[x]])) for x, entry in zip(span, entries, strict=True)]
        span = {x: at[rows[at]] for (x, at), entry in zip(span.items(), shrunk, strict=True) if entry is not None}
        prompts, entries = np.array(list(span), dtype=np.int64), [entry for entry in shrunk if entry is not None]
        if not entries:
            raise BacktestError("no prompt has two answers of the generators that are left; give more of them.")
        first, second, owner = pair_ends(arena.pool)
        kept = rows[first] & rows[second] & np.isin(owner, prompts)
        pairs = np.flatnonzero(kept)
    chosen = np.concatenate(list(span.values()))
    pool = Pool(tuple(entries), name=arena.pool.name)
    first, second, owner = pair_ends(pool)
    return Half(
        pool=pool,
        tables=tuple(_rows_of(table, chosen) for table in arena.tables),
        prompts=prompts,
        rows=chosen,
        first=first,
        second=second,
        owner=owner,
        probability=arena.probability[pairs],
        reward=arena.reward[chosen],
    )


def pair_ends(pool: Pool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (i, j) and prompt number of every pair of a pool, in the order of the comparison graph's pair numbers."""
    first, second, owner = [], [], []
    for x, (prompt, base) in enumerate(zip(pool.prompts, pool.offsets()[:-1].tolist(), strict=True)):
        if prompt.pairs is None:
            i, j = np.triu_indices(len(prompt.responses), k=1)
        else:
            i, j = np.array(prompt.pairs, dtype=np.int64).reshape(-1, 2).T
        first.append(base + i)
        second.append(base + j)
        owner.append(np.full(len(i), x))
    return np.concatenate(first), np.concatenate(second), np.concatenate(owner)


def _restricted(prompt: Prompt, kept: np.ndarray) -> Prompt | None:
    """A prompt with some of its responses, None where no pair of them may be compared."""
    if len(kept) < 2:
        return None
    new = {int(old): k for k, old in enumerate(kept)}
    pairs = prompt.pairs
    if pairs is not None:
        pairs = tuple((new[i], new[j]) for i, j in pairs if i in new and j in new)
        if not pairs:
            return None
    return replace(prompt, responses=tuple(prompt.responses[k] for k in kept.tolist()), pairs=pairs)


def _rows_of(table: FeatureTable, rows: np.ndarray) -> FeatureTable:
    return replace(
        table,
        matrix=table.matrix[rows],
        reference_logprob=None if table.reference_logprob is None else table.reference_logprob[rows],
        n_tokens=None if table.n_tokens is None else table.n_tokens[rows],
    )


def _enough(prompts: list[Prompt], rows: list[np.ndarray], what: str, total: int) -> np.ndarray:
    if len(prompts) < LEAST_PROMPTS:
        raise BacktestError(
            f"{len(prompts)} of {total} prompts have {what}; a backtest needs at least {LEAST_PROMPTS}: add `quality` "
            "to responses or `labels` to prompts."
        )
    return np.concatenate(rows)


def _left_out(pool: Pool, smaller: Pool) -> tuple[str, ...]:
    missing = len(pool.prompts) - len(smaller.prompts)
    responses = pool.n_responses - smaller.n_responses
    if not responses:
        return ()
    return (f"{missing:,} prompts and {responses:,} responses without known outcomes are left out.",)
