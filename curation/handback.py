"""From annotators back: import labels, judge them, hand them to training, start the next batch from them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from curation.batch import SPACE, BatchFolder, read_batch, read_criterion, read_selected
from curation.errors import BatchError, ExportError, ImportLabelsError
from curation.exchange_formats.decode import decode
from curation.exchange_formats.incoming import LabelFormat, read_labels
from curation.exchange_formats.trl import preferences, write_trl
from curation.handover import record_batch
from curation.insight.agreement import Quality, label_quality
from curation.pipeline import Earlier
from curation.pool.labels import Label
from curation.pool.pair_lists import LocalPair, pairs_by_id
from curation.pool.schema import Pool
from curation.representation.space import Space
from curation.review.store import Store, open_store
from curation.settings import SpaceSettings


def import_labels(
    folder: str | Path,
    file: str | Path,
    *,
    kind: LabelFormat | str = "auto",
    who: str = "command line",
    store: Store | None = None,
) -> dict[str, Any]:
    """Read what annotators answered, decode it by id and keep it, all or nothing.

    Raises ImportLabelsError where the file cannot be read, belongs to another batch, or holds no usable answer.
    """
    batch = read_batch(folder)
    raw, found = read_labels(file, kind)
    decoded = decode(raw, batch.records, batch_id=batch.batch_id, batch_seed=batch.manifest["batch_seed"])
    if not decoded.labels:
        where = f" (first: {decoded.unknown_examples[0]})" if decoded.unknown_examples else ""
        raise ImportLabelsError(
            f"{file} holds no answer to a pair of batch {batch.batch_id}: {decoded.answers:,} answers read, "
            f"{decoded.unknown:,} of unknown pairs or responses{where}; give the export of this batch's project."
        )
    outcomes = Counter(label.outcome for label in decoded.labels)
    counts = {
        "answers": decoded.answers,
        "labels": len(decoded.labels),
        "ties": outcomes["tie"],
        "skips": outcomes["skip"],
        "cancelled": decoded.cancelled,
        "duplicates": decoded.duplicates,
        "changed": decoded.changed,
        "unknown": decoded.unknown,
        "unknown_examples": list(decoded.unknown_examples),
    }
    opened = store or open_store()
    record_batch(opened, batch, who=who)
    made = opened.record_labels(
        batch.batch_id,
        decoded.labels,
        file=Path(file).name,
        sha256=hashlib.sha256(Path(file).read_bytes()).hexdigest(),
        format=found,
        counts=counts,
        who=who,
    )
    return {"batch_id": batch.batch_id, "format": found, **made.counts, **label_report(batch, opened)}


def label_report(batch: BatchFolder, store: Store) -> dict[str, Any]:
    """Quality of a batch's labels, and the information they realised against the information planned."""
    labels = store.labels(batch.batch_id)
    quality = quality_of(labels)
    return {
        "quality": asdict(quality),
        "sentences": [*quality.sentences(), *filter(None, [_information_sentence(batch, labels)])],
        "information": realised_information(batch, labels),
    }


def quality_of(labels: Sequence[Label]) -> Quality:
    """Agreement, bias, ties and time of labels."""
    return label_quality(
        [(label.pair_id, label.annotator, label.outcome, label.left, label.seconds) for label in labels]
    )


def _counted(labels: Sequence[Label]) -> Counter[str]:
    """Labels per pair, skips left out: a tie teaches as much as a win."""
    return Counter(label.pair_id for label in labels if label.outcome != "skip")


def realised_information(batch: BatchFolder, labels: Sequence[Label]) -> dict[str, float] | None:
    """`information_of` the pairs that came back labelled."""
    return information_of(batch, _counted(labels))


def information_of(batch: BatchFolder, counts: Mapping[str, int]) -> dict[str, float] | None:
    """The criterion of the whole batch, of the pairs counted, and their ratio (1: nothing was lost).

    counts: pair_id -> labels, of which up to the copies that were planned count. None for a batch folder that does not
    hold its criterion.
    """
    from curation.design.criterion import cholesky

    stored = read_criterion(batch.path)
    if stored is None:
        return None
    import torch

    fisher, prior = (torch.as_tensor(matrix) for matrix in stored)
    selected = read_selected(batch.path)
    n = float(batch.manifest["labels"])
    got = np.array([counts.get(pair, 0) for pair in selected.pair_ids], dtype=float)
    z = torch.as_tensor(selected.vectors.copy())

    def value(weights: np.ndarray) -> float:
        S = z.T @ (z * torch.as_tensor(weights / n)[:, None]) + prior
        return float(torch.trace(torch.cholesky_solve(fisher, cholesky(S))))

    copies = selected.copies.astype(float)
    planned, realised = value(copies), value(np.minimum(got, copies))
    return {
        "planned": planned,
        "realised": realised,
        "share": planned / realised,
        "labelled_pairs": float((got > 0).sum()),
        "pairs": float(len(got)),
    }


