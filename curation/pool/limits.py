"""What a pool says about limits: its strata, its generators, and what a label costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import PoolError
from curation.pool.schema import Pool

NO_STRATUM = "(none)"
CHARACTERS = "characters"  # the cost that every pool has: thousands of characters to read


@dataclass(frozen=True)
class Groups:
    """Names, sorted, and the number of each member into them; -1 where a member names none."""

    names: tuple[str, ...]
    numbers: NDArray[np.int64]


def stratum_groups(pool: Pool) -> Groups:
    """(P,) stratum of each prompt; prompts without one form a stratum of their own."""
    return _grouped([NO_STRATUM if name is None else name for name in pool.strata()])


def generator_groups(pool: Pool) -> Groups:
    """(N,) generator of each response, in flat order."""
    return _grouped([response.generator for prompt in pool.prompts for response in prompt.responses])


def _grouped(given: Sequence[str | None]) -> Groups:
    names = tuple(sorted({name for name in given if name is not None}))
    number: dict[str | None, int] = {name: at for at, name in enumerate(names)}
    return Groups(names, np.array([number.get(name, -1) for name in given], dtype=np.int64))


def cost_parts(pool: Pool, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `meta[name]` says of each prompt (P,) and each response (N,), nan where it says nothing.

    `characters`: thousands of characters of each response. Raises PoolError where a value is not a finite number.
    """
    if name == CHARACTERS:
        return np.full(len(pool.prompts), math.nan), pool.lengths() / 1000
    prompts = [_number(p.meta.get(name), name, f"prompt {p.prompt_id!r}") for p in pool.prompts]
    responses = [
        _number(r.meta.get(name), name, f"prompt {p.prompt_id!r}, response {r.response_id!r}")
        for p in pool.prompts
        for r in p.responses
    ]
    return np.array(prompts), np.array(responses)


def _number(value: Any, name: str, place: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300:
        return float(value)
    raise PoolError(
        f"{place}: cost {name!r} is {value!r:.60}, not a finite number; mend the pool or choose another --cost."
    )
