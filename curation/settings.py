"""Every setting of a run, in one place, with its default and its rule."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curation.errors import DesignError

PcaKind = Literal["within", "raw"]
FisherKind = Literal["auto", "reference", "empirical", "uniform"]
SpreadKind = Literal["auto", "balanced", "capped", "free"]
RidgeKind = Literal["relative", "absolute"]
SolverKind = Literal["newton", "frank-wolfe"]
SelectKind = Literal["sample", "exact", "paper"]
Quota = tuple[str, float, float]  # stratum, at least, at most


@dataclass(frozen=True)
class SpaceSettings:
    """How hidden states become coordinates (METHOD.md section 3)."""

    dim: int = 64  # PCA dimensions; the length coordinate comes on top
    normalize: bool = True  # L2-normalise each hidden vector first
    pca: PcaKind = "within"
    length: bool = True  # append the within-prompt centred log length

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise DesignError(f"--dim {self.dim} is below 1; choose at least one dimension.")


@dataclass(frozen=True)
class DesignSettings:
    """What is asked of the design (METHOD.md sections 2, 4, 7 and 8)."""

    budget: float | int  # whole labels, or cost units where there is a cost
    ridge: float = 30.0
    ridge_kind: RidgeKind = "relative"
    fisher: FisherKind = "auto"
    temperature: float = 1.0  # of the empirical Fisher's softmax
    per_token: bool = True  # the empirical Fisher takes log-probabilities per token, where counts are known
    spread: SpreadKind = "auto"
    max_labels_per_pair: float = 1.0  # r; math.inf is the paper's simplex
    per_prompt: int | None = None  # labels of one prompt, at most
    quotas: tuple[Quota, ...] = ()  # in units of the budget
    generator_share: float | None = None  # greatest share of the labels one generator takes part in
    cost: str | None = None  # field of `meta` that holds costs, or `characters`
    solver: SolverKind = "newton"
    tol: float = 1e-4
    select: SelectKind = "sample"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        self._check_budget()
        if not (self.ridge > 0 and math.isfinite(self.ridge)):
            raise DesignError(f"ridge {self.ridge} is not a positive number; try 30 (relative) or 1e-3 (absolute).")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise DesignError(f"--temperature {self.temperature:g} is not a positive number; try 1.")
        if not self.max_labels_per_pair >= 1:
            raise DesignError(
                f"--max-labels-per-pair {self.max_labels_per_pair} is below 1; give a whole number or inf."
            )
        if not (0 < self.tol < 1):
            raise DesignError(f"--tol {self.tol} is outside (0, 1); try 1e-4.")
        if self.seed < 0:
            raise DesignError(f"--seed {self.seed} is negative; give 0 or more.")
        if self.per_prompt is not None and self.per_prompt < 1:
            raise DesignError(f"--per-prompt {self.per_prompt} is below 1; give 1 label or more, or leave it out.")
        if self.generator_share is not None and not 0 < self.generator_share <= 1:
            raise DesignError(
                f"--generator-share {self.generator_share:g} is outside (0, 1]; try 0.3, or leave it out."
            )
        check_quotas(self.quotas)

    def _check_budget(self) -> None:
        if self.cost is not None:
            if not self.cost.strip():
                raise DesignError("--cost is empty; name a field of the pool's meta, or characters.")
            if not (self.budget > 0 and math.isfinite(self.budget)):
                raise DesignError(f"budget {self.budget:g} is not a positive number; give it in units of the cost.")
            return
        if not float(self.budget).is_integer():
            raise DesignError(f"budget {self.budget:g} is not a whole number of labels; round it, or give --cost.")
        if self.budget < 1:
            raise DesignError(f"budget {self.budget:g} is below 1; ask for at least one label.")


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


def default_budget(prompts: int) -> int:
    """A first budget to look at: about 0.6 labels a prompt, between 10 and 500."""
    return int(min(500, max(10, round(0.6 * prompts))))


def workspace() -> Path:
    """The folder of the database, runs, caches and logs: CURATION_HOME, else ./workspace."""
    return Path(os.environ.get("CURATION_HOME", "workspace")).expanduser()


def pool_folders() -> list[Path]:
    """Folders that pools may be opened from besides the workspace and data/: CURATION_POOLS, `:`-separated."""
    value = os.environ.get("CURATION_POOLS", "../shared/pools")
    return [Path(part).expanduser() for part in value.split(os.pathsep) if part]
