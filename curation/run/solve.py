"""From a prepared pool to a batch: the design problem, its solver, the draw, explanations and simple rules."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from curation.errors import DesignError
from curation.pool.pair_lists import LocalPair
from curation.run.constraints import pool_limits
from curation.setting_rules import OVERLAP_MOST
from curation.settings import DesignSettings

if TYPE_CHECKING:
    import torch

    from curation.design.criteria.base import Criterion, Kind
    from curation.design.geometry import Geometry
    from curation.design.result import Design, Step
    from curation.design.rules.compare import Baseline
    from curation.design.selection.sampling import Batch
    from curation.design.sets.feasible import Feasible
from curation.run.results import Earlier, Prepared, Solved

ProgressCallback = Callable[["Step"], None]
Pinned = Sequence[LocalPair] | Mapping[LocalPair, float]  # held at the labels per pair, or each at its own labels


def pair_numbers(geometry: Geometry, pairs: Sequence[LocalPair]) -> list[int]:
    """Pair numbers of (prompt, i, j) triples. Raises DesignError where a pair is not admissible."""
    numbers = []
    for prompt, i, j in pairs:
        number = geometry.number(prompt, i, j)
        if number is None:
            raise DesignError(f"prompt number {prompt}: candidates {i} and {j} may not be compared in this pool.")
        numbers.append(number)
    return numbers


def criterion_kind(settings: DesignSettings) -> Kind:
    """The criterion that the design minimises. Raises DesignError, with the names there are."""
    from curation.design.criteria.base import CRITERIA

    return CRITERIA[settings.criterion]


def design_problem(
    prepared: Prepared,
    settings: DesignSettings,
    *,
    overlap: float = 0,
    pinned: Pinned = (),
    excluded: Sequence[LocalPair] = (),
    earlier: Earlier | None = None,
) -> tuple[Criterion, Feasible]:
    """Criterion and feasible set of a run. overlap: part of the budget kept for repeats, outside the design.
    pinned: pairs held at the labels per pair, or pair -> the labels it is held at.

    Where earlier outcomes have taught something, Fisher matrix and prior are theirs; the settings must be too. Raises
    DesignError where the criterion has no ear for that.
    """
    import torch

    from curation.design.criteria.prior import fisher_and_prior
    from curation.design.factors import pair_factor
    from curation.design.sets.make import make_feasible

    geometry = prepared.geometry
    bought = earlier.labelled if earlier is not None else ()
    taught = earlier.taught if earlier is not None else None
    known = taught or earlier
    kind = criterion_kind(settings)
    if taught is not None and not kind.taught:
        raise DesignError(
            f"the labels of earlier batches teach which directions matter, and criterion {kind.name!r} does not look at"
            " that; use --no-learn, or criterion 'trace'."
        )
    if taught is not None and taught.preference is not None:
        geometry = geometry.with_factor(pair_factor(geometry, theta=taught.preference))
    numbers = pair_numbers(geometry, list(pinned))
    feasible = make_feasible(
        geometry,
        budget=settings.budget - overlap,
        max_labels_per_pair=settings.max_labels_per_pair,
        spread=settings.spread,
        pinned=dict(zip(numbers, pinned.values(), strict=True)) if isinstance(pinned, Mapping) else numbers,
        excluded=sorted({*pair_numbers(geometry, excluded), *pair_numbers(geometry, bought)}),
        limits=pool_limits(prepared.pool, geometry, settings),
    )
    fisher, prior = fisher_and_prior(
        prepared.geometry,
        torch.as_tensor(prepared.fisher if taught is None else taught.fisher),
        ridge=settings.ridge * (1.0 if taught is None else taught.ridge_share),
        kind=settings.ridge_kind,
        power=settings.prior_power,
        previous=None if known is None else torch.as_tensor(known.information / feasible.labels),
    )
    return kind.make(fisher, prior), feasible


def run_solver(
    criterion: Criterion,
    feasible: Feasible,
    settings: DesignSettings,
    progress: ProgressCallback | None = None,
    *,
    start: torch.Tensor | None = None,
) -> Design:
    """The design by the solver that was asked for. start: weights of a similar design, to go on from.

    A batch is never drawn from a design that was started so: the same settings must give the same batch, whatever was
    looked at before.
    """
    from curation.design.solvers.frank_wolfe import frank_wolfe
    from curation.design.solvers.newton import newton

    if settings.solver == "newton":
        return newton(criterion, feasible, tol=settings.tol, progress=progress, start=start)
    return frank_wolfe(criterion, feasible, tol=settings.tol, progress=progress)


def select_batch(criterion: Criterion, feasible: Feasible, design: Design, settings: DesignSettings) -> Batch:
    """The batch by the selection that was asked for."""
    if settings.select == "exact":
        from curation.design.selection.swaps import exact

        batch: Batch = exact(criterion, feasible, design.weights)
        return batch
    from curation.design.selection.sampling import paper, sample

    return (sample if settings.select == "sample" else paper)(feasible, design.weights, seed=settings.seed)


def kept_back(settings: DesignSettings, overlap: float) -> float:
    """The part of the budget that is kept for repeats: whole labels, or cost units."""
    return overlap * settings.budget if settings.cost else math.floor(overlap * settings.budget)


def batch_cost(feasible: Feasible, batch: Batch) -> float | None:
    """What the labels of a batch cost together, None where there are no costs."""
    costs = feasible.limits.costs
    return None if costs is None else float(costs[batch.pairs] @ batch.copies)


def _buys_nothing(feasible: Feasible, settings: DesignSettings) -> str:
    """What to do where not one label was bought."""
    costs, least = feasible.limits.costs, ""
    if costs is not None:
        cheapest = costs[~feasible.blocked.cpu().numpy()].min()
        least = f": the cheapest pair that may be labelled costs {cheapest:,.4g} ({settings.cost})"
    return f"budget {settings.budget:,.4g} buys no label{least}; raise --budget, or loosen the limits."


def _repeats(feasible: Feasible, batch: Batch, kept: float) -> int:
    """Labels that repeat a pair, for the part of the budget kept for them: in expectation under a drawn batch, and
    never past it where the batch is exact."""
    costs = feasible.limits.costs
    if costs is None or not kept:
        return math.floor(kept)
    costs = costs[batch.pairs]
    return math.floor(kept / float(costs.max() if batch.inclusion is None else costs.mean()))


def solve(
    prepared: Prepared,
    settings: DesignSettings,
    *,
    overlap: float = 0.0,
    pinned: Pinned = (),
    excluded: Sequence[LocalPair] = (),
    earlier: Earlier | None = None,
    pilot_of: float | None = None,
    with_baselines: bool | Literal["later"] = True,
    progress: ProgressCallback | None = None,
) -> Solved:
    """Solve, draw the batch, compare it and explain every pair. overlap: share of the budget given to repeats.

    earlier: batches to go on from; what their outcomes taught changes the settings. pilot_of: the whole budget, where
    `settings` asks for a first part of it. with_baselines: "later" reckons each rule when it is first looked at.
    Raises DesignError with the constraint's name and amount where the budget cannot be spent as asked.
    """
    from curation.design.rules.compare import Beside, baselines
    from curation.design.selection.drawn import batch_information
    from curation.design.selection.sampling import with_overlap
    from curation.insight.explain import explain
    from curation.insight.length_share import length_share

    if pilot_of is not None and not settings.budget < pilot_of:
        raise DesignError(
            f"a pilot of {settings.budget:g} leaves nothing of the budget {pilot_of:g} to learn for; ask for less, a "
            "third for example."
        )
    if earlier is not None and earlier.taught is not None:
        settings = replace(settings, **earlier.taught.next.changes)
    if not 0 <= overlap <= OVERLAP_MOST:
        raise DesignError(
            f"--overlap {overlap} is outside 0..{OVERLAP_MOST:g}; it is the share of labels that repeat a pair."
        )
    kept = kept_back(settings, overlap)
    seconds = dict(prepared.seconds)
    started = time.perf_counter()
    criterion, feasible = design_problem(
        prepared, settings, overlap=kept, pinned=pinned, excluded=excluded, earlier=earlier
    )
    design = run_solver(criterion, feasible, settings, progress)
    seconds["solve"] = time.perf_counter() - started
    started = time.perf_counter()
    batch = select_batch(criterion, feasible, design, settings)
    if not batch.labels:
        raise DesignError(_buys_nothing(feasible, settings))
    information = batch_information(feasible, batch)
    realised = criterion.value(information)
    rules: Mapping[str, Baseline] = {}
    if with_baselines:
        reckoned = Beside if with_baselines == "later" else baselines
        rules = reckoned(criterion, feasible, prepared.probabilities.p, seed=settings.seed)
    repeats = _repeats(feasible, batch, kept)
    batch = with_overlap(batch, repeats, seed=settings.seed)
    seconds["select"] = time.perf_counter() - started
    started = time.perf_counter()
    explanations = explain(criterion, feasible, design, information, batch.pairs)
    length = length_share(criterion, feasible, design, prepared.pool.lengths(), batch.pairs, batch.copies)
    seconds["explain"] = time.perf_counter() - started
    return Solved(
        prepared=prepared,
        settings=settings,
        overlap=repeats,
        criterion=criterion,
        feasible=feasible,
        design=design,
        batch=batch,
        batch_information=information,
        realised=realised,
        baselines=rules,
        explanations=explanations,
        length=length,
        seconds=seconds,
        earlier=earlier,
        pilot_of=pilot_of,
    )
