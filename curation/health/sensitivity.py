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

LOW = 0.5  # of what can be gained over uniform labels under another choice: below it that choice deserves thought

NOTHING = 1e-6  # of the criterion: where no design gains more over uniform labels, every design is the best


@dataclass(frozen=True)
class Variant:
    """The same pool and constraints under another choice. Pairs are numbered alike in all variants."""

    name: str
    criterion: Criterion
    feasible: Feasible


@dataclass(frozen=True)
class Sensitivity:
    """gained[i, j]: of what the best possible design gains over uniform labels in criterion j, the part that design i
    gains: 1 is the best, 0 no better than uniform, below 0 worse. The first is the base."""

    names: tuple[str, ...]
    gained: NDArray[np.float64]

    @property
    def weakest(self) -> tuple[str, float]:
        """The choice under which the base design is worth least, and what it gains there."""
        j = 1 + int(np.argmin(self.gained[0, 1:]))
        return self.names[j], float(self.gained[0, j])

    def sentence(self) -> str:
        """What the matrix says of the base design, in words."""
        name, value = self.weakest
        if value >= LOW:
            return (
                f"The design holds up: under every other choice it gains at least {value:.0%} of what the best design "
                f"there gains over uniform labels (least under {name})."
            )
        told = f"it gains {value:.0%} of what the best design gains over uniform labels"
        return (
            f"The choice that matters most is {name}: judged by it, "
            f"{told if value > 0 else 'this design is no better than uniform labels'}."
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
            unit="of the gain over uniform",
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
    gained = np.ones((len(variants), len(variants)))
    for j, (variant, best) in enumerate(zip(variants, designs, strict=True)):
        uniform = best.certificate.uniform
        reach = uniform - best.certificate.lower_bound
        if reach > NOTHING * uniform:
            values = [variant.criterion.value(variant.feasible.geometry.information(made.weights)) for made in designs]
            gained[:, j] = (uniform - np.array(values)) / reach
    return Sensitivity(tuple(variant.name for variant in variants), gained)
