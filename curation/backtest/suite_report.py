"""Many pools in one table: on which is a rule ahead of uniform sampling, by how much, and where is it worst?

Pools differ in the unit of their reward, so leads are told in standard deviations of the reward within prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.backtest.arena import Arena
from curation.backtest.report import uniform_curve
from curation.backtest.split import Outcome
from curation.insight.clustered import Interval, clustered_means
from curation.representation.segments import centre_within

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """A rule on one pool and one kind of outcome.

    lead: over uniform, mean over the budgets, in within-prompt standard deviations of the reward, with its 95 % t
    interval; error: its standard error. lowest: the smallest lead at any budget in standard errors. multiple: uniform
    labels that earn as much, per label (see `label_multiple`).
    """

    rule: str
    pool: str
    outcome: str
    lead: Interval
    error: float
    lowest: float
    multiple: float


@dataclass(frozen=True)
class Ground:
    """One pool and one kind of outcome. learns: whether uniform sampling earns more than the reference by two standard
    errors at its largest budget, so that a label multiple means something. uniform: what it earns there."""

    pool: str
    outcome: str
    learns: bool
    uniform: float
    budgets: tuple[int, ...]
    prompts: int
    seeds: int


@dataclass(frozen=True)
class Suite:
    """Every rule on every pool and outcome. what: each rule in words. skipped: files left out, with the reason."""

    grounds: tuple[Ground, ...]
    standings: tuple[Standing, ...]
    what: dict[str, str]
    explained: dict[str, str]
    skipped: tuple[str, ...]
    seconds: float

    def of(self, rule: str) -> list[Standing]:
        """A rule's standings, in the order of the grounds."""
        return [s for s in self.standings if s.rule == rule]

    def multiple(self, rule: str, *, leaving: str | None = None) -> float:
        """Geometric mean of the label multiples over the grounds on which uniform learns; nan without any.

        leaving: a pool left out.
        """
        known = {(g.pool, g.outcome) for g in self.grounds if g.learns and g.pool != leaving}
        values = [math.log(s.multiple) for s in self.of(rule) if (s.pool, s.outcome) in known]
        return math.exp(float(np.mean(values))) if values else math.nan

    def worst(self, rule: str, *, leaving: str | None = None) -> Standing:
        """Where a rule's lead at some budget is lowest, in standard errors."""
        return min((s for s in self.of(rule) if s.pool != leaving), key=lambda s: s.lowest)

    def chosen_without(self, pool: str, rules: Sequence[str]) -> str:
        """The rule that would be chosen on the other pools: never behind uniform by two standard errors at any budget,
        then the largest geometric-mean multiple; where none is so safe, the one whose worst lead is least bad."""
        safe = [rule for rule in rules if self.worst(rule, leaving=pool).lowest >= -2]
        if safe:
            return max(safe, key=lambda rule: self.multiple(rule, leaving=pool))
        return max(rules, key=lambda rule: self.worst(rule, leaving=pool).lowest)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; figures that are not finite are null."""
        return {
            "grounds": [asdict(g) for g in self.grounds],
            "standings": [asdict(s) for s in self.standings],
            "rules": {
                rule: {"what": what, "multiple": _finite(self.multiple(rule)), "worst": asdict(self.worst(rule))}
                for rule, what in self.what.items()
                if self.of(rule)
            },
            "explained": self.explained,
            "skipped": list(self.skipped),
            "seconds": self.seconds,
        }


def read_standings(kept: dict[str, Any]) -> tuple[list[Ground], list[Standing]]:
    """Grounds and standings from their JSON form."""
    grounds = [Ground(**{**g, "budgets": tuple(g["budgets"])}) for g in kept["grounds"]]
    return grounds, [Standing(**{**s, "lead": Interval(**s["lead"])}) for s in kept["standings"]]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def standings(outcome: Outcome, arena: Arena, *, pool: str, kind: str) -> tuple[Ground, list[Standing]]:
    """Where every rule of an outcome stands against uniform sampling. kind: of the outcome, in words."""
    size = reward_deviation(arena)
    gained = (outcome.reward - outcome.baseline[:, None, None, :]) / size
    ladder = (outcome.uniform_reward - outcome.baseline[:, None, :]) / size
    seeds, rules, budgets, prompts = gained.shape
    means = clustered_means(
        np.concatenate([gained.reshape(seeds, rules * budgets, prompts), ladder], axis=1), arena.pool.prompt_weights()
    )
    base = outcome.rule("uniform") * budgets
    steps, smooth, _ = uniform_curve(outcome, means.value, means.value[None])
    top = np.zeros(len(means.value))
    top[base + budgets - 1] = 1
    ground = Ground(
        pool, kind, _errors(means.contrast(top)[0], means.freedom) > 2, float(means.value[base + budgets - 1]),
        outcome.budgets, prompts, seeds,
    )  # fmt: skip
    found = []
    for k, rule in enumerate(outcome.names):
        each = np.zeros((budgets, len(means.value)))
        for b in range(budgets):
            each[b, k * budgets + b] += 1
            each[b, base + b] -= 1
        lead, _ = means.contrast(each.mean(0))
        lowest = min(_errors(means.contrast(row)[0], means.freedom) for row in each)
        multiple = label_multiple(means.value[k * budgets : (k + 1) * budgets], outcome.budgets, steps, smooth)
        error = (lead.high - lead.value) / _half(means.freedom)
        found.append(Standing(rule, pool, kind, lead, error, lowest, multiple))
    return ground, found


def label_multiple(reward: Array, budgets: Sequence[int], steps: Array, smooth: Array) -> float:
    """The factor m by which uniform sampling's labels must grow at every budget to earn the same on average.

    reward: (B,) of a rule at its budgets. steps, smooth: (r,) labels and reward of uniform sampling, rising; linear in
    log labels between, in proportion to labels below the first. One factor for all budgets: where little is learned the
    reward of one budget may lie below nothing, and a factor of its own would be noise. Between 1/100 and the largest
    number tried at the smallest budget.
    """
    asked = np.asarray(budgets, dtype=float)

    def earned(log_m: float) -> float:
        labels = asked * math.exp(log_m)
        below = smooth[0] * np.minimum(labels / steps[0], 1.0) if smooth[0] > 0 else np.full(len(labels), smooth[0])
        inside = np.interp(np.log(labels), np.log(steps), smooth)
        return float(np.where(labels < steps[0], below, inside).mean())

    low, high, target = math.log(1e-2), math.log(steps[-1] / asked.min()), float(reward.mean())
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if earned(middle) < target else (low, middle)
    return math.exp((low + high) / 2)


def reward_deviation(arena: Arena) -> float:
    """Standard deviation of the reward within prompts; 1 where outcomes are shares of labels won."""
    if arena.source == "labels":
        return 1.0
    return float(np.sqrt(np.mean(np.square(centre_within(arena.reward, arena.pool.offsets())))))


def _half(freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _errors(interval: Interval, freedom: int) -> float:
    """An estimate in standard errors; 0 for an estimate that is 0 for certain."""
    error = (interval.high - interval.value) / _half(freedom)
    return interval.value / error if error > 0 else 0.0


def suite_lines(suite: Suite, default: str = "design") -> list[str]:
    """A Markdown table, best first, and what it says of the default."""
    grounds = list(suite.grounds)
    head = " | ".join(f"{g.pool}, {g.outcome}" for g in grounds)
    lines = [
        f"| rule | {head} | label multiple | worst lead |",
        "|---|" + "---|" * (len(grounds) + 2),
    ]
    ranked = sorted(
        (rule for rule in suite.what if suite.of(rule) and rule != "uniform"),
        key=lambda rule: -np.nan_to_num(suite.multiple(rule)),
    )
    for rule in ranked:
        by = {(s.pool, s.outcome): s for s in suite.of(rule)}
        cells = []
        for g in grounds:
            s = by.get((g.pool, g.outcome))
            cells.append("" if s is None else f"{s.lead.value:+.3f} ± {s.error:.3f} (x {s.multiple:.1f})")
        worst = suite.worst(rule)
        lines.append(
            f"| {rule} | {' | '.join(cells)} | {suite.multiple(rule):.2f} | {worst.lowest:+.1f} s.e. on {worst.pool}, "
            f"{worst.outcome} |"
        )
    silent = [f"{g.pool}, {g.outcome}" for g in grounds if not g.learns]
    lines += [
        "",
        "Lead over uniform in within-prompt standard deviations of the reward, mean over the budgets, ± its two-way "
        "clustered standard error; in brackets the uniform labels a label is worth. Label multiple: geometric mean "
        "over the pools and outcomes on which uniform sampling learns"
        + (f" (not {'; '.join(silent)})." if silent else " (all).")
        + " Worst lead: the lowest at any budget of any pool, in standard errors.",
    ]
    return [*lines, *suite.skipped, *default_lines(suite, default)]


def default_lines(suite: Suite, default: str = "design") -> list[str]:
    """What the suite says of one rule, and of choosing it elsewhere, pool by pool."""
    if not suite.of(default):
        return []
    worst = suite.worst(default)
    safe = "never behind uniform by two standard errors" if worst.lowest >= -2 else "BEHIND uniform"
    lines = [
        f"{default}: {safe} (lowest {worst.lowest:+.1f} on {worst.pool}, {worst.outcome}); one label is worth "
        f"{suite.multiple(default):.2f} uniform ones (geometric mean)."
    ]
    rules = [rule for rule, what in suite.what.items() if what.startswith("design") and suite.of(rule)]
    if len(rules) > 2:
        for pool in dict.fromkeys(g.pool for g in suite.grounds):
            rule = suite.chosen_without(pool, rules)
            here = [s for s in suite.of(rule) if s.pool == pool]
            told = "; ".join(
                f"{s.outcome} {s.lead.text()}, lowest {s.lowest:+.1f} s.e., x {s.multiple:.1f}" for s in here
            )
            lines.append(f"Chosen without {pool}: {rule}. On {pool}: {told}.")
    return lines
