"""What labelled earlier batches have taught the next one: information and outcomes, in one space."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from curation.batch.folder import (
    SPACE,
    BatchFolder,
    SelectedPairs,
    check_selected,
    read_batch,
    read_selected,
)
from curation.batch.information import _counted
from curation.errors import BatchError
from curation.insight.learning import Outcomes, joined
from curation.pool.labels import Label, in_force
from curation.pool.pair_lists import LocalPair, pairs_by_id
from curation.pool.schema import Pool
from curation.representation.space import Space
from curation.review.store.store import Store, open_store
from curation.run.results import Earlier
from curation.settings import SpaceSettings


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
    labels_of = (store or open_store()).labels
    return earlier_of(folders, labels_of, pool, space=space, features_metadata=features_metadata)


def earlier_of(
    folders: Sequence[str | Path],
    labels_of: Callable[[str], Sequence[Label]],
    pool: Pool,
    *,
    space: SpaceSettings,
    features_metadata: dict[str, str],
) -> Earlier:
    """`earlier_batches` of labels that were read before. labels_of: a batch's by its id, in the order of import."""
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
        same_space(batch, fitted, first, space, features_metadata)
        first = first or fitted
        labels = in_force(labels_of(batch.batch_id))
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


def same_space(
    batch: BatchFolder, fitted: Space, first: Space | None, wanted: SpaceSettings, metadata: dict[str, str]
) -> None:
    """Raise BatchError where a batch was made in another space than the first one's or the one wanted, or on features
    of another model."""
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
    chat = any(each.get("template", "").startswith("chat template") for each in (theirs, metadata))
    if chat and any(theirs.get(name) != metadata.get(name) for name in ("end_of_turn", "before_answer")):
        raise BatchError(
            f"batch {batch.batch_id} was made on features that read answers otherwise ("
            f"{theirs.get('template', 'unsaid')} there, {metadata.get('template', 'unsaid')} here); use the same "
            "features, or start without --previous."
        )
