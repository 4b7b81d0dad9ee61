"""A solved design in figures: its summary, and the budget frontier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.device import describe_device
from curation.errors import DesignError
from curation.pool.pair_lists import LocalPair
from curation.settings import DesignSettings

if TYPE_CHECKING:
    from curation.design.criteria.base import Criterion
    from curation.design.sets.feasible import Feasible
from curation.run.results import Prepared, Solved
from curation.run.solve import Pinned, batch_cost, design_problem, kept_back, run_solver


def summary(solved: Solved) -> dict[str, Any]:
    """The figures of a run, as `solve --json` prints them."""
    from curation.design.sets.make import resolve_spread

    pool, certificate, settings = solved.prepared.pool, solved.design.certificate, solved.settings
    return {
        "prompts": len(pool.prompts),
        "responses": pool.n_responses,
        "pairs": pool.n_pairs,
        "dim": solved.prepared.space.dim,
        "budget": settings.budget,
        "labels": solved.feasible.labels,
        "per_prompt": settings.per_prompt,
        "quotas": {name: [low, high if math.isfinite(high) else None] for name, low, high in settings.quotas},
        "generator_share": settings.generator_share,
        "max_length_difference": settings.max_length_difference,
        "cost": settings.cost,
        "cost_total": batch_cost(solved.feasible, solved.batch),
        "select": settings.select,
        "previous_labels": 0 if solved.earlier is None else solved.earlier.labels,
        "learnt": None if solved.earlier is None or solved.earlier.taught is None else solved.earlier.taught.to_dict(),
        "pilot": None if solved.pilot_of is None else {"labels": settings.budget, "of": solved.pilot_of},
        "fisher": solved.prepared.probabilities.kind,
        "fisher_reason": solved.prepared.probabilities.reason,
        "fisher_fit_r2": solved.prepared.probabilities.fit_r2,
        "effective_candidates": float(np.median(solved.prepared.probabilities.effective)),
        "spread": resolve_spread(solved.prepared.geometry, settings.spread),
        "objective": certificate.objective,
        "lower_bound": certificate.lower_bound,
        "gap": certificate.gap,
        "open": certificate.open,
        "stopped": solved.design.stopped,
        "passes": solved.design.passes,
        "support": solved.design.support,
        "selected_pairs": len(solved.batch.pairs),
        "selected_labels": solved.batch.labels,
        "realised": solved.realised,
        "efficiency": solved.efficiency,
        "device": describe_device(solved.prepared.device),
        "seconds": {name: round(value, 4) for name, value in solved.seconds.items()},
        "baselines": {name: rule.realised for name, rule in solved.baselines.items()},
        "length": solved.length.to_dict(),
        "notes": [
            *solved.prepared.space.notes,
            *solved.prepared.table.notes,
            *filter(None, [solved.prepared.probabilities.warning()]),
        ],
    }


def budget_frontier(
    prepared: Prepared,
    settings: DesignSettings,
    budgets: Sequence[float],
    *,
    overlap: float = 0.0,
    pinned: Pinned = (),
    excluded: Sequence[LocalPair] = (),
) -> list[tuple[float, float, float]]:
    """Information left to want at each budget: (budget, designed, uniform) values of T, f of n S over that of the
    planned n.

    The ridge's information stays that of `settings.budget`, so that budgets compare (docs/method.md section 8).
    overlap, pinned, excluded: as `solve`; the point at the present budget is the design that `solve` finds. Budgets
    that the pool, the pins or the limits do not allow are left out.
    """

    def problem(budget: float) -> tuple[Criterion, Feasible]:
        asked = replace(settings, budget=budget)
        return design_problem(prepared, asked, overlap=kept_back(asked, overlap), pinned=pinned, excluded=excluded)

    criterion, present = problem(settings.budget)
    rows, last = [], None
    for budget in budgets:
        try:
            _, feasible = problem(budget)
        except DesignError:
            continue  # above the pool, or below the pins: the frontier ends there
        factor = present.labels / feasible.labels
        if budget == settings.budget:
            design = run_solver(criterion, present, settings)
        else:
            design = run_solver(criterion.under(factor), feasible, replace(settings, tol=1e-3), start=last)
        last = design.weights
        per_label = factor**-criterion.degree
        rows.append((budget, design.certificate.objective * per_label, design.certificate.uniform * per_label))
    return rows


def frontier_budgets(prepared: Prepared, settings: DesignSettings) -> list[float]:
    """Eight budgets from a quarter to four times the present one; without costs whole and within the pool."""
    wanted = [settings.budget * factor for factor in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)]
    if settings.cost:
        return wanted
    return sorted({min(max(round(value), 1), prepared.geometry.pairs) for value in wanted})
