"""The one place where the steps are wired together: pool and features in, a solved design and its batch out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from curation.device import describe_device, resolve_device
from curation.errors import DesignError, PoolError
from curation.pool.messages import plain_messages
from curation.pool.pair_lists import LocalPair
from curation.pool.readers.read import read_pool
from curation.pool.schema import Pool, PoolFile
from curation.run.constraints import pool_limits
from curation.settings import OVERLAP_MOST, DesignSettings, FisherKind, SpaceSettings

if TYPE_CHECKING:
    import torch

    from curation.design.criterion import Criterion
    from curation.design.geometry import Geometry
    from curation.design.result import Design, Step
    from curation.design.rules import Baseline
    from curation.design.selection.sampling import Batch
    from curation.design.sets.feasible import Feasible
    from curation.insight.explain import Explanations
    from curation.insight.learning import Outcomes
    from curation.insight.learning_rule import Taught
    from curation.insight.length_share import LengthShare
    from curation.representation.features_file import FeatureTable
    from curation.representation.fisher import Probabilities
    from curation.representation.space import Space

ProgressCallback = Callable[["Step"], None]
Pinned = Sequence[LocalPair] | Mapping[LocalPair, float]  # held at the labels per pair, or each at its own labels


@dataclass(frozen=True)
class Prepared:
    """A pool in the design's space: everything a design needs that budget and ridge do not change.

    phi: (N, d) candidates. fisher: (d, d) = M. seconds: of the steps `space` and `fisher`.
    """

    pool: Pool
    table: FeatureTable
    space: Space
    phi: np.ndarray
    probabilities: Probabilities
    fisher: np.ndarray
    geometry: Geometry
    device: str
    seconds: dict[str, float]


@dataclass(frozen=True)
class Earlier:
    """What earlier batches have taught, in their space: the next design starts from it and buys none of it twice.

    information: sum over labelled pairs of their labels times z z', (d, d). labelled: pairs of this pool that have
    labels. labels: how many labels that is. space: the map all of it was made in. outcomes: who won. taught: what the
    outcomes say and the next design makes of it; None where they are not to be looked at.
    """

    batch_ids: tuple[str, ...]
    space: Space
    information: np.ndarray
    labelled: tuple[LocalPair, ...]
    labels: int
    outcomes: Outcomes | None = None
    taught: Taught | None = None


@dataclass(frozen=True)
class Solved:
    """A design, the batch drawn from it and everything said about them.

    realised: f of the drawn batch. batch_information: its Sigma (d, d). explanations: one entry per pair of the batch.
    length: what the batch has to do with answer length.
    pilot_of: the whole budget where this batch is its first part, bought to learn from.
    """

    prepared: Prepared
    settings: DesignSettings
    overlap: int
    criterion: Criterion
    feasible: Feasible
    design: Design
    batch: Batch
    batch_information: torch.Tensor
    realised: float
    baselines: dict[str, Baseline]
    explanations: Explanations
    length: LengthShare
    seconds: dict[str, float] = field(default_factory=dict)
    earlier: Earlier | None = None
    pilot_of: float | None = None

    @property
    def efficiency(self) -> float:
        """Lower bound over realised f: how near the drawn batch is to the best possible design.

        Slightly above 1 is possible where prompt totals are fractions of a label (balanced, fewer labels than
        prompts): the bound is that of designs that keep those fractions, and a draw settles them to 0 or 1.
        """
        return self.design.certificate.lower_bound / self.realised


def load_pool(path: str | Path, *, skip_rejects: bool = True, mapping: dict[str, str] | None = None) -> PoolFile:
    """Read a pool; mapping: field -> column, as `read_pool`. Raises PoolError where it is unusable, or where it has
    rejects and those may not be skipped."""
    file = read_pool(path, mapping=mapping)
    if file.rejects and not skip_rejects:
        first = file.rejects[0]
        raise PoolError(
            f"{path}: {len(file.rejects)} of {file.rows} rows cannot be used (line {first.line}: {first.reason}); "
            "see them all with `check POOL --rejects FILE`, mend them, or go on without them with --skip-rejects."
        )
    return file


def prepare(
    pool: Pool,
    features: str | Path | FeatureTable,
    *,
    space: SpaceSettings,
    fisher: FisherKind = "auto",
    temperature: float = 1.0,
    per_token: bool = True,
    device: str = "auto",
    fitted: Space | None = None,
) -> Prepared:
    """Features to coordinates, Fisher matrix and comparison graph (docs/method.md sections 2, 3 and 5).

    temperature, per_token: of the empirical Fisher matrix. fitted: a space to use instead of fitting one, of `space`'s
    settings.
    """
    from curation.design.geometry import Geometry
    from curation.representation.features_file import read_features
    from curation.representation.fisher import fisher_matrix, response_probabilities
    from curation.representation.space import fit_space

    chosen = resolve_device(device)
    started = time.perf_counter()
    table = features
    if isinstance(table, str | Path):
        table = read_features(table, pool.ids(), pool_fingerprint=pool.fingerprint)
    read_seconds = time.perf_counter() - started
    started = time.perf_counter()
    offsets, lengths = pool.offsets(), pool.lengths()
    fitted = fitted or fit_space(table.matrix, offsets, lengths, settings=space)
    phi = fitted.transform(table.matrix, offsets, lengths)
    space_seconds = time.perf_counter() - started
    started = time.perf_counter()
    logprob = table.reference_logprob if table.reference_logprob is not None else pool.reference_logprobs()
    probabilities = response_probabilities(
        phi,
        offsets,
        logprob=logprob,
        kind=fisher,
        temperature=temperature,
        n_tokens=table.n_tokens if per_token else None,
    )
    M = fisher_matrix(phi, offsets, probabilities.p, pool.prompt_weights())
    geometry = Geometry(phi, offsets, prompt_weights=pool.prompt_weights(), edges=pool.edges(), device=chosen)
    return Prepared(
        pool=pool,
        table=table,
        space=fitted,
        phi=phi,
        probabilities=probabilities,
        fisher=M,
        geometry=geometry,
        device=chosen,
        seconds={"read": read_seconds, "space": space_seconds, "fisher": time.perf_counter() - started},
    )


def pair_numbers(geometry: Geometry, pairs: Sequence[LocalPair]) -> list[int]:
    """Pair numbers of (prompt, i, j) triples. Raises DesignError where a pair is not admissible."""
    numbers = []
    for prompt, i, j in pairs:
        number = geometry.number(prompt, i, j)
        if number is None:
            raise DesignError(f"prompt number {prompt}: candidates {i} and {j} may not be compared in this pool.")
        numbers.append(number)
    return numbers


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

    Where earlier outcomes have taught something, Fisher matrix and prior are theirs; the settings must be too.
    """
    import torch

    from curation.design.criterion import make_criterion
    from curation.design.factors import pair_factor
    from curation.design.sets.feasible import make_feasible

    geometry = prepared.geometry
    bought = earlier.labelled if earlier is not None else ()
    taught = earlier.taught if earlier is not None else None
    known = taught or earlier
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
    criterion = make_criterion(
        prepared.geometry,
        torch.as_tensor(prepared.fisher if taught is None else taught.fisher),
        ridge=settings.ridge * (1.0 if taught is None else taught.ridge_share),
        kind=settings.ridge_kind,
        power=settings.prior_power,
        previous=None if known is None else torch.as_tensor(known.information / feasible.labels),
    )
    return criterion, feasible


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
    with_baselines: bool = True,
    progress: ProgressCallback | None = None,
) -> Solved:
    """Solve, draw the batch, compare it and explain every pair. overlap: share of the budget given to repeats.

    earlier: batches to go on from; what their outcomes taught changes the settings. pilot_of: the whole budget, where
    `settings` asks for a first part of it.
    Raises DesignError with the constraint's name and amount where the budget cannot be spent as asked.
    """
    from curation.design.rules import baselines, batch_information
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
    information = batch_information(feasible, batch)
    realised = criterion.value(information)
    rules = baselines(criterion, feasible, prepared.probabilities.p, seed=settings.seed) if with_baselines else {}
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


