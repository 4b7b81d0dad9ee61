"""Every simple rule beside a design: the criterion that its batches reach (docs/method.md section 8)."""

from __future__ import annotations

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
