"""The backtest of answers wired to a pool: the same pairs answered binary and graded, at stated agreements."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from curation.backtest.arena import make_arena
from curation.backtest.graded_report import GradedReport, finite, make_graded_report
from curation.backtest.graded_split import GradedPlan, noise_for, run_graded_seed
from curation.backtest.nuisance import Explained, without
from curation.backtest.run import Options, Progress, each_split, make_plan
from curation.backtest.split import Rule
from curation.insight.graded import Answering
from curation.pool.schema import PoolFile
from curation.representation.features_file import read_features

RESULT = "backtest_graded.json"
FORMAT_VERSION = 1
AGREEMENT = 0.64  # of two people on one pair, as often reported for chat answers


@dataclass(frozen=True)
class GradedResult:
    """A backtest of answers: what was asked, what came out. report: on the outcomes as they are. without: on what is
    left of them without the nuisance, annotators calibrated to that. explained: what the nuisance accounts for."""

    options: Options
    answering: Answering
    report: GradedReport
    without: GradedReport
    explained: Explained
    notes: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "format_version": FORMAT_VERSION,
            "answers": "graded",
            **self.report.to_dict(),
            "without": self.without.to_dict(),
            "explained": finite(asdict(self.explained)),
            "answering": asdict(self.answering),
            "options": finite(asdict(self.options)),
            "notes": list(self.notes),
            "seconds": self.seconds,
        }

    def lines(self) -> list[str]:
        """Both reports in words and tables."""
        nuisance = " and ".join(self.options.nuisance)
        head = f"With {nuisance} taken out:"
        return [*self.report.lines(), head, *self.without.lines(), self.explained.sentence(), *self.notes]


def run_graded(
    pool_file: PoolFile,
    features: str | Path,
    options: Options,
    *,
    agreements: Sequence[float | None] = (AGREEMENT,),
    answering: Answering | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> GradedResult:
    """Backtest graded answers against binary ones on the same pairs, of the design and of uniform sampling.

    Every verdict is given twice, as `run_backtest` does: on the outcomes and on what is left without the nuisance.
    agreements: share of random pairs on which two annotators agree by side; None takes the options' temperature.
    Raises GradedError where the pool cannot give it or has no quality, BacktestError as `run_backtest` does.
    """
    started = time.perf_counter()
    answering = answering or Answering()
    pool = pool_file.pool
    table = read_features(features, pool.ids(), pool_fingerprint=pool.fingerprint)
    arena = make_arena(
        pool, pool_file.truth, [table], reward=options.reward, temperature=options.label_temperature,
        source=options.source,
    )  # fmt: skip
    twin, explained = without(arena, options.nuisance)
    arenas = (arena, twin)
    noises = tuple(tuple(noise_for(one, share, answering) for share in agreements) for one in arenas)
    rules = (
        Rule("design", "design", options.space, options.design),
        Rule("uniform", "uniform", options.space, options.design),
    )
    base = make_plan(arena, options, rules)
    plan = GradedPlan(base, noises, answering)
    splits = each_split(run_graded_seed, arenas, plan, options.seeds, workers=workers, progress=progress)
    reports = [make_graded_report(plan, [split[k] for split in splits], one, place=k) for k, one in enumerate(arenas)]
    return GradedResult(
        options=replace(options, budgets=base.budgets),
        answering=answering,
        report=reports[0],
        without=reports[1],
        explained=explained,
        notes=(*arena.notes, *table.notes),
        seconds=time.perf_counter() - started,
    )


def write_graded(result: GradedResult, folder: Path) -> Path:
    """Keep a result beside the binary backtest's, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    staging = folder / f".{RESULT}.{os.getpid()}"
    staging.write_text(json.dumps(result.to_dict(), ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")
    return staging.replace(folder / RESULT)
