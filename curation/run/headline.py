"""What an analyst looks at first: what a design is worth, how near it is to the best, what it neglects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from curation.insight.efficiency import LabelEquivalent
from curation.run.results import Solved
from curation.run.solve import batch_cost


@dataclass(frozen=True)
class Stratum:
    """Labels of a stratum in the batch, and its share of the prompts."""

    name: str
    labels: int
    share: float
    of_prompts: float


@dataclass(frozen=True)
class Headline:
    """A design at a glance.

    equivalent: uniform labels worth the batch. attained: of what the best possible design takes off the criterion of
    no labels at all, the part that the batch takes, 0 to 1; uniform: the part that as many uniform labels take.
    weakest: the Fisher direction, among those that matter more than average, about which the batch says least beside
    uniform labels; said: that ratio; neglected: how many of all directions it says less about than uniform labels.
    certified: how much better the best possible design can be, relative. cost: of the labels in the cost's units, None
    where labels cost alike.
    """

    labels: int
    pairs: int
    equivalent: LabelEquivalent
    attained: float
    uniform: float
    weakest: int
    said: float
    neglected: int
    directions: int
    strata: tuple[Stratum, ...]
    cost: float | None
    unit: str | None
    certified: float
    certain: bool

    def sentence(self) -> str:
        """The finding."""
        worth, few = self.equivalent.labels, f"{self.labels:,}"
        if math.isinf(worth):
            first = f"No number of uniform labels would be worth these {few} in the criterion"
        else:
            first = f"{worth:,.0f} uniform labels would be worth these {few} in the criterion"
        direction = f"direction {self.weakest + 1}"
        if self.said < 1:
            weakest = f"weakest on {direction}, where it says {self.said:.2g} times as much as uniform labels"
        else:
            weakest = f"nowhere below uniform labels where it matters (least on {direction}, {self.said:.2g} times)"
        return f"{first}; {weakest}; {self.certificate()}."

    def certificate(self) -> str:
        """How near to the best possible, in one phrase."""
        told = f"certified within {self.certified:.1g} of the best possible design"
        return told if self.certain else f"not certified to the end: within {self.certified:.1g} of the best possible"


def headline(solved: Solved) -> Headline:
    """The figures of a solved design."""
    import torch

    from curation.design.sets.uniform import uniform_information
    from curation.insight.efficiency import label_equivalent, uniform_value

    criterion, feasible, certificate = solved.criterion, solved.feasible, solved.design.certificate
    values, basis = criterion.directions

    def along(information: torch.Tensor) -> np.ndarray:
        said: np.ndarray = ((information @ basis) * basis).sum(0).clamp_min(0.0).cpu().numpy()
        return said

    batch, uniform = along(solved.batch_information), along(uniform_information(feasible))
    ratio = batch / np.maximum(uniform, 1e-300)
    mu = values.cpu().numpy()
    matter = np.flatnonzero(mu >= mu.mean())
    weakest = int(matter[np.argmin(ratio[matter])])
    none = criterion.value(torch.zeros_like(solved.batch_information))
    reach = none - certificate.lower_bound
    alike = uniform_value(criterion, feasible.geometry, solved.batch.labels, feasible.labels)
    certain = solved.design.stopped == "certificate"
    return Headline(
        labels=solved.batch.labels,
        pairs=len(solved.batch.pairs),
        equivalent=label_equivalent(criterion, feasible.geometry, solved.batch_information, feasible.labels),
        attained=(none - solved.realised) / reach if reach > 0 else 1.0,
        uniform=(none - alike) / reach if reach > 0 else 1.0,
        weakest=weakest,
        said=float(ratio[weakest]),
        neglected=int((ratio < 1).sum()),
        directions=len(mu),
        strata=_strata(solved),
        cost=batch_cost(feasible, solved.batch),
        unit=solved.settings.cost,
        certified=max(certificate.gap, solved.settings.tol) if certain else certificate.gap,
        certain=certain,
    )


def _strata(solved: Solved) -> tuple[Stratum, ...]:
    """Labels by stratum, the largest first; nothing where the pool names none."""
    names = [prompt.stratum or "(none)" for prompt in solved.prepared.pool.prompts]
    different = sorted(set(names))
    if len(different) < 2:
        return ()
    place = {name: at for at, name in enumerate(different)}
    of_prompt = np.array([place[name] for name in names])
    prompt = solved.feasible.geometry.prompt_of(solved.batch.pairs)
    labels = np.bincount(of_prompt[prompt], weights=solved.batch.copies, minlength=len(different))
    prompts = np.bincount(of_prompt, minlength=len(different)) / len(names)
    rows = [
        Stratum(name, int(count), float(count / labels.sum()), float(share))
        for name, count, share in zip(different, labels, prompts, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.labels))
