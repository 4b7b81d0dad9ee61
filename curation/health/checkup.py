"""The health of features and of a design on them, wired to a pool, for `check --features` and the Features page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curation.pool.pair_lists import LocalPair
from curation.pool.schema import Pool
from curation.representation.fisher.base import FISHERS
from curation.run.prepare import prepare
from curation.run.results import Prepared
from curation.run.solve import design_problem, run_solver
from curation.settings import DEFAULT_DESIGN, DEFAULT_SPACE, DesignSettings, SpaceSettings, default_budget, preparing

if TYPE_CHECKING:
    from curation.design.result import Design
    from curation.health.finding import Finding
    from curation.health.sensitivity import Sensitivity
    from curation.representation.features_file import FeatureTable


def design_health(
    pool: Pool,
    features: str | Path | FeatureTable,
    *,
    budget: int | None = None,
    space: SpaceSettings = DEFAULT_SPACE,
    design: DesignSettings = DEFAULT_DESIGN,
) -> list[Finding]:
    """Findings about a pool's features and a design on them, its sensitivity included; `design` gives no budget."""
    settings = replace(design, budget=min(budget or default_budget(len(pool.prompts)), pool.n_pairs))
    prepared = prepare(pool, features, space=space, **preparing(settings))
    return [*feature_health(prepared, settings), *filter(None, [design_sensitivity(prepared, settings).finding()])]


def feature_health(
    prepared: Prepared,
    settings: DesignSettings,
    *,
    pinned: Sequence[LocalPair] = (),
    excluded: Sequence[LocalPair] = (),
    design: Design | None = None,
) -> list[Finding]:
    """Findings about features and a design on them; the design is solved where none is given."""
    from curation.health.features import feature_findings

    criterion, feasible = design_problem(prepared, settings, pinned=pinned, excluded=excluded)
    made = design or run_solver(criterion, feasible, settings)
    return feature_findings(
        prepared.pool,
        matrix=prepared.table.matrix,
        phi=prepared.phi,
        fisher=prepared.fisher,
        probabilities=prepared.probabilities,
        feasible=feasible,
        weights=made.weights,
    )


def design_sensitivity(
    prepared: Prepared,
    settings: DesignSettings,
    *,
    pinned: Sequence[LocalPair] = (),
    excluded: Sequence[LocalPair] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """The design under half and double ridge, half and double dimensions, and every Fisher matrix that can be had."""
    from curation.health.sensitivity import Variant, sensitivity

    space, used = prepared.space.settings, prepared.probabilities.kind
    components = prepared.space.components.shape[1]
    known = prepared.table.reference_logprob
    known = known if known is not None else prepared.pool.reference_logprobs()
    every = bool(np.isfinite(known).all())
    kinds = sorted(
        (kind for kind in FISHERS if not kind.chooses and (every or not kind.needs_logprobs)),
        key=lambda kind: kind.needs_logprobs,
    )
    changes: list[tuple[str, SpaceSettings, DesignSettings]] = [
        ("as set", space, replace(settings, fisher=used)),
        ("half the ridge", space, replace(settings, fisher=used, ridge=settings.ridge / 2)),
        ("twice the ridge", space, replace(settings, fisher=used, ridge=settings.ridge * 2)),
        *(
            (name, replace(space, dim=dim), replace(settings, fisher=used))
            for name, dim in (("half the dimensions", components // 2), ("twice the dimensions", components * 2))
            if 1 <= dim <= prepared.table.matrix.shape[1]
        ),
        *((f"Fisher {k.name}", space, replace(settings, fisher=k.name)) for k in kinds if k.name != used),
    ]
    variants = []
    for name, shape, wanted in changes:
        other = prepared
        if shape != space or wanted.fisher != used:
            other = prepare(prepared.pool, prepared.table, space=shape, device=prepared.device, **preparing(wanted))
        variants.append(Variant(name, *design_problem(other, wanted, pinned=pinned, excluded=excluded)))
    return sensitivity(variants, progress=progress)
