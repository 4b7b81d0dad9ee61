"""How a backtest draws batches: the same solver, rules and constraints as a real design, on half of the prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curation.backtest.contrasts.base import CONTRASTS, Sight
from curation.backtest.split import Known, Rule
from curation.design.rules.base import RULES, Problem
from curation.design.rules.inside import choose_inside
from curation.design.selection.sampling import Batch, sample
from curation.design.sets.uniform import uniform_design
from curation.insight.learning import Outcomes
from curation.insight.learning_rule import teach
from curation.pool.schema import Pool
from curation.representation.features_file import FeatureTable
from curation.run.prepare import prepare
from curation.run.results import Earlier, Prepared
from curation.run.solve import design_problem, run_solver, select_batch
from curation.settings import DesignSettings, preparing


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
        *,
        known: Known | None = None,
    ) -> list[list[Batch]]:
        """For every budget a batch a seed. known: what informed rules are told."""
        if pool is not self.pool:
            self.pool, self.prepared = pool, {}
        settings = rule.settings
        key = (rule.table, rule.space, *preparing(settings).values())
        if key not in self.prepared:
            self.prepared[key] = prepare(
                pool,
                tables[rule.table],
                space=rule.space,
                device="cpu",
                **preparing(settings),
            )
        prepared = self.prepared[key]
        return [_batches(prepared, replace(settings, budget=budget), rule, seeds, known) for budget in budgets]


def _batches(
    prepared: Prepared,
    settings: DesignSettings,
    rule: Rule,
    seeds: Sequence[int],
    known: Known | None,
) -> list[Batch]:
    """Batches of one budget, one for each seed. What involves no chance is made once."""
    if rule.pilot:
        assert known is not None
        return [piloted(prepared, settings, rule, seed, wins) for seed, wins in zip(seeds, known.wins, strict=True)]
    criterion, feasible = design_problem(prepared, settings)
    pick = rule.pick
    if pick == "design":
        design = run_solver(criterion, feasible, settings)
        if rule.mixture:
            weights = (1 - rule.mixture) * design.weights + rule.mixture * uniform_design(feasible)
            design = replace(design, weights=weights)
        if settings.select == "exact":
            return [select_batch(criterion, feasible, design, settings)] * len(seeds)
        return [select_batch(criterion, feasible, design, replace(settings, seed=seed)) for seed in seeds]
    if pick in CONTRASTS:
        values = CONTRASTS[pick].values(Sight(prepared, criterion, None if known is None else known.strength))
        weights = choose_inside(feasible, values)
        return [sample(feasible, weights, seed=seed) for seed in seeds]
    return RULES[pick].batches(Problem(criterion, feasible, prepared.probabilities.p), seeds)


def piloted(
    prepared: Prepared,
    settings: DesignSettings,
    rule: Rule,
    seed: int,
    wins: Callable[[Batch], NDArray[np.float64]],
) -> Batch:
    """A pilot by the design, then the rest of the labels as `solve --previous` would choose them; one batch of both."""
    first = max(1, round(rule.pilot * settings.budget))
    asked = replace(settings, budget=first, seed=seed)
    criterion, feasible = design_problem(prepared, asked)
    pilot = select_batch(criterion, feasible, run_solver(criterion, feasible, asked), asked)
    earlier = _earlier(prepared, asked, rule, pilot, wins(pilot))
    rest = replace(settings, budget=settings.budget - first, seed=seed)
    if earlier.taught is not None:
        rest = replace(rest, **earlier.taught.next.changes)
    criterion, feasible = design_problem(prepared, rest, earlier=earlier)
    second = select_batch(criterion, feasible, run_solver(criterion, feasible, rest), rest)
    pairs = np.concatenate([pilot.pairs, second.pairs])
    copies = np.concatenate([pilot.copies, second.copies])
    order = np.argsort(pairs, kind="stable")
    return Batch(pairs[order], copies[order], None)


def _earlier(
    prepared: Prepared, settings: DesignSettings, rule: Rule, pilot: Batch, wins: NDArray[np.float64]
) -> Earlier:
    """What a pilot's labels teach; only that they were bought, where the rule does not learn."""
    geometry = prepared.geometry
    vectors = geometry.differences(pilot.pairs).numpy()
    first, second = geometry.endpoints(pilot.pairs)
    owner = geometry.prompt_of(pilot.pairs)
    base = geometry.offsets[owner]
    labelled = tuple(zip(owner.tolist(), (first - base).tolist(), (second - base).tolist(), strict=True))
    length = np.log1p(prepared.pool.lengths())
    trials = pilot.copies.astype(float)
    won = np.clip(wins, 0.0, trials)  # given labels with a nuisance taken out may lie outside
    outcomes = Outcomes(vectors, won, trials, owner, length[first] - length[second])
    taught = None
    if rule.bets is not None:
        space = prepared.space
        taught = teach(
            outcomes,
            prepared.phi,
            geometry.offsets,
            prepared.probabilities.p,
            prepared.pool.prompt_weights(),
            fisher=prepared.fisher,
            uniform=geometry.uniform_information().numpy(),
            settings=settings,
            length_column=space.dim - 1 if space.length_scale > 0 else None,
            bets=rule.bets,
        )
    information = vectors.T @ (vectors * pilot.copies[:, None])
    return Earlier(("pilot",), prepared.space, information, labelled, int(pilot.copies.sum()), outcomes, taught)
