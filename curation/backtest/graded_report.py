"""What a backtest of answers says: graded minus binary on the same pairs, and binary labels a graded one is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.backtest.arena import Arena, half_of
from curation.backtest.graded_split import ANSWERS, GradedPlan, GradedSplit, Noise
from curation.backtest.report import DRAWS, LEVEL, labels_for
from curation.insight.clustered import Interval, Means, clustered_means
from curation.insight.graded import LEVELS, agreement, graded_agreement

Array = NDArray[np.float64]
COMPARED = (("graded", "binary"), ("soft", "binary"), ("soft estimated", "binary"), ("graded", "soft"))
DECLARED = (
    "Declared before looking: reward at equal KL on prompts no batch saw, graded answers (cumulative logit) minus "
    "binary answers on the same pairs of the design, averaged over the budgets; one-sided test at 1 % with errors over "
    "prompts and seeds."
)


@dataclass(frozen=True)
class AnswerCurve:
    """One way of answering over the budgets: reward over the reference's, and binary labels of the same rule that earn
    the same, per label (inf: more than was tried), at every budget and their geometric mean."""

    rule: str
    answers: str
    reward: tuple[Interval, ...]
    multiple: tuple[Interval, ...]
    mean_multiple: Interval


@dataclass(frozen=True)
class AnswerDifference:
    """Reward of one way of answering minus another's on the same pairs. budget: None for the average. p: one-sided."""

    rule: str
    answers: str
    against: str
    budget: int | None
    interval: Interval
    p: float


@dataclass(frozen=True)
class NoiseReport:
    """All that was found at one noise. agreement, graded_agreement: of two annotators on random pairs, binary and on
    the five levels. estimated: (2,) thresholds the learner found, mean over splits and budgets of the first rule.
    shares: of the levels among its answers."""

    noise: Noise
    agreement: float
    graded_agreement: float
    curves: tuple[AnswerCurve, ...]
    differences: tuple[AnswerDifference, ...]
    estimated: tuple[float, float]
    shares: tuple[float, ...]
    verdict: str
    ahead: bool

    def difference(
        self, rule: str, answers: str = "graded", against: str = "binary", budget: int | None = None
    ) -> AnswerDifference:
        """One paired difference."""
        asked = (rule, answers, against, budget)
        return next(d for d in self.differences if (d.rule, d.answers, d.against, d.budget) == asked)

    def curve(self, rule: str, answers: str = "graded") -> AnswerCurve:
        """One curve."""
        return next(c for c in self.curves if (c.rule, c.answers) == (rule, answers))


@dataclass(frozen=True)
class GradedReport:
    """A backtest of answers, by noise. rules: the first is the one the verdicts are about."""

    rules: tuple[str, ...]
    budgets: tuple[int, ...]
    further: tuple[int, ...]
    noises: tuple[NoiseReport, ...]
    kl: float
    seeds: int
    prompts: int
    unit: str

    def to_dict(self) -> dict[str, Any]:
        """JSON form, infinity as null."""
        kept: dict[str, Any] = finite({**asdict(self), "levels": LEVELS, "declared": DECLARED})
        return kept

    def lines(self) -> list[str]:
        """The report in words and Markdown tables."""
        out = []
        for found in self.noises:
            asked = found.noise.agreement
            how = "the backtest's own noise" if asked is None else f"{asked:.0%} agreement asked for"
            shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(LEVELS, found.shares, strict=True))
            budgets = " | ".join(f"n = {n:,}" for n in self.budgets)
            out += [
                f"{how}: label temperature {found.noise.temperature:.3g}; two annotators agree on {found.agreement:.1%}"
                f" of random pairs by side and on {found.graded_agreement:.1%} by level. Answers of {self.rules[0]}: "
                f"{shares}.",
                f"| pairs | answers | {budgets} | over binary | binary labels a label |",
                "|---|---|" + "---|" * (len(self.budgets) + 2),
            ]
            for curve in found.curves:
                cells = " | ".join(f"{i.value:.3f}" for i in curve.reward)
                sides = " | "
                if curve.answers != "binary":
                    gained = found.difference(curve.rule, curve.answers).interval
                    sides = f"{gained.text()} | {worth_text(curve.mean_multiple)}"
                out.append(f"| {curve.rule} | {curve.answers} | {cells} | {sides} |")
            out.append(found.verdict)
        out.append(
            f"Reward over the reference's at {self.kl:.2f} nats, in {self.unit}; {self.seeds} splits of "
            f"{self.prompts:,} prompts; 95 % intervals, two-way clustered over prompts and splits."
        )
        return out


