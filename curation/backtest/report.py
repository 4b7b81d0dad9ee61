"""What a backtest shows: paired differences with intervals, label multiples, and one verdict declared beforehand."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from curation.backtest.arena import Arena
from curation.backtest.split import Outcome
from curation.design.rules.base import RULES
from curation.insight.clustered import Interval, Means, clustered_means

Array = NDArray[np.float64]
DRAWS = 4000  # of the means, for the intervals of label multiples
LEVEL = 0.01  # of the one test
ARRAYS = ("reward_error", "gap", "gap_error", "accuracy", "accuracy_error")
DECLARED = (
    "Declared before looking: reward at equal KL on prompts no batch saw, design minus uniform, averaged over the "
    "budgets; one-sided test at 1 % with errors over prompts and seeds, passed on the outcomes as they are and with "
    "the nuisance (length, unless said) taken out."
)


@dataclass(frozen=True)
class Difference:
    """Reward of a rule minus a reference rule's, paired. budget: None for the average over budgets. p: one-sided
    probability of such a lead where there is none."""

    rule: str
    reference: str
    budget: int | None
    interval: Interval
    p: float


@dataclass(frozen=True)
class Curve:
    """A rule over the budgets: reward over the reference policy's, (budgets,) with 95 % intervals; parameter gap and
    pair accuracy, means with standard errors over seeds. multiple: uniform labels that earn the same reward, per
    label (inf: more than was tried)."""

    rule: str
    reward: tuple[Interval, ...]
    reward_error: Array
    gap: Array
    gap_error: Array
    accuracy: Array
    accuracy_error: Array
    multiple: tuple[Interval, ...]
    mean_multiple: Interval


@dataclass(frozen=True)
class Report:
    """Everything a backtest says. uniform_curve: labels, reward of uniform sampling (monotone) and its 95 % band."""

    budgets: tuple[int, ...]
    curves: tuple[Curve, ...]
    differences: tuple[Difference, ...]
    uniform_curve: tuple[Array, Array, Array, Array]
    kl: float
    seeds: int
    prompts: int
    unit: str
    verdict: str
    ahead: bool

    def difference(self, rule: str, reference: str, budget: int | None = None) -> Difference:
        """One paired difference."""
        return next(d for d in self.differences if (d.rule, d.reference, d.budget) == (rule, reference, budget))

    def curve(self, rule: str) -> Curve:
        """One rule's curve."""
        return next(c for c in self.curves if c.rule == rule)

    def to_dict(self) -> dict[str, Any]:
        """JSON form, without infinities."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Report:
        """From the JSON form."""
        curves = tuple(
            Curve(
                rule=c["rule"],
                reward=tuple(_interval(i) for i in c["reward"]),
                multiple=tuple(_interval(i) for i in c["multiple"]),
                mean_multiple=_interval(c["mean_multiple"]),
                **{name: np.array(c[name]) for name in ARRAYS},
            )
            for c in kept["curves"]
        )
        differences = tuple(Difference(**{**d, "interval": _interval(d["interval"])}) for d in kept["differences"])
        lines = [np.array(line, dtype=float) for line in kept["uniform_curve"]]
        return cls(
            **{
                **kept,
                "budgets": tuple(kept["budgets"]),
                "curves": curves,
                "differences": differences,
                "uniform_curve": (lines[0], lines[1], lines[2], lines[3]),
            }
        )


def _plain(value: Any) -> Any:
    """JSON of a field: infinity, which JSON does not have, is null."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _interval(kept: dict[str, float | None]) -> Interval:
    return Interval(**{name: np.inf if value is None else value for name, value in kept.items()})


