"""What a judge likes besides quality: length, markdown and other columns, and outcomes with that liking taken out.

A judge who likes long answers pays for length. A policy that learns it earns that judge's reward and perhaps no
person's, so every verdict is given twice: on the outcomes as they are and on what is left of them once the linear
within-prompt liking for the nuisance columns is taken out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.backtest.arena import Arena, BacktestError, half_of
from curation.pool.schema import Pool
from curation.representation.segments import centre_within

Array = NDArray[np.float64]
BUILT_IN = ("length", "markdown")
MARKS = re.compile(r"^\s*(?:#{1,6}\s|[-*+]\s|\d+[.)]\s|>\s|\|.*\|\s*$|```)|\*\*[^*\n]+\*\*|`[^`\n]+`", re.MULTILINE)


@dataclass(frozen=True)
class Explained:
    """How much of the outcomes the nuisance columns account for.

    names, slopes: (k,) outcome units per within-prompt standard deviation of each column. share: of the outcomes'
    variance within prompts. longer_wins: share of the decided pairs of unequal length that the longer answer wins.
    unit: what the outcome is, in words.
    """

    names: tuple[str, ...]
    slopes: tuple[float, ...]
    share: float
    longer_wins: float
    unit: str

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> Explained:
        """From the JSON form."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
        return cls(**values)

    def sentence(self) -> str:
        """For people."""
        slopes = ", ".join(
            f"{s:+.2f} a standard deviation of {n}" for n, s in zip(self.names, self.slopes, strict=True)
        )
        what = " and ".join(self.names)
        longer = f"The longer answer wins {self.longer_wins:.0%} of the pairs"
        if math.isnan(self.longer_wins):
            longer = "No decided pair is of unequal length"
        return (
            f"{longer}; {what} within a prompt "
            f"{'explain' if len(self.names) > 1 else 'explains'} {self.share:.1%} of the outcomes' variance ({slopes})."
        )


def markdown_density(text: str) -> float:
    """Markdown marks (headings, list items, quotes, tables, fences, bold, code) a hundred characters."""
    return 100.0 * len(MARKS.findall(text)) / max(len(text), 1)


def nuisance_columns(pool: Pool, names: Sequence[str]) -> Array:
    """(N, k) nuisance columns of every response, centred within its prompt, each of mean square 1 over the pool.

    `length` is log(1 + characters), `markdown` the density of marks; any other name is a number in the responses'
    `meta`. A column that never differs within a prompt is zero. Raises BacktestError for a column that is not there.
    """
    offsets = pool.offsets()
    out = np.zeros((pool.n_responses, len(names)))
    for k, name in enumerate(names):
        if name == "length":
            column = np.log1p(pool.lengths())
        elif name == "markdown":
            column = np.array([markdown_density(r.text) for x in pool.prompts for r in x.responses])
        else:
            column = np.array([_number(r.meta.get(name)) for x in pool.prompts for r in x.responses])
            missing = int(np.isnan(column).sum())
            if missing:
                raise BacktestError(
                    f"--nuisance {name}: {missing:,} of {len(column):,} responses have no number of that name in "
                    f"`meta`; built in are {' and '.join(BUILT_IN)}."
                )
        centred = centre_within(column.astype(np.float64), offsets)
        size = float(np.sqrt(np.mean(centred**2)))
        out[:, k] = centred / size if size > 1e-12 else 0.0
    return out


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def without(arena: Arena, names: Sequence[str] = ("length",)) -> tuple[Arena, Explained]:
    """The arena with the judge's within-prompt liking for the nuisance columns taken out, and what they explained.

    Quality: residuals of least squares on the columns, both centred within prompts; labels are drawn from the
    residuals at the same temperature. Given labels: the same of (p - 1/2) on the pairs' differences, so p may leave
    [0, 1]: it is then an outcome net of nuisance, no probability.
    """
    if not names:
        raise BacktestError("--nuisance is empty; name at least one column, such as length.")
    columns = nuisance_columns(arena.pool, names)
    whole = half_of(arena, np.arange(arena.prompts))
    gaps = columns[whole.first] - columns[whole.second]
    longer = _longer_wins(arena, whole.first, whole.second, whole.probability)
    if arena.source == "quality":
        centred = centre_within(arena.reward, arena.pool.offsets())
        slopes = np.linalg.lstsq(columns, centred, rcond=None)[0]
        reward = arena.reward - columns @ slopes
        rest = reward[whole.first] - reward[whole.second]
        share = float(np.sum((columns @ slopes) ** 2) / max(float(np.sum(centred**2)), 1e-300))
        twin = replace(arena, reward=reward, probability=1 / (1 + np.exp(-rest / arena.temperature)))
    else:
        centred = whole.probability - 0.5
        slopes = np.linalg.lstsq(gaps, centred, rcond=None)[0]
        share = float(np.sum((gaps @ slopes) ** 2) / max(float(np.sum(centred**2)), 1e-300))
        twin = replace(arena, probability=arena.probability - gaps @ slopes)
    twin = replace(twin, unit=f"{arena.unit}, {' and '.join(names)} taken out")
    return twin, Explained(tuple(names), tuple(slopes.tolist()), share, longer, arena.unit)


def _longer_wins(arena: Arena, first: np.ndarray, second: np.ndarray, probability: Array) -> float:
    """Share of decided pairs of unequal length that the longer answer is more likely to win; nan without any."""
    gap = np.sign(np.diff(arena.pool.lengths()[np.stack([second, first])], axis=0)[0])
    decided = (gap != 0) & (probability != 0.5)
    if not decided.any():
        return float("nan")
    return float(np.mean(gap[decided] == np.sign(probability[decided] - 0.5)))