def make_graded_report(
    plan: GradedPlan, splits: Sequence[GradedSplit], arena: Arena, *, place: int = 0, seed: int = 0
) -> GradedReport:
    """Paired differences, label multiples and one verdict a noise, on the first rule of the plan.

    splits: of one arena. place: its number among the plan's.
    """
    base = plan.base
    rules = tuple(rule.name for rule in base.rules)
    baseline = np.stack([one.baseline for one in splits])
    whole = half_of(arena, np.arange(arena.prompts))
    gaps = whole.reward[whole.first] - whole.reward[whole.second]
    found = []
    for k, noise in enumerate(plan.noises[place]):
        main = np.stack([one.reward[k] for one in splits]) - baseline[:, None, None, None]  # (S, answers, rules, n, P)
        further = np.stack([one.further[k] for one in splits]) - baseline[:, None, None]
        flat = [values.reshape(len(splits), -1, arena.prompts) for values in (main, further)]
        means = clustered_means(np.concatenate(flat, axis=1), arena.pool.prompt_weights())
        columns = _Columns(rules, base.budgets, base.uniform_budgets)
        drawn = means.draws(DRAWS, np.random.default_rng([seed, 13, k]))
        curves = tuple(curve for rule in range(len(rules)) for curve in _curves(columns, means, drawn, rule))
        differences = _differences(columns, means)
        test = next(d for d in differences if (d.rule, d.answers, d.budget) == (rules[0], "graded", None))
        worth = next(c for c in curves if (c.rule, c.answers) == (rules[0], "graded")).mean_multiple
        eta = gaps / noise.temperature
        low, high = np.mean([one.thresholds[k, 0] for one in splits], axis=(0, 1))
        found.append(
            NoiseReport(
                noise=noise,
                agreement=agreement(eta),
                graded_agreement=graded_agreement(eta, noise.thresholds),
                curves=curves,
                differences=differences,
                estimated=(float(low), float(high)),
                shares=tuple(np.mean([one.shares[k, 0] for one in splits], axis=0).tolist()),
                verdict=_verdict(test, worth),
                ahead=test.p < LEVEL,
            )
        )
    return GradedReport(
        rules=rules,
        budgets=base.budgets,
        further=base.uniform_budgets,
        noises=tuple(found),
        kl=float(base.kl or min(one.kl for one in splits)),
        seeds=len(splits),
        prompts=arena.prompts,
        unit=arena.unit,
    )


@dataclass(frozen=True)
class _Columns:
    """Where each mean is kept: answers outermost, then rules, then budgets; further budgets of binary answers last."""

    rules: tuple[str, ...]
    budgets: tuple[int, ...]
    further: tuple[int, ...]

    def of(self, rule: int, answers: int) -> np.ndarray:
        count = len(self.budgets)
        return (answers * len(self.rules) + rule) * count + np.arange(count)

    def ladder(self, rule: int) -> tuple[np.ndarray, Array]:
        """Columns of a rule's binary answers at every budget, rising, and those budgets."""
        last = len(ANSWERS) * len(self.rules) * len(self.budgets)
        columns = np.r_[self.of(rule, 0), last + rule * len(self.further) + np.arange(len(self.further))]
        steps = np.array([*self.budgets, *self.further], dtype=np.float64)
        order = np.argsort(steps, kind="stable")
        return columns[order], steps[order]