def _information_sentence(batch: BatchFolder, labels: Sequence[Label]) -> str | None:
    told = realised_information(batch, labels)
    if told is None:
        return None
    return (
        f"{told['labelled_pairs']:,.0f} of {told['pairs']:,.0f} pairs have a label; the criterion stands at "
        f"{told['realised']:.4g} where all of them would give {told['planned']:.4g} ({told['share']:.1%} of the plan)."
    )


def export_trl(
    folder: str | Path, out: str | Path, *, force: bool = False, store: Store | None = None
) -> dict[str, Any]:
    """Write the labelled pairs of a batch as TRL preference rows. Raises ExportError where there is none."""
    batch = read_batch(folder)
    labels = (store or open_store()).labels(batch.batch_id)
    if not labels:
        raise ExportError(
            f"batch {batch.batch_id} has no labels; bring them in with `import-labels`, then export to TRL."
        )
    made = preferences(batch.records, labels)
    if not made.rows:
        gone = ", ".join(f"{count} {reason}" for reason, count in made.left_out.items() if count)
        raise ExportError(f"no pair of batch {batch.batch_id} has a winner ({gone}), so there is nothing to train on.")
    path = write_trl(made.rows, out, force=force)
    return {
        "batch_id": batch.batch_id,
        "to": "trl",
        "out": str(path),
        "also_written": [],
        "rows": len(made.rows),
        "pairs": len(made.rows),
        "left_out": made.left_out,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def earlier_batches(
    folders: Sequence[str | Path],
    pool: Pool,
    *,
    space: SpaceSettings,
    features_metadata: dict[str, str],
    store: Store | None = None,
) -> Earlier:
    """What labelled earlier batches have taught. All must share one space, of the settings asked for.

    Raises BatchError naming the batch whose space or model differs, or that has no labels.
    """
    opened = store or open_store()
    first: Space | None = None
    information: np.ndarray | None = None
    ids: list[str] = []
    labelled: set[LocalPair] = set()
    total = 0
    for folder in folders:
        batch = read_batch(folder)
        fitted = Space.load(batch.path / SPACE)
        _same_space(batch, fitted, first, space, features_metadata)
        first = first or fitted
        counts = _counted(opened.labels(batch.batch_id))
        if not counts:
            raise BatchError(
                f"batch {batch.batch_id} has no labels, so it has taught nothing; import them first, or leave it out."
            )
        if batch.batch_id in ids:
            raise BatchError(f"batch {batch.batch_id} is given twice; give every earlier batch once.")
        ids.append(batch.batch_id)
        selected = read_selected(batch.path)
        got = np.array([counts[pair] for pair in selected.pair_ids], dtype=float)
        part = selected.vectors.T @ (selected.vectors * got[:, None])
        information = part if information is None else information + part
        total += int(got.sum())
        labelled |= set(pairs_by_id(pool, set(counts)).values())
    if first is None or information is None:
        raise BatchError("no earlier batch was given; name its folder after --previous.")
    return Earlier(tuple(ids), first, information, tuple(sorted(labelled)), total)


def _same_space(
    batch: BatchFolder, fitted: Space, first: Space | None, wanted: SpaceSettings, metadata: dict[str, str]
) -> None:
    if fitted.settings != wanted:
        differ = [
            f"{name} {theirs} there, {getattr(wanted, name)} here"
            for name, theirs in asdict(fitted.settings).items()
            if getattr(wanted, name) != theirs
        ]
        raise BatchError(
            f"batch {batch.batch_id} was made in another space ({'; '.join(differ)}); labels do not carry over: repeat "
            "its settings, or start without --previous."
        )
    if first is not None and fitted.fingerprint != first.fingerprint:
        raise BatchError(
            f"batch {batch.batch_id} was made in another space than the batches before it; labels of different spaces "
            "cannot be added: make later batches with --previous, which keeps the space."
        )
    theirs = batch.manifest["features"]["metadata"]
    for name in ("model", "revision", "layer", "pooling"):
        if name in theirs and name in metadata and theirs[name] != metadata[name]:
            raise BatchError(
                f"batch {batch.batch_id} was made on features of {name} {theirs[name]}, these are of {metadata[name]}; "
                "use the same features, or start without --previous."
            )
