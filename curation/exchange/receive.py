"""From annotators back: import labels, judge them, hand them to training, start the next batch from them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from curation.batch.folder import (
    SPACE,
    BatchFolder,
    SelectedPairs,
    check_selected,
    read_batch,
    read_information,
    read_selected,
)
from curation.errors import BatchError, ExportError, ImportLabelsError
from curation.exchange.cells import UNNAMED
from curation.exchange.decode import Decoded, decode
from curation.exchange.hub import check_repository, push
from curation.exchange.incoming import LabelFormat, read_answers
from curation.exchange.people import (
    annotations_of,
    check_unnamed,
    further_of,
    newer_only,
    same_people,
    with_name,
)
from curation.exchange.training_files import write_training
from curation.exchange.trl import preferences
from curation.insight.agreement import Quality, label_quality
from curation.insight.judged import second_raters
from curation.insight.learning import Outcomes, joined
from curation.pool.labels import Label, in_force, people_only
from curation.pool.pair_lists import LocalPair, pairs_by_id
from curation.pool.schema import Pool
from curation.representation.space import Space
from curation.review.register import check_recorded, record_batch, seeds_of
from curation.review.settling import disputes
from curation.review.store.roles import COMMAND_LINE
from curation.review.store.store import Store, open_store
from curation.run.solve import Earlier
from curation.settings import SpaceSettings


def import_labels(
    folder: str | Path,
    file: str | Path,
    *,
    kind: LabelFormat | str = "auto",
    annotator: str | None = None,
    who: str = "command line",
    store: Store | None = None,
) -> dict[str, Any]:
    """Read what annotators answered, decode it by id and keep it, all or nothing.

    annotator: whose the answers are that name nobody. Raises ImportLabelsError where the file cannot be read, belongs
    to another batch, holds no usable answer, or would replace answers of somebody unnamed by others.
    """
    opened = store or open_store()
    opened.require(who, "reviewer")
    batch = read_batch(folder)
    earlier = [made.counts for made in opened.imports(batch.batch_id)]
    found = read_answers(file, kind)
    raw = same_people(with_name(found.labels, annotator), earlier)
    decoded = decode(raw, batch.records, batch_id=batch.batch_id, batch_seed=seeds_of(opened, batch))
    if not decoded.labels:
        raise ImportLabelsError(_nothing(file, batch.batch_id, decoded, found.told))
    labels = newer_only(decoded, earlier)
    check_unnamed(labels, opened.labels(batch.batch_id))
    beside = {"annotations": annotations_of(decoded), "further": further_of(decoded)}
    told = dict(found.told)
    if lost := sum(bool(answer.further) for answer in raw) - len(beside["further"]):
        told["remarks beside answers that are no label, left out"] = lost
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
        "asked": decoded.asked,
        "graded": sum(label.graded for label in decoded.labels),
        "both_bad": sum(label.both_bad for label in decoded.labels),
        "unclear": decoded.unclear,
        "unclear_examples": list(decoded.unclear_examples),
        "without_strength": decoded.without_strength,
        "without_strength_examples": list(decoded.without_strength_examples),
        "not_answered": decoded.not_answered,
        "not_answered_examples": list(decoded.not_answered_examples),
        "older": len(decoded.labels) - len(labels),
        "unnamed": sum(label.annotator == UNNAMED for label in decoded.labels),
        "told": told,
    }
    record_batch(opened, batch, who=who)
    made = opened.record_labels(
        batch.batch_id,
        labels,
        file=Path(file).name,
        sha256=hashlib.sha256(Path(file).read_bytes()).hexdigest(),
        format=found.format,
        counts={**counts, **beside},
        who=who,
    )
    result = {name: value for name, value in made.counts.items() if name not in beside}
    result["further"] = dict(Counter(name for *_, texts in beside["further"] for name in texts))
    return {
        "batch_id": batch.batch_id,
        "format": found.format,
        **result,
        "notes": import_notes(result),
        **label_report(batch, opened),
    }


def _nothing(file: str | Path, batch_id: str, decoded: Decoded, told: Mapping[str, int]) -> str:
    """Why a file holds no answer that can be kept."""
    first = (*decoded.unknown_examples, *decoded.unclear_examples, *decoded.not_answered_examples)[:1]
    where = f" (first: {first[0]})" if first else ""
    others = "".join(f", {count:,} {what}" for what, count in told.items())
    return (
        f"{file} holds no answer to a pair of batch {batch_id}: {decoded.answers:,} answers read, "
        f"{decoded.unknown:,} of unknown pairs or responses, {decoded.unclear:,} that say no side or contradict "
        f"themselves, {decoded.not_answered:,} not answered{others}{where}; give the export of this batch's project."
    )


def import_notes(counts: Mapping[str, Any]) -> list[str]:
    """What else there is to say of an import, a sentence a kind: whatever was in the file and is no label."""
    notes = []
    if counts["not_answered"]:
        first = counts["not_answered_examples"][0]
        notes.append(f"{counts['not_answered']:,} not answered, which is no skip (first: {first})")
    if counts["older"]:
        notes.append(f"{counts['older']:,} older than the answers that are kept, which stay")
    if counts["unnamed"]:
        notes.append(
            f"{counts['unnamed']:,} labels name no annotator and count as one person's; say whose they are with "
            "--annotator NAME or in a column `annotator`"
        )
    notes += [f"{count:,} {what}" for what, count in counts["told"].items()]
    if counts["further"]:
        named = ", ".join(f"{name} ({count:,})" for name, count in counts["further"].items())
        notes.append(f"kept with the import, and read by nothing here: {named}")
    return notes


def label_report(batch: BatchFolder, store: Store) -> dict[str, Any]:
    """Quality of a batch's labels, the information they realised against the information planned, conflicts, and models
    beside people.

    conflicts: pairs on which people took different sides, with how each is settled, open ones (open_conflicts) first;
    agreed_since: settled pairs on which people's later answers agree.
    """
    labels = store.labels(batch.batch_id)
    people, counting = people_only(labels), in_force(labels)
    quality, told = quality_of(people), disputes(labels, store.settlements(batch.batch_id))
    return {
        "quality": asdict(quality),
        "sentences": [*quality.sentences(), *filter(None, [_information_sentence(batch, counting)])],
        "information": realised_information(batch, counting),
        "conflicts": [one for one in told if not one["agreed"]],
        "open_conflicts": sum(one["settled"] is None for one in told),
        "agreed_since": [one for one in told if one["agreed"]],
        "second_raters": [{**asdict(rater), "sentence": rater.sentence()} for rater in second_raters(labels)],
    }


def quality_of(labels: Sequence[Label]) -> Quality:
    """Agreement, bias, ties, strength and time of labels."""
    return label_quality(labels)


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

    stored = read_information(batch)
    if stored is None:
        return None
    import torch

    fisher, prior, selected = torch.as_tensor(stored[0]), torch.as_tensor(stored[1]), stored[2]
    n = float(batch.manifest["labels"])
    got = np.array([counts.get(pair, 0) for pair in selected.pair_ids], dtype=float)
    z = torch.as_tensor(selected.sensitivities.copy())

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
    outcomes: list[Outcomes] = []
    numbers = {prompt.prompt_id: number for number, prompt in enumerate(pool.prompts)}
    total = 0
    for folder in folders:
        batch = read_batch(folder)
        fitted = Space.load(batch.path / SPACE)
        _same_space(batch, fitted, first, space, features_metadata)
        first = first or fitted
        labels = in_force(opened.labels(batch.batch_id))
        counts = _counted(labels)
        if not counts:
            raise BatchError(
                f"batch {batch.batch_id} has no labels, so it has taught nothing; import them first, or leave it out."
            )
        if batch.batch_id in ids:
            raise BatchError(f"batch {batch.batch_id} is given twice; give every earlier batch once.")
        ids.append(batch.batch_id)
        selected = read_selected(batch.path)
        check_selected(batch, selected)
        if selected.vectors.shape[1] != fitted.dim:
            raise BatchError(
                f"batch {batch.batch_id} has vectors of {selected.vectors.shape[1]} numbers in a space of "
                f"{fitted.dim}; the folder was changed: solve again."
            )
        got = np.array([counts[pair] for pair in selected.pair_ids], dtype=float)
        part = selected.vectors.T @ (selected.vectors * got[:, None])
        information = part if information is None else information + part
        outcomes.append(_outcomes(batch, selected, labels, numbers))
        total += int(got.sum())
        labelled |= set(pairs_by_id(pool, set(counts)).values())
    if first is None or information is None:
        raise BatchError("no earlier batch was given; name its folder after --previous.")
    return Earlier(tuple(ids), first, information, tuple(sorted(labelled)), total, joined(outcomes))


WON = {"a": 1.0, "b": 0.0, "tie": 0.5}  # of the first response; a tie is half a win, a skip is no label


def _outcomes(
    batch: BatchFolder, selected: SelectedPairs, labels: Sequence[Label], numbers: dict[str, int]
) -> Outcomes:
    """Who won, pair by pair. numbers: of prompts by their ids; prompts that are in no pool any more get new ones."""
    won: defaultdict[str, float] = defaultdict(float)
    trials: Counter[str] = Counter()
    for label in labels:
        if label.outcome in WON:
            won[label.pair_id] += WON[label.outcome]
            trials[label.pair_id] += 1
    by_id = {record["pair_id"]: record for record in batch.records}
    records = [by_id[key] for key in selected.pair_ids]
    lengths = np.array([[len(r["response_a"]), len(r["response_b"])] for r in records], dtype=float).reshape(-1, 2)
    for record in records:
        numbers.setdefault(record["prompt_id"], len(numbers))
    return Outcomes(
        vectors=selected.vectors,
        wins=np.array([won[key] for key in selected.pair_ids], dtype=float),
        trials=np.array([trials[key] for key in selected.pair_ids], dtype=float),
        groups=np.array([numbers[record["prompt_id"]] for record in records], dtype=np.int64),
        length=np.log1p(lengths[:, 0]) - np.log1p(lengths[:, 1]),
    )


def _options(space: SpaceSettings) -> str:
    """The options that ask for a space."""
    return (
        f"--dim {space.dim} --{'' if space.normalize else 'no-'}normalize --pca {space.pca} "
        f"--{'' if space.length else 'no-'}length"
    )


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
            f"its settings ({_options(fitted.settings)}), or start without --previous."
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
