"""A solved design in figures: its report, and the budget frontier."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.device import describe_device
from curation.errors import DesignError
from curation.pool.pair_lists import LocalPair
from curation.settings import DesignSettings

if TYPE_CHECKING:
    from curation.design.criteria.base import Criterion
    from curation.design.result import Design
    from curation.design.sets.feasible import Feasible
    from curation.insight.learning_rule import Taught
    from curation.insight.length_share import LengthShare
from curation.run.results import Prepared, Solved
from curation.run.solve import Pinned, ProgressCallback, batch_cost, design_problem, kept_back, run_solver


@dataclass(frozen=True)
class Pilot:
    """The first part of a budget: what it buys now, of how much."""

    labels: float
    of: float


@dataclass(frozen=True)
class Report:
    """The figures of a run, in the order in which `solve --json` and a batch's manifest print them.

    quotas: stratum -> least and greatest amount, None without an upper one. fisher: the kind that was used.
    effective_candidates: exp of the entropy of the policy in the median prompt. objective, lower_bound, realised: the
    criterion of the design, of the best possible one, of the drawn batch. gap, open: of the certificate, relative.
    support: pairs with weight. seconds: of each step. baselines: rule -> realised criterion, None where left out.
    """

    prompts: int
    responses: int
    pairs: int
    dim: int
    budget: float
    labels: float
    per_prompt: int | None
    quotas: dict[str, tuple[float, float | None]]
    generator_share: float | None
    max_length_difference: float | None
    cost: str | None
    cost_total: float | None
    select: str
    previous_labels: int
    learnt: Taught | None
    pilot: Pilot | None
    fisher: str
    fisher_reason: str
    fisher_fit_r2: float | None
    effective_candidates: float
    spread: str
    objective: float
    lower_bound: float
    gap: float
    open: float
    stopped: str
    passes: int
    support: int
    selected_pairs: int
    selected_labels: int
    realised: float
    efficiency: float
    device: str
    seconds: dict[str, float]
    baselines: dict[str, float | None]
    length: LengthShare
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, key by key in the order of the fields."""
        return {
            **{each.name: getattr(self, each.name) for each in fields(self)},
            "quotas": {name: list(bounds) for name, bounds in self.quotas.items()},
            "learnt": None if self.learnt is None else self.learnt.to_dict(),
            "pilot": None if self.pilot is None else asdict(self.pilot),
            "length": self.length.to_dict(),
            "notes": list(self.notes),
        }


def report(solved: Solved) -> Report:
    """The figures of a run."""
    from curation.design.sets.make import resolve_spread

    prepared, certificate, settings = solved.prepared, solved.design.certificate, solved.settings
    pool, chances, earlier = prepared.pool, prepared.probabilities, solved.earlier
    return Report(
        prompts=len(pool.prompts),
        responses=pool.n_responses,
        pairs=pool.n_pairs,
        dim=prepared.space.dim,
        budget=settings.budget,
        labels=solved.feasible.labels,
        per_prompt=settings.per_prompt,
        quotas={name: (low, high if math.isfinite(high) else None) for name, low, high in settings.quotas},
        generator_share=settings.generator_share,
        max_length_difference=settings.max_length_difference,
        cost=settings.cost,
        cost_total=batch_cost(solved.feasible, solved.batch),
        select=settings.select,
        previous_labels=0 if earlier is None else earlier.labels,
        learnt=None if earlier is None else earlier.taught,
        pilot=None if solved.pilot_of is None else Pilot(settings.budget, solved.pilot_of),
        fisher=chances.kind,
        fisher_reason=chances.reason,
        fisher_fit_r2=chances.fit_r2,
        effective_candidates=float(np.median(chances.effective)),
        spread=resolve_spread(prepared.geometry, settings.spread),
        objective=certificate.objective,
        lower_bound=certificate.lower_bound,
        gap=certificate.gap,
        open=certificate.open,
        stopped=solved.design.stopped,
        passes=solved.design.passes,
        support=solved.design.support,
        selected_pairs=len(solved.batch.pairs),
        selected_labels=solved.batch.labels,
        realised=solved.realised,
        efficiency=solved.efficiency,
        device=describe_device(prepared.device),
        seconds={name: round(value, 4) for name, value in solved.seconds.items()},
        baselines={name: rule.realised for name, rule in solved.baselines.items()},
        length=solved.length,
        notes=(*prepared.space.notes, *prepared.table.notes, *filter(None, [chances.warning()])),
    )


def budget_frontier(
    prepared: Prepared,
    settings: DesignSettings,
    budgets: Sequence[float],
    *,
    overlap: float = 0.0,
    pinned: Pinned = (),
    excluded: Sequence[LocalPair] = (),
) -> list[tuple[float, float, float]]:
    """`frontier_points`, all of them."""
    return list(frontier_points(prepared, settings, budgets, overlap=overlap, pinned=pinned, excluded=excluded))


def frontier_points(
    prepared: Prepared,
    settings: DesignSettings,
    budgets: Sequence[float],
    *,
    overlap: float = 0.0,
    pinned: Pinned = (),
    excluded: Sequence[LocalPair] = (),
    present_design: Design | None = None,
    progress: ProgressCallback | None = None,
) -> Iterator[tuple[float, float, float]]:
    """Information left to want at each budget: (budget, designed, uniform) values of T, f of n S over that of the
    planned n.

    The ridge's information stays that of `settings.budget`, so that budgets compare (docs/method.md section 8).
    overlap, pinned, excluded: as `solve`; the point at the present budget is the design that `solve` finds. Budgets
    that the pool, the pins or the limits do not allow are left out. present_design: that of `settings`, where it is
    solved already. progress: called after every pass of a solver.
    """

    def problem(budget: float) -> tuple[Criterion, Feasible]:
        asked = replace(settings, budget=budget)
        return design_problem(prepared, asked, overlap=kept_back(asked, overlap), pinned=pinned, excluded=excluded)

    criterion, present = problem(settings.budget)
    last = None
    for budget in budgets:
        try:
            _, feasible = problem(budget)
        except DesignError:
            continue  # above the pool, or below the pins: the frontier ends there
        factor = present.labels / feasible.labels
        if budget == settings.budget:
            design = present_design or run_solver(criterion, present, settings, progress)
        else:
            design = run_solver(criterion.under(factor), feasible, replace(settings, tol=1e-3), progress, start=last)
        last = design.weights
        per_label = factor**-criterion.degree
        yield budget, design.certificate.objective * per_label, design.certificate.uniform * per_label


def frontier_budgets(prepared: Prepared, settings: DesignSettings) -> list[float]:
    """Eight budgets from a quarter to four times the present one; without costs whole and within the pool."""
    wanted = [settings.budget * factor for factor in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)]
    if settings.cost:
        return wanted
    return sorted({min(max(round(value), 1), prepared.geometry.pairs) for value in wanted})
