"""Every simple rule beside a design: the criterion that its batches reach (docs/method.md section 8)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from curation.design.criteria.base import Criterion
from curation.design.rules.base import RULES, Problem, Rule
from curation.design.selection.drawn import realised
from curation.design.sets.feasible import Feasible


@dataclass(frozen=True)
class Baseline:
    """A rule's realised f: mean over `draws` batches, or None with the reason it was left out."""

    name: str
    realised: float | None
    draws: int
    note: str


class Beside(Mapping[str, Baseline]):
    """Rule -> baseline of every rule, each reckoned when somebody first asks for it.

    What takes ten times as long as the design need not be waited for where the design is looked at: `found` is what is
    known so far, `reckon` goes on. Whoever reads it as a mapping gets what `baselines` returns. For several threads.
    """

    def __init__(self, criterion: Criterion, feasible: Feasible, probabilities: np.ndarray, *, seed: int) -> None:
        self._problem = Problem(criterion, feasible, probabilities)
        self._seed = seed
        self._found: dict[str, Baseline] = {}
        self._turn = threading.Lock()

    @property
    def found(self) -> dict[str, Baseline]:
        """What is known so far, in the rules' order."""
        found = dict(self._found)
        return {rule.name: found[rule.name] for rule in RULES if rule.name in found}

    @property
    def missing(self) -> tuple[str, ...]:
        """Rules that nobody has asked for yet."""
        return tuple(rule.name for rule in RULES if rule.name not in self._found)

    def reckon(self, *, going: Callable[[], bool] = lambda: True) -> None:
        """Every missing rule, one after the other, while `going`."""
        for name in self.missing:
            if not going():
                return
            self[name]

    def __getitem__(self, name: str) -> Baseline:
        if name not in self._found:
            if name not in RULES:
                raise KeyError(name)
            with self._turn:
                if name not in self._found:
                    self._found[name] = _baseline(RULES[name], self._problem, self._seed)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return (rule.name for rule in RULES)

    def __len__(self) -> int:
        return len(list(RULES))


def baselines(criterion: Criterion, feasible: Feasible, probabilities: np.ndarray, *, seed: int) -> dict[str, Baseline]:
    """Realised f of every rule. probabilities: (N,) the reference policy's, within prompt."""
    problem = Problem(criterion, feasible, probabilities)
    return {rule.name: _baseline(rule, problem, seed) for rule in RULES}


def _baseline(rule: Rule, problem: Problem, seed: int) -> Baseline:
    draws = rule.draws(problem)
    if not draws:
        return Baseline(rule.name, None, 0, rule.note(0))
    batches = rule.batches(problem, range(seed, seed + draws))
    values = [realised(problem.criterion, problem.feasible, batch) for batch in batches]
    return Baseline(rule.name, float(np.mean(values)), draws, rule.note(draws))
