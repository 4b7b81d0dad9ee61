"""What single settings may be, in their own words: bounds, labels of a pair, quotas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from curation.declared import bound, figure
from curation.errors import DesignError

Quota = tuple[str, float, float]  # stratum, at least, at most
RIDGE = 0.1
ABSOLUTE_RIDGE = 1e-3  # HGM's lambda: where to start with an absolute ridge

# What may be asked for at all. Widgets have these bounds too: an address must not ask for what they cannot show.
LABELS_MOST = 10_000_000  # of a batch, and of one prompt
COST_MOST = 1e15
RIDGE_LEAST, RIDGE_MOST = 1e-12, 1e12
TEMPERATURE_LEAST, TEMPERATURE_MOST = 1e-3, 1e6
DIM_MOST = 100_000
SEED_MOST = 2**53 - 1  # the largest whole number a browser holds
OVERLAP_MOST = 0.5
LENGTH_DIFFERENCE_MOST = 100.0  # of logarithms


def check_ridge(ridge: float) -> None:
    """A positive number that can be told from rounding. Raises DesignError."""
    start = f"try {RIDGE:g} (relative) or {ABSOLUTE_RIDGE:g} (absolute)."
    if not (ridge > 0 and math.isfinite(ridge)):
        raise DesignError(f"ridge {ridge} is not a positive number; {start}")
    if not RIDGE_LEAST <= ridge <= RIDGE_MOST:
        raise DesignError(
            f"ridge {figure(ridge)} is outside {RIDGE_LEAST:g}..{RIDGE_MOST:g}, where it can be told from rounding; "
            f"{start}"
        )


def check_temperature(temperature: float) -> None:
    """A positive number in its bounds. Raises DesignError."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise DesignError(f"--temperature {temperature:g} is not a positive number; try 1.")
    if not TEMPERATURE_LEAST <= temperature <= TEMPERATURE_MOST:
        raise DesignError(
            f"--temperature {figure(temperature)} is outside {TEMPERATURE_LEAST:g}..{TEMPERATURE_MOST:g}; try 1."
        )


def check_labels_per_pair(most: float) -> None:
    """At least 1; infinity is no bound. Raises DesignError."""
    if not most >= 1:
        raise DesignError(f"--max-labels-per-pair {most} is below 1; give a whole number or inf.")


def check_tol(tol: float) -> None:
    """Between 0 and 1. Raises DesignError."""
    if not 0 < tol < 1:
        raise DesignError(f"--tol {tol} is outside (0, 1); try 1e-4.")


def check_seed(seed: int) -> None:
    """A whole number that a browser holds. Raises DesignError."""
    if seed < 0:
        raise DesignError(f"--seed {figure(seed)} is negative; give 0 or more.")
    if seed > SEED_MOST:
        raise DesignError(f"--seed {figure(seed)} is above {SEED_MOST}; give a smaller one.")


def check_per_prompt(most: int) -> None:
    """At least one label. Raises DesignError."""
    if most < 1:
        raise DesignError(f"--per-prompt {figure(most)} is below 1; give 1 label or more, or leave it out.")
    if most > LABELS_MOST:
        raise DesignError(f"--per-prompt {figure(most)} is above {bound(LABELS_MOST)}; leave it out.")


def check_generator_share(share: float) -> None:
    """Above 0, up to 1. Raises DesignError."""
    if not 0 < share <= 1:
        raise DesignError(f"--generator-share {share:g} is outside (0, 1]; try 0.3, or leave it out.")


def check_length_difference(most: float) -> None:
    """Above 0, up to what answers can reach. Raises DesignError."""
    if most > LENGTH_DIFFERENCE_MOST:
        raise DesignError(
            f"--max-length-difference {figure(most)} is above {LENGTH_DIFFERENCE_MOST:g}, which no two answers reach; "
            "try 0.3, or leave it out."
        )
    if not 0 < most < math.inf:
        raise DesignError(f"--max-length-difference {most:g} is not a positive number; try 0.3, or leave it out.")


def labels_per_pair(text: str) -> float:
    """Labels of one pair, at most, as an option says it. Raises DesignError for anything but 1, more, or inf."""
    if text.strip().lower() == "inf":
        return math.inf
    if not text.strip().isdigit() or int(text) < 1:
        raise DesignError(f"{text!r} is not 1, a whole number above, or inf")
    return float(int(text))


def parse_quota(text: str) -> Quota:
    """`stratum=LO..HI` as (stratum, LO, HI); an empty LO is 0, an empty HI no bound. Raises DesignError."""
    name, _, span = text.rpartition("=")
    low, dots, high = (part.strip() for part in span.partition(".."))
    try:
        if not (name.strip() and dots):
            raise ValueError
        return name.strip(), float(low or 0.0), float(high or math.inf)
    except ValueError:
        raise DesignError(
            f"quota {text.strip()!r} is not stratum=LO..HI; write law=10..40, law=10.. or law=..40."
        ) from None


def parse_quotas(text: str) -> tuple[Quota, ...]:
    """Quotas in one text, `a=1..5;b=..9`. Raises DesignError where one cannot be read or is no range."""
    quotas = tuple(parse_quota(part) for part in text.split(";") if part.strip())
    check_quotas(quotas)
    return quotas


def check_quotas(quotas: Sequence[Quota]) -> None:
    """Every quota a range from 0 up, every stratum named once. Raises DesignError."""
    seen = set()
    for name, low, high in quotas:
        if not (0 <= low <= high and math.isfinite(low)):
            raise DesignError(f"quota {name}={low:g}..{high:g} is not a range from 0 up; put the smaller number first.")
        if name in seen:
            raise DesignError(f"quota {name} is given twice; give each stratum one range.")
        seen.add(name)


def kept_quotas(kept: Any) -> Any:
    """Quotas as a file keeps them, as tuples; what is no list of triples is left for the types to refuse."""
    if not isinstance(kept, list | tuple):
        return () if kept is None else kept
    if not all(isinstance(part, list | tuple) and len(part) == 3 for part in kept):
        return kept
    return tuple((name, low, math.inf if high in ("inf", None) else high) for name, low, high in kept)
