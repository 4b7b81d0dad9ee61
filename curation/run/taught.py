"""Labels of earlier batches made to speak to the next design (docs/method.md section 11)."""

from __future__ import annotations

from dataclasses import replace

from curation.insight.learning_rule import Bets, teach
from curation.run.results import Earlier, Prepared
from curation.settings import DesignSettings


def learn_from(
    earlier: Earlier,
    prepared: Prepared,
    settings: DesignSettings,
    *,
    keep: tuple[str, ...] = (),
    bets: Bets | None = None,
) -> Earlier:
    """Earlier batches with what their outcomes teach: `solve` then goes by it. Without outcomes they stay as they are.

    prepared: the pool in their space. keep: fields of the settings that were asked for by name and stand.
    """
    if earlier.outcomes is None or not earlier.outcomes.labels:
        return earlier
    space = prepared.space
    return replace(
        earlier,
        taught=teach(
            earlier.outcomes,
            prepared.phi,
            prepared.geometry.offsets,
            prepared.probabilities.p,
            prepared.pool.prompt_weights(),
            fisher=prepared.fisher,
            uniform=prepared.geometry.uniform_information().cpu().numpy(),
            settings=settings,
            length_column=space.dim - 1 if space.length_scale > 0 else None,
            bets=bets,
            keep=keep,
        ),
    )