def _curves(columns: _Columns, means: Means, drawn: Array, rule: int) -> list[AnswerCurve]:
    """A rule's curves, one for each way of answering."""
    ladder, steps = columns.ladder(rule)
    budgets = np.array(columns.budgets, dtype=np.float64)
    unit = np.eye(len(means.value))
    values = np.vstack([means.value, drawn])  # the estimate itself first
    out = []
    for answers, name in enumerate(ANSWERS):
        place = columns.of(rule, answers)
        made = log_multiples(values[:, place], budgets, values[:, ladder], steps)
        each = tuple(_quantiles(made[:, k]) for k in range(len(place)))
        reward = tuple(means.contrast(unit[column])[0] for column in place)
        out.append(AnswerCurve(columns.rules[rule], name, reward, each, _quantiles(made.mean(1))))
    return out


def log_multiples(reward: Array, budgets: Array, ladder: Array, steps: Array) -> Array:
    """Log of the binary labels that earn what a label of this curve does, at every budget. (s, m).

    reward: (s, m) of s draws at the budgets (m,). ladder: (s, r) binary reward at steps (r,), made monotone; of
    several budgets that earn alike the least counts.
    """
    found = [labels_for(row, steps, rungs) for row, rungs in zip(reward, monotone(ladder), strict=True)]
    return np.asarray(np.stack(found) - np.log(budgets))


def monotone(values: Array) -> Array:
    """Isotonic regression of every row (s, r), all alike weighted: max over i <= k of min over j >= k of the mean of
    i..j (Barlow et al. 1972), quick for many short rows."""
    count = values.shape[1]
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    low, high = np.arange(count)[:, None], np.arange(1, count + 1)[None]
    size = np.where(high > low, high - low, 1)
    mean = np.where(high > low, (sums[:, None, 1:] - sums[:, :-1, None]) / size, np.inf)  # (s, from, to)
    least = np.minimum.accumulate(mean[:, :, ::-1], axis=2)[:, :, ::-1]  # over every end from `to` on
    least[:, ~(high > low)] = -np.inf
    return np.asarray(np.maximum.accumulate(least, axis=1)[:, np.arange(count), np.arange(count)])


def _quantiles(drawn: Array) -> Interval:
    """The first of values (1 + draws,) of a logarithm and the middle 95 % of the others, as multiples."""
    low, high = np.quantile(drawn[1:], [0.025, 0.975], method="inverted_cdf")
    return Interval(float(np.exp(drawn[0])), float(np.exp(low)), float(np.exp(high)))


def _differences(columns: _Columns, means: Means) -> tuple[AnswerDifference, ...]:
    found = []
    for rule, name in enumerate(columns.rules):
        for one, other in COMPARED:
            here, there = (columns.of(rule, ANSWERS.index(answers)) for answers in (one, other))
            for budget in (None, *columns.budgets):
                chosen = np.arange(len(here)) if budget is None else np.array([columns.budgets.index(budget)])
                direction = np.zeros(len(means.value))
                direction[here[chosen]], direction[there[chosen]] = 1 / len(chosen), -1 / len(chosen)
                interval, p = means.contrast(direction)
                found.append(AnswerDifference(name, one, other, budget, interval, p))
    return tuple(found)


def _verdict(test: AnswerDifference, worth: Interval) -> str:
    figures = f"{test.interval.text()} in reward on the same pairs, {worth_text(worth)} binary labels a label"
    if test.p < LEVEL:
        return f"Graded answers are ahead of binary ones here ({figures})."
    if test.interval.high < 0:
        return f"Graded answers do not pay: binary ones are ahead here ({figures})."
    return f"Graded answers do not pay as far as this test can tell ({figures})."


def worth_text(worth: Interval) -> str:
    """`1.8 (1.2 to 2.9)`, infinity in words."""
    value, low, high = (
        f"{x:.1f}" if np.isfinite(x) else "more than tried" for x in (worth.value, worth.low, worth.high)
    )
    return f"{value} ({low} to {high})"


def finite(value: Any) -> Any:
    """JSON form of nested values: infinity, which JSON does not have, is null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
