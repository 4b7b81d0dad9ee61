"""Agreement of answers to the same pair beyond chance: Krippendorff's alpha (evalica), Gwet's AC1, their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Metric = Literal["nominal", "ordinal", "interval"]
Value = str | int
Interval = tuple[float, float]
RESAMPLES = 2000
SEED = 0
_TAILS = (2.5, 97.5)  # percentiles of a 95 % interval


@dataclass(frozen=True)
class Agreement:
    """How far answers to the same pair agree. pairs: compared ones; answers: on them.

    agreement: share of two answers to a pair with the same side. alpha: Krippendorff's, by `metric`; None where only
    one value was ever given. ac1: Gwet's, on sides. ..._interval: 95 %, of pairs drawn anew (alpha: Krippendorff's own
    bootstrap of disagreements); from a fixed seed.
    """

    pairs: int
    answers: int
    agreement: float
    agreement_interval: Interval
    alpha: float | None
    alpha_interval: Interval | None
    ac1: float
    ac1_interval: Interval
    metric: Metric = "nominal"

    def words(self) -> str:
        """The figures in one clause."""
        alpha = ""
        if self.alpha is not None and self.alpha_interval is not None:
            alpha = f", Krippendorff's alpha {self.alpha:.2f} ({_span(self.alpha_interval)})"
        low, high = self.agreement_interval
        return (
            f"on {self.pairs:,} pairs, agreement {self.agreement:.0%} ({low:.0%} to {high:.0%}){alpha}, "
            f"Gwet's AC1 {self.ac1:.2f} ({_span(self.ac1_interval)})"
        )


def _span(interval: Interval) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"


def agreement_of(sides: Sequence[Sequence[Value]], steps: Sequence[Sequence[int]] | None = None) -> Agreement | None:
    """Agreement over units, each the answers of one pair; units of one answer are left out, None where none is left.

    steps: the same answers on the scale from -2 to 2, where all have a strength; alpha is then ordinal.
    """
    compared = [values for values in sides if len(values) > 1]
    if not compared:
        return None
    scaled, metric = (compared, "nominal") if steps is None else ([v for v in steps if len(v) > 1], "ordinal")
    alpha = krippendorff_alpha(scaled, metric=metric)  # type: ignore[arg-type]
    tally = _Tally.of(compared)
    drawn = tally.drawn()
    agreement, ac1 = (np.percentile(found, _TAILS) for found in (tally.agreement(drawn), tally.ac1(drawn)))
    return Agreement(
        pairs=len(compared),
        answers=sum(map(len, compared)),
        agreement=float(tally.agreement(tally.counts)),
        agreement_interval=(float(agreement[0]), float(agreement[1])),
        alpha=alpha,
        alpha_interval=None if alpha is None else _alpha_interval(scaled, metric),  # type: ignore[arg-type]
        ac1=float(tally.ac1(tally.counts)),
        ac1_interval=(float(ac1[0]), float(ac1[1])),
        metric=metric,  # type: ignore[arg-type]
    )


def pairwise_agreement(units: Iterable[Sequence[Value]]) -> float | None:
    """Share of pairs of answers to the same unit that are equal; None where nothing was answered twice."""
    compared = [values for values in units if len(values) > 1]
    if not compared:
        return None
    tally = _Tally.of(compared)
    return float(tally.agreement(tally.counts))


def krippendorff_alpha(units: Iterable[Sequence[Value]], *, metric: Metric = "nominal") -> float | None:
    """Krippendorff's alpha of the values given to each unit, by evalica; units with fewer than two are left out.

    metric: how far two values are apart: `nominal` 0 or 1; `ordinal` and `interval` for numbers. None where there is
    nothing to compare, or only one value was ever given (chance agreement is then certain).
    """
    import evalica

    compared = [values for values in units if len(values) > 1]
    if len({value for values in compared for value in values}) < 2:
        return None
    return float(evalica.alpha(_observers(compared), metric).alpha)


def _alpha_interval(units: Sequence[Sequence[Value]], metric: Metric) -> Interval:
    import evalica

    found = evalica.alpha_bootstrap(_observers(units), metric, n_resamples=RESAMPLES, random_state=SEED)
    return float(found.low), float(found.high)


def _observers(units: Sequence[Sequence[Value]]) -> pd.DataFrame:
    """(most answers of a unit, units): alpha does not ask who an observer is, so the n-th answers make one row."""
    import pandas as pd

    codes: dict[Value, float] = {}
    table = np.full((max(map(len, units)), len(units)), np.nan)
    for column, values in enumerate(units):
        for row, value in enumerate(values):
            table[row, column] = codes.setdefault(value, float(len(codes))) if isinstance(value, str) else value
    return pd.DataFrame(table)


def gwet_ac1(units: Iterable[Sequence[Value]]) -> float | None:
    """Gwet's AC1, (pa - pe) / (1 - pe), of the values given to each unit; None where nothing was answered twice.

    pa: mean over units of the share of agreeing pairs of answers. pe = sum_k p_k (1 - p_k) / (q - 1), with p_k the mean
    share of value k in a unit and q the number of values that were given, at least two. Gwet (2008), "Computing
    inter-rater reliability and its variance in the presence of high agreement", Br. J. Math. Stat. Psychol. 61, 29-48.
    """
    compared = [values for values in units if len(values) > 1]
    if not compared:
        return None
    tally = _Tally.of(compared)
    return float(tally.ac1(tally.counts))


@dataclass(frozen=True)
class _Tally:
    """Units that were answered alike, counted: drawing units anew is then drawing their kinds.

    counts: (K,) units of each kind. shares: (K, q) of each value. same, total: (K,) pairs of answers, equal and all.
    """

    counts: NDArray[np.int64]
    shares: NDArray[np.float64]
    same: NDArray[np.float64]
    total: NDArray[np.float64]

    @classmethod
    def of(cls, units: Sequence[Sequence[Value]]) -> _Tally:
        values = sorted({value for unit in units for value in unit}, key=str)
        kinds = Counter(tuple(unit.count(value) for value in values) for unit in map(list, units))
        given = np.array(list(kinds), dtype=float)
        answers = given.sum(axis=1)
        return cls(
            counts=np.array(list(kinds.values()), dtype=np.int64),
            shares=given / answers[:, None],
            same=(given * (given - 1)).sum(axis=1) / 2,
            total=answers * (answers - 1) / 2,
        )

    def drawn(self) -> NDArray[np.int64]:
        """(RESAMPLES, K) counts of as many units drawn with replacement."""
        n = int(self.counts.sum())
        return np.random.default_rng(SEED).multinomial(n, self.counts / n, size=RESAMPLES)

    def agreement(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Over the last axis of counts."""
        found: NDArray[np.float64] = (counts @ self.same) / (counts @ self.total)
        return found

    def ac1(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Over the last axis of counts."""
        n = counts.sum(axis=-1)
        observed = (counts @ (self.same / self.total)) / n
        share = (counts @ self.shares) / n[..., None]
        chance = (share * (1 - share)).sum(axis=-1) / (max(self.shares.shape[1], 2) - 1)
        found: NDArray[np.float64] = (observed - chance) / (1 - chance)
        return found
