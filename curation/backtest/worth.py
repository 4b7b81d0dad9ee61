"""What a label of a batch is worth: in the criterion, and never without what outcomes say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curation.backtest.arena import BacktestError
from curation.backtest.run import Result, place, read
from curation.insight.efficiency import LabelEquivalent, label_equivalent
from curation.run.results import Solved
from curation.settings import DesignSettings, SpaceSettings, kept_design, kept_space, workspace

UNTESTED = "not tested on outcomes: buy a pilot"


@dataclass(frozen=True)
class Worth:
    """Uniform labels worth the batch in the criterion, and the backtest's multiple in words (None: there is none)."""

    equivalent: LabelEquivalent
    tested: str | None

    @property
    def beside(self) -> str:
        """What stands beside the criterion's figure, wherever that is shown."""
        return self.tested or UNTESTED

    def sentences(self) -> tuple[str, str]:
        """The criterion's figure and what stands beside it."""
        return self.equivalent.sentence(), self.beside


def worth(solved: Solved) -> Worth:
    """Of a solved design, with the backtest kept for its pool where there is one."""
    equivalent = label_equivalent(
        solved.criterion, solved.prepared.geometry, solved.batch_information, solved.feasible.labels
    )
    return Worth(equivalent, tested(solved))


def tested(solved: Solved) -> str | None:
    """What the backtest kept for a design's pool says of it; None where there is none."""
    try:
        kept = read(place(solved.prepared.pool))
    except BacktestError:  # of another version: the Evidence page says how to go on
        kept = None
    return None if kept is None else outcome_sentence(kept, solved)


def tested_words(manifest: Mapping[str, Any]) -> str | None:
    """What the backtest kept for a batch's pool says of such designs; None where there is none that can be read."""
    try:
        kept = read(workspace() / "backtests" / str(manifest["pool"]["fingerprint"]))
    except BacktestError:  # of another version: the Evidence page says how to go on
        return None
    if kept is None:
        return None
    space, design = kept_space(manifest["space"]), kept_design(manifest["settings"])
    return _sentence(kept, space, design, str(manifest["features"]["fingerprint"]))


def outcome_sentence(kept: Result, solved: Solved) -> str:
    """The label multiple of a kept backtest, whether its declared test was passed, and whether it is of this design."""
    prepared = solved.prepared
    return _sentence(kept, prepared.space.settings, solved.settings, prepared.table.fingerprint)


def _sentence(kept: Result, space: SpaceSettings, design: DesignSettings, features: str) -> str:
    multiple = kept.report.curve("design").mean_multiple
    if np.isfinite(multiple.value):
        high = f"{multiple.high:.1f}" if np.isfinite(multiple.high) else "more than was tried"
        figure = (
            f"a label of the design earned as much as {multiple.value:.1f} uniform ones ({multiple.low:.1f} to {high})"
        )
    else:
        figure = "no number of uniform labels that was tried earned as much as the design's"
    passed = "ahead of uniform" if kept.report.ahead else "no better than uniform"
    asked = kept.options
    same = asked.space == space and testable(asked.design) == testable(design) and kept.features == features
    other = "" if same else " That was with other settings or features than these."
    return f"On this pool's outcomes {figure}; its declared test calls the design {passed}.{other}"


def testable(settings: DesignSettings) -> DesignSettings:
    """Settings as a backtest takes them over: it chooses budgets, and leaves out what fits the whole pool only."""
    return replace(settings, budget=1, cost=None, quotas=(), tol=1e-3, seed=0, device="auto")