def make_report(
    outcome: Outcome,
    arena: Arena,
    *,
    design: str = "design",
    references: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Report:
    """The curves, the differences, the label multiples and the verdict on the rule named `design`.

    references: rules that the others' leads are told over; None: uniform and its rivals among the simple rules.
    """
    if references is None:
        references = ("uniform", *(rule.name for rule in RULES if rule.rival))
    omega = arena.pool.prompt_weights()
    gained = outcome.reward - outcome.baseline[:, None, None, :]  # over the reference, which cancels in differences
    ladder = outcome.uniform_reward - outcome.baseline[:, None, :]
    seeds, rules, budgets, prompts = gained.shape
    main = rules * budgets
    means = clustered_means(np.concatenate([gained.reshape(seeds, main, prompts), ladder], axis=1), omega)
    drawn = means.draws(DRAWS, np.random.default_rng([seed, 11]))
    differences = _differences(outcome, means, references)
    steps, smooth, drawn_smooth = uniform_curve(outcome, means.value, drawn)
    curves = []
    for k, name in enumerate(outcome.names):
        place = slice(k * budgets, (k + 1) * budgets)
        multiples = _multiples(outcome, means.value[place], drawn[:, place], steps, smooth, drawn_smooth)
        curves.append(_curve(outcome, k, name, means, omega, multiples))
    test = next(d for d in differences if (d.rule, d.reference, d.budget) == (design, "uniform", None))
    low, high = np.quantile(drawn_smooth, [0.025, 0.975], axis=0)
    return Report(
        budgets=outcome.budgets,
        curves=tuple(curves),
        differences=differences,
        uniform_curve=(steps, smooth, low, high),
        kl=outcome.kl,
        seeds=outcome.seeds,
        prompts=prompts,
        unit=arena.unit,
        verdict=verdict(design, differences, next(c for c in curves if c.rule == design)),
        ahead=test.p < LEVEL,
    )


def verdict(design: str, differences: tuple[Difference, ...], curve: Curve) -> str:
    """One sentence: the declared test, then how the design stands to the simple rules."""
    by = {d.reference: d for d in differences if d.rule == design and d.budget is None}
    test, worth = by["uniform"], curve.mean_multiple
    figures = _test(test)
    rivals = [_standing(by[rule.name], rule.rival) for rule in RULES if rule.rival and rule.name in by]
    against = f"; {' and '.join(rivals)}" if rivals else ""
    if test.p < LEVEL:
        return f"Choosing pairs is ahead of uniform sampling here ({figures}), {_worth(worth)}{against}."
    if test.interval.high < 0:
        return f"No design is better: uniform sampling is ahead of this one here ({figures}){against}."
    return f"No design is better: uniform sampling is as good here as far as this test can tell ({figures}){against}."


def joint_verdict(given: Report, without: Report, nuisance: str) -> str:
    """The declared verdict on both outcomes: as they are, and with the judge's liking for the nuisance taken out."""
    if given.ahead and without.ahead:
        test = without.difference("design", "uniform")
        return f"{given.verdict} With {nuisance} taken out it is ahead too ({_test(test)})."
    if given.ahead:
        return (
            f"Ahead of uniform sampling only while the judge's liking for {nuisance} counts "
            f"({_test(given.difference('design', 'uniform'))}). With {nuisance} taken out: {without.verdict}"
        )
    if without.ahead:
        return (
            f"Ahead of uniform sampling only with {nuisance} taken out "
            f"({_test(without.difference('design', 'uniform'))}). On the outcomes as they are: {given.verdict}"
        )
    return f"{given.verdict} With {nuisance} taken out the same ({_test(without.difference('design', 'uniform'))})."


def _test(difference: Difference) -> str:
    return f"{difference.interval.text()} in reward, p {_p(difference.p)}"


def _p(p: float) -> str:
    return f"= {p:.2g}" if p >= 1e-4 else "< 0.0001"


def _standing(difference: Difference, rule: str) -> str:
    """rule: what the reference is called."""
    interval = difference.interval
    if interval.low > 0:
        return f"it is also ahead of {rule} ({interval.text()})"
    if interval.high < 0:
        return f"it is behind {rule} ({interval.text()}), which needs no solver"
    return f"it is not ahead of {rule} ({interval.text()})"


def _worth(worth: Interval) -> str:
    if not np.isfinite(worth.value):
        return "and no number of uniform labels that was tried earns as much"
    high = f"{worth.high:.1f}" if np.isfinite(worth.high) else "more than was tried"
    return f"worth {worth.value:.1f} uniform labels a label ({worth.low:.1f} to {high})"


def _differences(outcome: Outcome, means: Means, references: tuple[str, ...]) -> tuple[Difference, ...]:
    count = len(outcome.budgets)
    found = []
    for reference in references:
        if reference not in outcome.names:
            continue
        base = outcome.rule(reference)
        for k, name in enumerate(outcome.names):
            if k == base:
                continue
            for place in (None, *range(count)):
                direction = np.zeros(len(means.value))
                chosen = np.arange(count) if place is None else np.array([place])
                direction[k * count + chosen] = 1 / len(chosen)
                direction[base * count + chosen] = -1 / len(chosen)
                interval, p = means.contrast(direction)
                budget = None if place is None else outcome.budgets[place]
                found.append(Difference(name, reference, budget, interval, p))
    return tuple(found)


def uniform_curve(outcome: Outcome, value: Array, drawn: Array) -> tuple[Array, Array, Array]:
    """Labels, and reward of uniform sampling made monotone: of the estimate (r,) and of every draw (draws, r)."""
    budgets = len(outcome.budgets)
    start = outcome.rule("uniform") * budgets
    columns = np.r_[start : start + budgets, len(outcome.names) * budgets : len(value)]
    steps = np.array([*outcome.budgets, *outcome.uniform_budgets], dtype=float)
    order = np.argsort(steps, kind="stable")
    columns = columns[order]
    smooth = np.stack([isotonic_regression(row).x for row in drawn[:, columns]])
    return steps[order], np.asarray(isotonic_regression(value[columns]).x), smooth


def _multiples(
    outcome: Outcome, value: Array, drawn: Array, steps: Array, smooth: Array, drawn_smooth: Array
) -> tuple[tuple[Interval, ...], Interval]:
    """A rule's label multiple at every budget, and their geometric mean."""
    budgets = np.log(np.array(outcome.budgets, dtype=float))
    point = labels_for(value, steps, smooth) - budgets
    spread = np.stack([labels_for(row, steps, rung) for row, rung in zip(drawn, drawn_smooth, strict=True)]) - budgets
    each = tuple(_quantiles(p, spread[:, place]) for place, p in enumerate(point))
    return each, _quantiles(float(point.mean()), spread.mean(1))


def _quantiles(value: float, drawn: Array) -> Interval:
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    return Interval(float(np.exp(value)), float(np.exp(low)), float(np.exp(high)))


def labels_for(reward: Array, steps: Array, smooth: Array) -> Array:
    """Log of the uniform labels that earn a reward: linear in log labels between the rungs of a monotone curve.

    reward: (m,). steps, smooth: (r,) labels and reward, rising. Below the first rung labels are taken in proportion to
    reward (none earn none), down to a thousandth; above the last no number tried was enough (inf).
    """
    rising = smooth + np.arange(len(smooth)) * 1e-9  # so that a flat stretch has an end
    found = np.interp(reward, rising, np.log(steps))
    share = np.clip(reward / max(float(rising[0]), 1e-12), 1e-3, 1.0)
    found = np.where(reward < rising[0], np.log(steps[0]) + np.log(share), found)
    return np.where(reward > rising[-1], np.inf, found)


def _curve(
    outcome: Outcome,
    place: int,
    name: str,
    means: Means,
    omega: Array,
    multiples: tuple[tuple[Interval, ...], Interval],
) -> Curve:
    count = len(outcome.budgets)
    rows = np.eye(len(means.value))[place * count : (place + 1) * count]
    gained = outcome.reward[:, place] - outcome.baseline[:, None, :]
    accuracy = _per_seed(outcome.accuracy[:, place], omega)
    gap = outcome.gap[:, place]
    return Curve(
        rule=name,
        reward=tuple(means.contrast(row)[0] for row in rows),
        reward_error=_error(_per_seed(gained, omega)),
        gap=gap.mean(0),
        gap_error=_error(gap),
        accuracy=accuracy.mean(0),
        accuracy_error=_error(accuracy),
        multiple=multiples[0],
        mean_multiple=multiples[1],
    )


def _per_seed(values: Array, omega: Array) -> Array:
    """(S, budgets) means over the prompts judged of values (S, budgets, P)."""
    weight = np.where(np.isfinite(values), omega, 0.0)
    return np.asarray(np.nansum(values * omega, axis=-1) / weight.sum(-1))


def _error(values: Array) -> Array:
    """Standard error over seeds, (budgets,)."""
    return np.asarray(values.std(0, ddof=1) / np.sqrt(len(values)))
