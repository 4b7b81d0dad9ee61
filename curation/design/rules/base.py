"""What a simple rule is (docs/method.md section 8). A module of this folder that offers a `PLUG` is one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from curation.design.criteria.base import Criterion
from curation.design.selection.sampling import Batch, sample
from curation.design.sets.feasible import Feasible
from curation.errors import DesignError
from curation.registry import Registry

DRAWS = 8  # batches drawn of a rule by chance; their mean f is told
DRAWS_BY_WALK = 2  # the same under generator shares, where a draw from thousands of pairs takes a good part of a second
ONE_BY_ONE_LIMIT = 500_000_000  # labels times pairs above which picks one by one take too long to stand beside a design


@dataclass(frozen=True)
class Problem:
    """What a rule chooses in. probabilities: (N,) the reference policy's, within prompt."""

    criterion: Criterion
    feasible: Feasible
    probabilities: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """A simple rule: one of `Weighted` or `OneByOne`.

    name: in files and JSON. rank: its place wherever rules are listed. title: on screen where there is room, short:
    where there is little, such as a legend. colour: of its line, #RRGGBB. rival: what a verdict calls it, where leads
    over it are told beside the lead over uniform; "" for the others. by_reference: it looks at the reference's
    probabilities, so it is another rule where there are none.
    """

    name: str
    rank: int
    title: str
    short: str
    colour: str
    rival: str = ""
    by_reference: bool = False

    @abstractmethod
    def batches(self, problem: Problem, seeds: Sequence[int]) -> list[Batch]:
        """A batch for every seed."""

    @abstractmethod
    def draws(self, problem: Problem) -> int:
        """Batches whose mean f is told beside a design's; 0 where the rule would take too long."""

    @abstractmethod
    def note(self, draws: int) -> str:
        """How its f was come by."""


@dataclass(frozen=True, kw_only=True)
class Weighted(Rule):
    """A rule with a design measure of its own. weights: (pairs,), what its batches are drawn from."""

    weights: Callable[[Problem], Tensor]

    def batches(self, problem: Problem, seeds: Sequence[int]) -> list[Batch]:
        """A draw for every seed."""
        weights = self.weights(problem)
        return [sample(problem.feasible, weights, seed=seed) for seed in seeds]

    def draws(self, problem: Problem) -> int:
        """A few, as a draw is chance."""
        return DRAWS_BY_WALK if problem.feasible.shares else DRAWS

    def note(self, draws: int) -> str:
        """Their number."""
        return f"mean of {draws} draws"


@dataclass(frozen=True, kw_only=True)
class OneByOne(Rule):
    """A rule that looks at what it has before every pick. pick: the batch; the seed settles fractions of a label."""

    pick: Callable[[Problem, int], Batch]

    def batches(self, problem: Problem, seeds: Sequence[int]) -> list[Batch]:
        """The batch of the first seed, for all: little of it is chance, and it is slow to make."""
        return [self.pick(problem, seeds[0])] * len(seeds)

    def draws(self, problem: Problem) -> int:
        """One, or none where labels times pairs are too many."""
        return int(problem.feasible.labels * problem.feasible.geometry.pairs <= ONE_BY_ONE_LIMIT)

    def note(self, draws: int) -> str:
        """Picked, or why not."""
        return "picked one by one" if draws else "left out: labels times pairs is too large for one-by-one picks"


RULES: Registry[Rule] = Registry("curation.design.rules", "simple rule", DesignError)
