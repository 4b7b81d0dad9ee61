"""From a solved batch to annotators: save and register, decide, export what was approved."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.audit import save_batch, solved_identity
from curation.batch import MANIFEST, BatchFolder, read_batch
from curation.errors import ExportError
from curation.exchange_formats.common import ExportHeader, Order
from curation.exchange_formats.export import Format, approved_only, export_records
from curation.pipeline import Solved
from curation.pool.pair_lists import LocalPair
from curation.review.decisions import read_decisions_csv
from curation.review.store import Store, open_store
from curation.settings import workspace


def record_batch(store: Store, batch: BatchFolder, *, who: str) -> None:
    """Make a batch folder known to the store, so that decisions may refer to it."""
    manifest = batch.manifest
    store.record_pool(manifest["pool"]["fingerprint"], manifest["pool"]["name"])
    store.record_batch(
        batch.batch_id,
        folder=batch.path.resolve(),
        pool_fingerprint=manifest["pool"]["fingerprint"],
        features_fingerprint=manifest["features"]["fingerprint"],
        budget=manifest["settings"]["budget"],
        settings={**manifest["settings"], "space": manifest["space"]},
        objective=manifest["objective"],
        lower_bound=manifest["lower_bound"],
        realised=manifest["realised"],
        who=who,
    )


def save_for_review(
    solved: Solved,
    *,
    pinned: Sequence[LocalPair],
    excluded: Sequence[LocalPair],
    store: Store,
    who: str,
) -> BatchFolder:
    """The batch folder of a solved design in the workspace: written once, named by its id, known to the store."""
    identity = solved_identity(solved, pinned, excluded)
    folder = workspace() / "batches" / identity
    if not (folder / MANIFEST).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_batch(solved, folder, pinned=pinned, excluded=excluded)
    batch = read_batch(folder)
    record_batch(store, batch, who=who)
    return batch


def decide_from_file(folder: str | Path, file: str | Path, *, who: str, store: Store | None = None) -> dict[str, Any]:
    """Record the decisions of a CSV for a batch, all or none. Returns how many and the counts now."""
    batch = read_batch(folder)
    decisions = read_decisions_csv(file, {record["pair_id"] for record in batch.records})
    opened = store or open_store()
    record_batch(opened, batch, who=who)
    opened.record_decisions(batch.batch_id, decisions, who=who)
    now = Counter(decision.decision for decision in opened.decisions(batch.batch_id).values())
    return {"batch_id": batch.batch_id, "recorded": len(decisions), "pairs": len(batch.records), "counts": dict(now)}


def export_batch(
    folder: str | Path,
    *,
    to: Format,
    out: str | Path,
    order: Order = "random",
    audit_head: str | None = None,
    force: bool = False,
    who: str = "command line",
    store: Store | None = None,
) -> dict[str, Any]:
    """Write the approved pairs of a batch for annotators. What is left out is counted, the export is recorded.

    audit_head: of the signature, for a signed batch that was verified (`signoff.export_signed` does); without one
    every row says that the batch is unsigned. Raises ExportError.
    """
    batch = read_batch(folder)
    signed = audit_head is not None
    opened = store or open_store()
    opened.require(who, "approver" if signed else "reviewer")  # before a file is written
    record_batch(opened, batch, who=who)
    decisions = {key: made.decision for key, made in opened.decisions(batch.batch_id).items()}
    kept, left_out = approved_only(batch.records, decisions)
    if not kept:
        counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
        raise ExportError(
            f"no pair of batch {batch.batch_id} is approved ({counts}); approve pairs on the Review page or with "
            "`decide`, then export."
        )
    header = ExportHeader(
        batch_id=batch.batch_id,
        batch_seed=batch.manifest["batch_seed"],
        manifest_hash=hashlib.sha256((batch.path / MANIFEST).read_bytes()).hexdigest(),
        pool_name=batch.manifest["pool"]["name"],
        signed=signed,
        audit_head=audit_head,
    )
    result = export_records(kept, to=to, out=Path(out), order=order, header=header, force=force)
    counted = {**left_out, **result.left_out}
    opened.record_export(
        batch.batch_id,
        format=to,
        file=Path(out).resolve(),
        sha256=result.sha256,
        rows=result.rows,
        left_out=counted,
        signed=signed,
        who=who,
    )
    return {
        "batch_id": batch.batch_id,
        "to": to,
        "out": str(result.path),
        "also_written": [str(path) for path in result.extra_paths],
        "rows": result.rows,
        "pairs": result.pairs,
        "left_out": counted,
        "signed": signed,
        "sha256": result.sha256,
    }
