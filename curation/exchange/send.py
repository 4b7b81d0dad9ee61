"""What goes out: approved pairs to annotators, signed batches, labelled pairs to training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.batch.answers import Answers
from curation.batch.folder import (
    MANIFEST,
    BatchFolder,
    read_batch,
)
from curation.batch.guidelines import guidelines_of
from curation.batch.presentation import ExportHeader, Order
from curation.batch.records import batch_seed
from curation.errors import ExportError
from curation.exchange.assignment import Annotator
from curation.exchange.export import approved_only, export_records
from curation.exchange.hub import check_repository, push
from curation.exchange.receive import quality_of
from curation.exchange.training_files import write_training
from curation.exchange.trl import preferences
from curation.pool.labels import in_force, people_only
from curation.review.register import check_recorded, record_batch, seeds_of
from curation.review.signoff import read_signature, verify_batch
from curation.review.store.roles import COMMAND_LINE
from curation.review.store.store import Store, open_store


@dataclass(frozen=True)
class SignedState:
    """What a signature covers, as far as an export depends on it.

    head: hash of the event that signed. decisions: digest of what holds. files: sha256 of the batch's files.
    """

    head: str
    decisions: str
    files: dict[str, str]


def export_batch(
    folder: str | Path,
    *,
    to: str,
    out: str | Path,
    order: Order = "random",
    answers: Answers = "binary",
    signed: SignedState | None = None,
    force: bool = False,
    annotators: Sequence[Annotator] = (),
    who: str = "command line",
    store: Store | None = None,
) -> dict[str, Any]:
    """Write the approved pairs of a batch for annotators. What is left out is counted, the export is recorded.

    signed: of a signed batch that was verified (`signoff.export_signed` does), whose files and decisions must be those
    that are read here; without it every row says that the batch is unsigned. answers: whether annotators are asked for
    a side, or how much better too; graded rows carry it, so that labels are read accordingly. annotators: who labels
    which row is drawn and written beside. Raises ExportError.
    """
    batch = read_batch(folder)
    opened = store or open_store()
    record_batch(opened, batch, who=who, role="approver" if signed else "reviewer")  # before a file is written
    decisions, digest = opened.decided(batch.batch_id)
    if signed is not None:
        _as_signed(batch, digest, signed)
    kept, left_out = approved_only(batch.records, decisions)
    if not kept:
        counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
        raise ExportError(
            f"no pair of batch {batch.batch_id} is approved ({counts}); approve pairs on the Review page or with "
            "`decide`, then export."
        )
    seed = seeds_of(opened, batch)[0]
    if seed != batch_seed(batch.batch_id, batch.manifest["settings"]["seed"]):
        kept = [{**record, "left": None} for record in kept]  # what the Review page shows left; exports have their own
    header = ExportHeader(
        batch_id=batch.batch_id,
        batch_seed=seed,
        manifest_hash=batch.digests[MANIFEST],
        pool_name=batch.manifest["pool"]["name"],
        signed=signed is not None,
        audit_head=None if signed is None else signed.head,
        answers=answers,
    )
    result = export_records(
        kept,
        to=to,
        out=Path(out),
        order=order,
        header=header,
        force=force,
        annotators=annotators,
        guidelines=guidelines_of(batch),
    )
    counted = {**left_out, **result.left_out}
    opened.record_export(
        batch.batch_id,
        format=to,
        file=Path(out).resolve(),
        sha256=result.sha256,
        rows=result.rows,
        left_out=counted,
        signed=signed is not None,
        who=who,
        answers=answers,
    )
    return {
        "batch_id": batch.batch_id,
        "to": to,
        "answers": answers,
        "out": str(result.path),
        "also_written": [str(path) for path in result.extra_paths],
        "rows": result.rows,
        "pairs": result.pairs,
        "left_out": counted,
        "signed": signed is not None,
        "sha256": result.sha256,
        "notes": list(result.notes),
        "annotators": result.annotators,
    }


def _as_signed(batch: BatchFolder, decisions: str, signed: SignedState) -> None:
    """Raise ExportError where what was read for an export is not what was signed: it may change after the check."""
    changed = [name for name, digest in batch.digests.items() if signed.files.get(name) != digest]
    changed += ["the decisions"] if decisions != signed.decisions else []
    if changed:
        raise ExportError(
            f"batch {batch.batch_id} changed while it was being exported ({', '.join(changed)}), so nothing was "
            "written; see `verify`, then export again."
        )


def export_signed(
    folder: str | Path,
    *,
    to: str,
    out: str | Path,
    order: Order = "random",
    answers: Answers = "binary",
    force: bool = False,
    annotators: Sequence[Annotator] = (),
    who: str = "command line",
    trusted: str | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Write the approved pairs of a signed batch, with the signed head of the audit log in every row.

    trusted: public key (hex) of the signer, where it is not this machine's. What is written is made of the bytes whose
    hashes the signature holds. Raises ExportError for a batch that is not signed, no longer what was signed, or signed
    with a key that nobody knows here.
    """
    opened = store or open_store()
    opened.require(who, "approver")
    batch = read_batch(folder)
    signature = read_signature(folder)
    if signature is None:
        raise ExportError(
            f"batch {batch.batch_id} is not signed; sign it (`sign DIR --as NAME`), or export it with --unsigned, and "
            "every row will be marked as unsigned."
        )
    verdict = verify_batch(folder, store=opened, trusted=trusted, exports=False, signature=signature)
    if not verdict.holds:
        raise ExportError(
            f"batch {batch.batch_id} is not what was signed ({verdict.problems[0]}); see `verify`, then sign again."
        )
    if not verdict.key_known:
        raise ExportError(f"{verdict.sentence()}, or export it with --unsigned.")
    state = SignedState(str(signature["head"]["hash"]), str(signature["decisions"]), dict(signature["files"]))
    return export_batch(
        folder, to=to, out=out, order=order, answers=answers, signed=state, force=force, annotators=annotators, who=who,
        store=opened,
    )  # fmt: skip


