"""How a backtest draws batches: the same solver, rules and constraints as a real design, on half of the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from curation.design.baselines import rule_weights, sequential
from curation.design.sampling import Batch, sample
from curation.insight.backtest import Pick, Rule
from curation.pipeline import Prepared, design_problem, prepare, run_solver, select_batch
from curation.pool.schema import Pool
from curation.representation.features_file import FeatureTable
from curation.settings import DesignSettings


class Drawer:
    """Draws batches from pools, preparing each pool once a space. It never sees an outcome."""

    def __init__(self) -> None:
        self.pool: Pool | None = None
        self.prepared: dict[object, Prepared] = {}

    def __call__(
        self,
        pool: Pool,
        tables: tuple[FeatureTable, ...],
        rule: Rule,
        budgets: Sequence[int],
        seeds: Sequence[int],
    ) -> list[list[Batch]]:
        """For every budget a batch a seed."""
        if pool is not self.pool:
            self.pool, self.prepared = pool, {}
        settings = rule.settings
        key = (rule.table, rule.space, settings.fisher, settings.temperature, settings.per_token)
        if key not in self.prepared:
            self.prepared[key] = prepare(
                pool,
                tables[rule.table],
                space=rule.space,
                fisher=settings.fisher,
                temperature=settings.temperature,
                per_token=settings.per_token,
                device="cpu",
            )
        prepared = self.prepared[key]
        return [_batches(prepared, replace(settings, budget=budget), rule.pick, seeds) for budget in budgets]


def _batches(prepared: Prepared, settings: DesignSettings, pick: Pick, seeds: Sequence[int]) -> list[Batch]:
    """Batches of one budget, one for each seed. What involves no chance, or is picked one by one, is made once."""
    criterion, feasible = design_problem(prepared, settings)
    if pick in ("d_optimal", "greedy"):
        return [sequential(criterion, feasible, determinant=pick == "d_optimal", seed=seeds[0])] * len(seeds)
    if pick == "design":
        design = run_solver(criterion, feasible, settings)
        if settings.select == "exact":
            return [select_batch(criterion, feasible, design, settings)] * len(seeds)
        return [select_batch(criterion, feasible, design, replace(settings, seed=seed)) for seed in seeds]
    weights = rule_weights(pick, criterion, feasible, prepared.probabilities.p)
    return [sample(feasible, weights, seed=seed) for seed in seeds]
