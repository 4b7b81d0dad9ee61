"""Every setting of a run, in one place, with its default and its rule."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curation.errors import DesignError

PcaKind = Literal["within", "raw"]
FisherKind = Literal["auto", "reference", "empirical", "uniform"]
SpreadKind = Literal["auto", "balanced", "capped", "free"]
RidgeKind = Literal["relative", "absolute"]
SolverKind = Literal["newton", "frank-wolfe"]
SelectKind = Literal["sample", "paper"]


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

    budget: int
    ridge: float = 30.0
    ridge_kind: RidgeKind = "relative"
    fisher: FisherKind = "auto"
    spread: SpreadKind = "auto"
    max_labels_per_pair: float = 1.0  # r; math.inf is the paper's simplex
    solver: SolverKind = "newton"
    tol: float = 1e-4
    select: SelectKind = "sample"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise DesignError(f"budget {self.budget} is below 1; ask for at least one label.")
        if not (self.ridge > 0 and math.isfinite(self.ridge)):
            raise DesignError(f"ridge {self.ridge} is not a positive number; try 30 (relative) or 1e-3 (absolute).")
        if not self.max_labels_per_pair >= 1:
            raise DesignError(
                f"--max-labels-per-pair {self.max_labels_per_pair} is below 1; give a whole number or inf."
            )
        if not (0 < self.tol < 1):
            raise DesignError(f"--tol {self.tol} is outside (0, 1); try 1e-4.")
        if self.seed < 0:
            raise DesignError(f"--seed {self.seed} is negative; give 0 or more.")


def workspace() -> Path:
    """The folder of the database, runs, caches and logs: CURATION_HOME, else ./workspace."""
    return Path(os.environ.get("CURATION_HOME", "workspace")).expanduser()


def pool_folders() -> list[Path]:
    """Folders that pools may be opened from besides the workspace and data/: CURATION_POOLS, `:`-separated."""
    value = os.environ.get("CURATION_POOLS", "../shared/pools")
    return [Path(part).expanduser() for part in value.split(os.pathsep) if part]
