"""Is the design sane? Where its weight sits, against where the pool's pairs sit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.design.geometry import Geometry
from curation.insight.length_share import LengthShare
from curation.pool.schema import Pool

TIMES = 2.0  # a generator that draws more than so many times its share is looked at
LEAST = 0.02  # share of the labels below which a generator or a stratum is too small to say anything
LENGTH = 0.2  # a part of the score along length above which it is looked at, where uniform labels have less than half


@dataclass(frozen=True)
class Concentration:
    """Lorenz curve of the weights over all pairs (share_of_pairs, share_of_weight), Gini and effective numbers.

    effective_entropy: exp of the entropy of the weights; effective_simpson: 1 / sum w^2. Both count pairs.
    """

    share_of_pairs: np.ndarray
    share_of_weight: np.ndarray
    gini: float
    effective_entropy: float
    effective_simpson: float
    support: int


def concentration(weights: np.ndarray, *, points: int = 200) -> Concentration:
    """Concentration of a design measure. weights: (pairs,), sum 1."""
    positive = np.sort(weights[weights > 0])
    total = positive.sum()
    shares = positive / total
    zeros = len(weights) - len(positive)
    cumulative = np.concatenate([[0.0], np.cumsum(shares)])
    place = (zeros + np.arange(len(cumulative))) / len(weights)
    grid = np.linspace(0, 1, points)
    curve = np.interp(grid, np.concatenate([[0.0], place]), np.concatenate([[0.0], cumulative]))
    area = float(np.trapezoid(np.concatenate([[0.0], cumulative]), np.concatenate([[0.0], place])))
    return Concentration(
        share_of_pairs=grid,
        share_of_weight=curve,
        gini=1.0 - 2.0 * area,
        effective_entropy=float(np.exp(-(shares * np.log(shares)).sum())),
        effective_simpson=float(1.0 / np.square(shares).sum()),
        support=len(positive),
    )


def pair_table(pool: Pool, geometry: Geometry, pairs: np.ndarray) -> pd.DataFrame:
    """What is known of pairs (m,) without their weights: prompt, stratum, generators, lengths in characters."""
    first, second = geometry.endpoints(pairs)
    prompt = geometry.prompt_of(pairs)
    responses = [response for entry in pool.prompts for response in entry.responses]
    lengths = pool.lengths()
    strata = [entry.stratum or "(none)" for entry in pool.prompts]
    names = [response.generator or "(unknown)" for response in responses]
    return pd.DataFrame(
        {
            "pair": pairs,
            "prompt": prompt,
            "prompt_id": [pool.prompts[x].prompt_id for x in prompt.tolist()],
            "stratum": [strata[x] for x in prompt.tolist()],
            "generator_a": [names[i] for i in first.tolist()],
            "generator_b": [names[j] for j in second.tolist()],
            "length_difference": np.abs(lengths[first] - lengths[second]),
        }
    )


def share_by(keys: Sequence[str], weights: np.ndarray, pool_weights: np.ndarray) -> pd.DataFrame:
    """Weight share and pool share of every key, largest weight first. All (pairs,); ratio: weight over pool share."""
    frame = pd.DataFrame({"key": list(keys), "weight": weights, "pool": pool_weights})
    out = frame.groupby("key", sort=False).sum().reset_index()
    out["weight"] /= max(out["weight"].sum(), 1e-300)
    out["pool"] /= max(out["pool"].sum(), 1e-300)
    out["ratio"] = out["weight"] / out["pool"].where(out["pool"] > 0, np.nan)
    return out.sort_values("weight", ascending=False, ignore_index=True)


def generator_pair_matrix(table: pd.DataFrame, weights: np.ndarray) -> pd.DataFrame:
    """Share of the weight on each unordered pair of generators: a symmetric table, generators in rows and columns."""
    frame = pd.DataFrame(
        {
            "a": np.where(table["generator_a"] <= table["generator_b"], table["generator_a"], table["generator_b"]),
            "b": np.where(table["generator_a"] <= table["generator_b"], table["generator_b"], table["generator_a"]),
            "weight": weights,
        }
    )
    totals = frame.groupby(["a", "b"])["weight"].sum()
    names = sorted({*frame["a"], *frame["b"]})
    matrix = pd.DataFrame(np.nan, index=names, columns=names)
    for a, b, value in totals.reset_index().itertuples(index=False):
        matrix.loc[a, b] = matrix.loc[b, a] = value
    return matrix / max(float(np.sum(weights)), 1e-300)


def background_sample(geometry: Geometry, *, limit: int = 20_000, seed: int = 0) -> np.ndarray:
    """Pair numbers that stand for the whole pool: all of them, or a seeded sample of `limit`."""
    if geometry.pairs <= limit:
        return np.arange(geometry.pairs)
    return np.sort(np.random.default_rng(seed).choice(geometry.pairs, size=limit, replace=False))


def alike(values: np.ndarray) -> bool:
    """Whether numbers are so nearly the same that a figure of them would show nothing."""
    return bool(np.ptp(values) <= 1e-3 * np.abs(values).max(initial=0.0))


def sanity(generators: pd.DataFrame, strata: pd.DataFrame, length: LengthShare) -> tuple[bool, str]:
    """Whether a design looks sane, and the sentence that says why. generators, strata: tables of `share_by`."""
    amiss: list[str] = []
    fine: list[str] = []
    for table, what in ((generators, "generator"), (strata, "stratum")):
        named = table[~table["key"].isin(["(unknown)", "(none)"]) & (table["pool"] > 0)]
        if len(named) < 2:
            continue
        heavy = named[named["weight"] >= LEAST]
        named = heavy if len(heavy) else named
        times = (named["weight"] / named["pool"]).to_numpy()
        name, most = str(named["key"].to_numpy()[int(times.argmax())]), float(times.max())
        told = f"{what} {name} draws {most:.1f} times its share of the pool"
        (amiss if most > TIMES else fine).append(told)
    if length.share is not None and length.uniform_share is not None:
        told = (
            f"{length.share:.0%} of what labels are chosen for lies along length (uniform labels: "
            f"{length.uniform_share:.0%})"
        )
        (amiss if length.share > max(LENGTH, 2 * length.uniform_share) else fine).append(told)
    if amiss:
        rest = f" Within bounds: {'; '.join(fine)}." if fine else ""
        return False, f"Look again before you pay: {'; '.join(amiss)}.{rest}"
    if not fine:
        return (
            True,
            "Nothing here can tell: the pool names no generators and no strata, and its answers are equally long.",
        )
    return True, f"The design looks sane: at most, {'; '.join(fine)}."