def summary(solved: Solved) -> dict[str, Any]:
    """The figures of a run, as `solve --json` prints them."""
    from curation.design.sets.feasible import resolve_spread

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
    """Information left to want at each budget: (budget, designed, uniform) values of T = f / n x planned n.

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
            scaled = replace(criterion, prior=criterion.prior * factor)
            design = run_solver(scaled, feasible, replace(settings, tol=1e-3), start=last)
        last = design.weights
        rows.append((budget, design.certificate.objective * factor, design.certificate.uniform * factor))
    return rows


def frontier_budgets(prepared: Prepared, settings: DesignSettings) -> list[float]:
    """Eight budgets from a quarter to four times the present one; without costs whole and within the pool."""
    wanted = [settings.budget * factor for factor in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)]
    if settings.cost:
        return wanted
    return sorted({min(max(round(value), 1), prepared.geometry.pairs) for value in wanted})


def make_features(
    pool: Pool,
    out: str | Path,
    *,
    model: str,
    layer: int = -1,
    pooling: Literal["last", "mean"] = "last",
    batch_tokens: Literal["auto"] | int = "auto",
    device: str = "auto",
    model_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    trust_remote_code: bool = False,
    seed: int = 0,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
    fit_progress: Callable[[int, int, float], None] | None = None,
) -> dict[str, Any]:
    """Represent every response of a pool and write the features file.

    progress: (done, total, seconds) of responses; fit_progress: the same of training steps, with `--model fit`.

    Returns responses, dim, notes and metadata. Raises RepresentationError in words.
    """
    from curation.representation.extract import extract

    made = extract(
        [plain_messages(p.prompt) if isinstance(p.prompt, list) else p.prompt for p in pool.prompts],
        [[response.text for response in prompt.responses] for prompt in pool.prompts],
        pool.ids(),
        out=out,
        model=model,
        layer=layer,
        pooling=pooling,
        batch_tokens=batch_tokens,
        device=device,
        model_dtype=model_dtype,
        trust_remote_code=trust_remote_code,
        pool_fingerprint=pool.fingerprint,
        seed=seed,
        resume=resume,
        force=force,
        progress=progress,
        fit_progress=fit_progress,
    )
    return {
        "out": made.path,
        "responses": made.responses,
        "dim": made.width,
        "log_probabilities": made.log_probabilities,
        "truncated": made.truncated,
        "reused_shards": made.reused_shards,
        "seconds": made.seconds,
        "metadata": made.metadata,
        "notes": list(made.notes),
    }
