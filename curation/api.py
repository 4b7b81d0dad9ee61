"""Pairwright as a library, in ten names: read a pool, represent it, solve, look, save, send out.

>>> import pairwright as pw
>>> pool = pw.read_pool("data/demo.jsonl.gz")
>>> pool
pool 'demo': 62 prompts, 496 responses, 1736 pairs
>>> space = pw.represent(pool, "data/demo.features.parquet", dim=16)
>>> run = pw.solve(space, budget=20)
>>> run.pairs().columns[:4].tolist()
['pair_id', 'prompt_id', 'response_a_id', 'response_b_id']

`run.save("batch")` then writes the batch folder and `Batch.export` sends its approved pairs out. Everything here is the
same code that the command line and the dashboard call; nothing is decided anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.batch.folder import BatchFolder, read_batch
from curation.batch.records import audit_records, save_batch
from curation.errors import CurationError, ExportError, PoolError
from curation.pool.pair_lists import LocalPair, pairs_by_id
from curation.pool.schema import Pool
from curation.run.prepare import load_pool, make_features, prepare
from curation.run.report import Report, budget_frontier, report
from curation.run.results import Prepared, Solved
from curation.run.solve import solve as solve_design
from curation.settings import DEFAULT_DESIGN, DEFAULT_SPACE, DesignSettings, preparing

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = [
    "Batch",
    "CurationError",
    "DesignSettings",
    "Represented",
    "Run",
    "make_features",
    "open_batch",
    "read_pool",
    "represent",
    "solve",
]
CHARTS = ("rules", "certificate", "coverage", "spectrum")


def read_pool(path: str | Path, *, mapping: Mapping[str, str] | None = None, skip_rejects: bool = False) -> Pool:
    """A candidate pool in any format that `check` reads.

    mapping: field -> column of a flat table. Raises PoolError where rows cannot be used, unless `skip_rejects`.
    """
    return load_pool(path, skip_rejects=skip_rejects, mapping=dict(mapping or {})).pool


@dataclass(frozen=True, repr=False)
class Represented:
    """A pool in the coordinates of the design, with its Fisher matrix and comparison graph."""

    prepared: Prepared
    fisher: Mapping[str, Any]  # as asked: fisher, temperature, per_token

    def __repr__(self) -> str:
        kept = self.prepared
        return (
            f"{kept.pool!r} in {kept.space.dim} dimensions; Fisher matrix {kept.probabilities.kind} "
            f"({kept.probabilities.reason})"
        )


def represent(pool: Pool, features: str | Path, *, device: str = "auto", **settings: Any) -> Represented:
    """Features to coordinates. settings: of the space (dim, normalize, pca, length) and fisher, temperature, per_token.

    Raises RepresentationError where the features are not those of the pool, DesignError for a setting out of range.
    """
    fisher: dict[str, Any] = {name: settings.pop(name) for name in preparing(DEFAULT_DESIGN) if name in settings}
    return Represented(
        prepare(pool, features, space=replace(DEFAULT_SPACE, **settings), device=device, **fisher), fisher
    )


def solve(
    space: Represented,
    budget: float,
    *,
    pinned: Sequence[str] = (),
    excluded: Sequence[str] = (),
    overlap: float = 0.0,
    **settings: Any,
) -> Run:
    """The design of a budget, its batch and every figure about them.

    budget: labels, or cost units. pinned, excluded: pair ids. settings: fields of `DesignSettings`. Raises DesignError
    with the constraint's name and the amount, PoolError for an id that is no pair of the pool.
    """
    prepared = space.prepared
    chosen = replace(DEFAULT_DESIGN, budget=budget, **space.fisher, **settings)
    pins, outs = (_local(prepared.pool, ids) for ids in (pinned, excluded))
    return Run(solve_design(prepared, chosen, overlap=overlap, pinned=pins, excluded=outs), tuple(pins), tuple(outs))


def _local(pool: Pool, ids: Sequence[str]) -> list[LocalPair]:
    found = pairs_by_id(pool, set(ids))
    if missing := [key for key in ids if key not in found]:
        raise PoolError(
            f"{len(missing)} pair ids are of no pair of pool {pool.name!r} (first: {missing[0]!r:.60}); give ids of "
            "`Run.pairs()`."
        )
    return [found[key] for key in ids]


@dataclass(frozen=True, repr=False)
class Run:
    """A solved design: figures as tables, charts, and the batch folder when it is saved."""

    solved: Solved
    pinned: tuple[LocalPair, ...] = ()
    excluded: tuple[LocalPair, ...] = ()

    def __repr__(self) -> str:
        return repr(self.solved)

    def summary(self) -> Report:
        """The figures that `solve --json` prints, as attributes; `to_dict()` has them by name."""
        return report(self.solved)

    def pairs(self) -> pd.DataFrame:
        """The chosen pairs, one row each: ids, texts, score, drop_cost, inclusion, copies and why in a sentence."""
        import pandas as pd

        names = (
            "pair_id prompt_id response_a_id response_b_id score margin drop_cost inclusion copies rationale prompt "
            "response_a response_b"
        )
        return pd.DataFrame(audit_records(self.solved, "0" * 64)).reindex(columns=names.split())

    def rules(self) -> pd.DataFrame:
        """The design beside the simple rules: realised criterion, over the lower bound, and a note where one is out."""
        import pandas as pd

        bound = self.solved.design.certificate.lower_bound
        rows: list[tuple[str, float | None, str]] = [("this design", self.solved.realised, "")]
        rows += [(rule.name, rule.realised, rule.note) for rule in self.solved.baselines.values()]
        frame = pd.DataFrame(rows, columns=["rule", "realised", "note"])
        frame.insert(2, "over_bound", frame["realised"].astype(float) / bound)
        return frame

    def worth(self) -> str:
        """What the labels are worth: in the criterion, and what outcomes say of that or that they were not asked."""
        from curation.backtest.worth import worth

        return " ".join(worth(self.solved).sentences())

    def frontier(self, budgets: Sequence[float]) -> pd.DataFrame:
        """Budget, the criterion of its design and of uniform labels; the prior is held at that of this run."""
        import pandas as pd

        solved = self.solved
        rows = budget_frontier(solved.prepared, solved.settings, budgets, pinned=self.pinned, excluded=self.excluded)
        return pd.DataFrame(rows, columns=["budget", "designed", "uniform"])

    def chart(self, name: str) -> go.Figure:
        """A figure of the dashboard: rules, certificate, coverage or spectrum. Raises DesignError for another name."""
        from curation.charts import coverage, design
        from curation.errors import DesignError
        from curation.insight.coverage import coverage as measured

        solved = self.solved
        if name == "rules":
            bound = solved.design.certificate.lower_bound
            return design.against_rules(solved.realised, bound, list(solved.baselines.values()))
        if name == "certificate":
            return design.convergence(solved.design.trace, solved.settings.tol)
        if name in ("coverage", "spectrum"):
            information = solved.prepared.geometry.information(solved.design.weights)
            told = measured(solved.criterion, solved.feasible, information, solved.batch_information)
            return coverage.direction_coverage(told) if name == "coverage" else coverage.spectrum(told)
        raise DesignError(f"there is no chart {name!r:.60}; ask for {', '.join(CHARTS)}.")

    def save(self, out: str | Path, *, guidelines: str | None = None, force: bool = False) -> Batch:
        """Write the batch folder, whole or not at all. guidelines: what annotators are told. Raises BatchError."""
        place = save_batch(
            self.solved, out, pinned=self.pinned, excluded=self.excluded, guidelines=guidelines, force=force
        )
        return open_batch(place)


@dataclass(frozen=True, repr=False)
class Batch:
    """A batch folder: its records, and the way out of it."""

    folder: BatchFolder

    def __repr__(self) -> str:
        told = self.folder.manifest
        labels, pairs = told["labels_selected"], told["pairs_selected"]
        return f"batch {self.folder.batch_id}: {labels} labels on {pairs} pairs, in {self.folder.path}"

    def records(self) -> pd.DataFrame:
        """The audit records, one row a pair."""
        import pandas as pd

        return pd.DataFrame(self.folder.records)

    def export(self, tool: str, out: str | Path, *, unsigned: bool = False, **options: Any) -> dict[str, Any]:
        """Write the approved pairs for an annotation tool, as `export --to` names it; counts what is left out.

        unsigned: of a batch that nobody signed, marked as such. options: as `exchange.send.export_batch`. Raises
        ExportError where nothing is approved, SignatureError where a signed batch is not as it was signed.
        """
        from curation.exchange.send import export_batch, export_signed
        from curation.exchange.tools.base import TOOLS

        if tool not in TOOLS:
            raise ExportError(f"there is no format {tool!r:.60}; ask for {', '.join(TOOLS.names())}.")
        send = export_batch if unsigned else export_signed
        return send(self.folder.path, to=tool, out=out, **options)


def open_batch(folder: str | Path) -> Batch:
    """A batch folder as it lies on disk. Raises BatchError where it is none, or not whole."""
    return Batch(read_batch(folder))
