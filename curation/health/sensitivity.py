"""How much a design hangs on choices nobody can check: ridge, dimensions, Fisher matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.design.criteria.base import Criterion
from curation.design.sets.feasible import Feasible
from curation.design.solvers.newton import newton
from curation.health.finding import Finding

LOW = 0.8  # efficiency under another choice below which that choice deserves thought


@dataclass(frozen=True)
class Variant:
    """The same pool and constraints under another choice. Pairs are numbered alike in all variants."""

    name: str
    criterion: Criterion
    feasible: Feasible


@dataclass(frozen=True)
class Sensitivity:
    """efficiency[i, j]: lower bound of criterion j over the value that design i has under it. The first is the base."""

    names: tuple[str, ...]
    efficiency: NDArray[np.float64]

    @property
    def weakest(self) -> tuple[str, float]:
        """The choice under which the base design is worth least, and its efficiency there."""
        j = 1 + int(np.argmin(self.efficiency[0, 1:]))
        return self.names[j], float(self.efficiency[0, j])

    def sentence(self) -> str:
        """What the matrix says of the base design, in words."""
        name, value = self.weakest
        if value >= LOW:
            return (
                f"The design holds up: under every other choice it keeps at least {value:.0%} of the best possible "
                f"criterion there (least under {name})."
            )
        return (
            f"The choice that matters most is {name}: judged by it, this design keeps {value:.0%} of the best possible "
            "criterion."
        )

    def finding(self) -> Finding | None:
        """A finding where some choice changes the design much."""
        name, value = self.weakest
        if value >= LOW:
            return None
        return Finding(
            key="sensitivity",
            severity="note",
            title="The design hangs on a choice",
            sentence=self.sentence(),
            value=value,
            unit="efficiency",
            remedy="Decide that choice on evidence (the backtest, where outcomes are known), not by default.",
            examples=((name,),),
        )


def sensitivity(
    variants: Sequence[Variant], *, tol: float = 1e-3, progress: Callable[[int, int], None] | None = None
) -> Sensitivity:
    """Solve every variant and value every design under every criterion. The first variant is the base."""
    designs = []
    for number, variant in enumerate(variants):
        designs.append(newton(variant.criterion, variant.feasible, tol=tol))
        if progress is not None:
            progress(number + 1, len(variants))
    efficiency = np.array(
        [
            [
                design.certificate.lower_bound / v.criterion.value(v.feasible.geometry.information(made.weights))
                for design, v in zip(designs, variants, strict=True)
            ]
            for made in designs
        ]
    )
    return Sensitivity(tuple(variant.name for variant in variants), efficiency)