def export_trl(
    folder: str | Path,
    out: str | Path,
    *,
    force: bool = False,
    ties: bool = False,
    card: bool = False,
    push_to: str | None = None,
    who: str = COMMAND_LINE,
    store: Store | None = None,
) -> dict[str, Any]:
    """Write the labelled pairs of a batch as TRL preference rows; the export is recorded.

    ties: pairs that were answered and have no winner, to a file of their own. card: a dataset card beside them.
    push_to: OWNER/NAME of a data set repository on a hub that gets all of these once they are written and recorded.

    Raises ExportError where there is none, StoreError for who may not.
    """
    opened = store or open_store()
    who = opened.require(who, "reviewer")  # before a file is written
    repository = None if push_to is None else check_repository(push_to)
    batch = read_batch(folder)
    check_recorded(opened, batch)
    kept = opened.labels(batch.batch_id)
    if not in_force(kept):
        raise ExportError(
            f"batch {batch.batch_id} has no labels; bring them in with `import-labels`, then export to TRL."
        )
    made = preferences(batch.records, kept, batch_id=batch.batch_id)
    if not made.rows:
        gone = ", ".join(f"{count} {reason}" for reason, count in made.left_out.items() if count)
        raise ExportError(f"no pair of batch {batch.batch_id} has a winner ({gone}), so there is nothing to train on.")
    path, beside, sha256 = write_training(
        made, out, force=force, ties=ties,
        about=quality_of(people_only(kept)).sentences() if card else None, batch_id=batch.batch_id,
    )  # fmt: skip
    opened.record_export(
        batch.batch_id, format="trl", file=path.resolve(), sha256=sha256, rows=len(made.rows), left_out=made.left_out,
        signed=False, who=who,
    )  # fmt: skip
    return {
        "batch_id": batch.batch_id,
        "to": "trl",
        "out": str(path),
        "also_written": [str(place) for place in beside],
        "rows": len(made.rows),
        "pairs": len(made.rows),
        "left_out": made.left_out,
        "settled": made.settled,
        "sha256": sha256,
        "pushed": None if repository is None else push(repository, [path, *beside], message=f"Batch {batch.batch_id}"),
        "notes": [],
        "annotators": {},
    }
