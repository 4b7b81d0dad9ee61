"""A batch goes on: rejected pairs make room, kept ones stay, and the design fills what is left.

Batches are never changed. Filling up makes a new one, of the same settings and space: pairs that stay are pinned,
rejected ones excluded, and decisions are carried over by whoever does it, with a note of whose they were.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.batch.folder import SPACE, BatchFolder, read_batch
from curation.batch.guidelines import guidelines_of
from curation.errors import BatchError
from curation.pool.pair_lists import LocalPair, pairs_by_id
from curation.pool.schema import Pool
from curation.representation.space import Space
from curation.review.earlier import earlier_of
from curation.review.register import new_batch, workspace_batch
from curation.review.staying import design_labels, length_limit, with_room
from curation.review.store.decisions import NewDecision
from curation.review.store.going_on import Standing
from curation.review.store.store import Store
from curation.run.prepare import prepare
from curation.run.results import Earlier
from curation.run.solve import Pinned, pair_numbers, solve
from curation.run.taught import learn_from
from curation.settings import DesignSettings, kept_design, kept_space, preparing

if TYPE_CHECKING:
    from curation.insight.explain import Replacement
    from curation.run.results import Prepared, Solved

REPLACED = "replaced by a better pair"


@dataclass(frozen=True)
class NextOne:
    """The design of the next batch, with the pins and exclusions it was solved with."""

    solved: Solved
    pinned: Pinned
    excluded: list[LocalPair]


@dataclass(frozen=True)
class ToppedUp:
    """The new batch. kept: pairs that stayed; new: pairs nobody has seen; carried: decisions taken over."""

    batch: BatchFolder
    kept: int
    new: int
    carried: int

    def sentence(self) -> str:
        """For people."""
        return (
            f"Batch {self.batch.batch_id}: {self.kept:,} pairs stayed, {self.new:,} are new, "
            f"{self.carried:,} decisions were carried over."
        )


def top_up(
    folder: str | Path,
    pool: Pool,
    features: str | Path,
    *,
    who: str,
    store: Store,
    prepared: Prepared | None = None,
    max_length_difference: float | None = None,
    closed: Collection[LocalPair] = (),
    others_stay: bool = False,
) -> ToppedUp:
    """Solve again with approved pairs pinned and rejected ones excluded; the labels they held are spent anew.

    Undecided and flagged pairs are free to go, unless others_stay. prepared: the pool in the batch's space, where it is
    at hand. max_length_difference: instead of the batch's own limit. closed: pairs that are not to come in, nor stay
    unless approved. Raises BatchError where nothing was rejected, or the pool is another one.
    """
    who = store.require(who, "reviewer")
    batch, standing = _read(folder, store)
    rejected = standing.said("reject")
    if not rejected:
        raise BatchError(f"batch {batch.batch_id} has no rejected pair, so there is nothing to fill up.")
    kept = standing.said("approve")
    if others_stay:
        approved, shut = set(kept), set(closed)
        every = pairs_by_id(pool, {record["pair_id"] for record in batch.records} - set(rejected))
        kept = [key for key, pair in every.items() if key in approved or pair not in shut]
    next_one = _solve_again(
        batch, pool, features, kept, rejected, {}, standing=standing, prepared=prepared,
        max_length_difference=max_length_difference, closed=closed,
    )  # fmt: skip
    return _go_on(batch, next_one, rejected, who=who, store=store)


def reject_and_replace(
    folder: str | Path,
    pool: Pool,
    features: str | Path,
    pair_id: str,
    replacement: LocalPair,
    *,
    who: str,
    store: Store,
    expected_version: int | None = None,
    prepared: Prepared | None = None,
) -> ToppedUp:
    """Reject one pair and go on with a batch in which `replacement` has its place; every other pair stays.

    Nothing is written before the new batch has been solved, and then all of it or nothing. Raises StoreError where
    somebody decided the pair since `expected_version`, BatchError where it is not in the batch or the replacement was
    rejected or excluded before.
    """
    who = store.require(who, "reviewer")
    batch, standing = _read(folder, store)
    if pair_id not in {record["pair_id"] for record in batch.records}:
        raise BatchError(f"pair {pair_id} is not in batch {batch.batch_id}; choose one of its pairs.")
    gone = {*standing.said("reject"), pair_id}
    if replacement in excluded_pairs(batch) or replacement in _local(pool, gone):
        raise BatchError("this replacement was rejected or excluded before; reload the page for another.")
    kept = [record["pair_id"] for record in batch.records if record["pair_id"] not in gone]
    added = {replacement: float(design_labels(batch)[pair_id])}
    next_one = _solve_again(batch, pool, features, kept, sorted(gone), added, standing=standing, prepared=prepared)
    rejection = NewDecision(pair_id, "reject", REPLACED, version=expected_version)
    return _go_on(batch, next_one, gone, who=who, store=store, rejection=rejection)


def excluded_pairs(batch: BatchFolder) -> set[LocalPair]:
    """Pairs that were kept out when the batch was solved: given exclusions, and what was rejected before it."""
    return {(int(x), int(i), int(j)) for x, i, j in batch.manifest["excluded"]}


def replacement_in(
    solved: Solved,
    batch: BatchFolder,
    pairs: np.ndarray,
    copies: np.ndarray,
    dropped: int,
    *,
    closed: Collection[LocalPair] = (),
) -> Replacement | None:
    """The best pair to take for one label of pair number `dropped`, never one the batch excluded; None without any.

    pairs, copies: (m,) the batch's in the geometry of `solved`, a design of the same space and settings. closed: pairs
    that are not to come in either.
    """
    import torch

    from curation.insight.explain import best_replacement

    geometry, feasible = solved.prepared.geometry, solved.feasible
    out = pair_numbers(geometry, sorted({*excluded_pairs(batch), *closed}))
    information = geometry.information_of(
        torch.as_tensor(pairs, device=geometry.device),
        torch.as_tensor(copies / feasible.labels, dtype=torch.float64, device=geometry.device),
    )
    return best_replacement(solved.criterion, feasible, information, pairs, dropped, copies=copies, closed=out)


def _read(folder: str | Path, store: Store) -> tuple[BatchFolder, Standing]:
    """The batch that is to go on, and all that the store says of it."""
    batch = read_batch(folder)
    previous = (batch.manifest.get("previous") or {}).get("batches", ())
    return batch, store.standing(batch.batch_id, batch.manifest["pool"]["fingerprint"], previous)


def _solve_again(
    batch: BatchFolder,
    pool: Pool,
    features: str | Path,
    kept: Sequence[str],
    rejected: Sequence[str],
    added: Mapping[LocalPair, float],
    *,
    standing: Standing,
    prepared: Prepared | None,
    max_length_difference: float | None = None,
    closed: Collection[LocalPair] = (),
) -> NextOne:
    """The design that goes on; knows no store and writes nothing."""
    manifest = batch.manifest
    if pool.fingerprint != manifest["pool"]["fingerprint"]:
        raise BatchError(
            f"batch {batch.batch_id} was made from pool {manifest['pool']['fingerprint']}, this one is "
            f"{pool.fingerprint}; give the pool it was made from."
        )
    settings = settings_of(manifest)
    fitted = Space.load(batch.path / SPACE)
    if prepared is None or prepared.space.fingerprint != fitted.fingerprint:
        prepared = prepare(pool, features, space=kept_space(manifest["space"]), fitted=fitted, **preparing(settings))
    if prepared.table.fingerprint != manifest["features"]["fingerprint"]:
        raise BatchError(
            f"batch {batch.batch_id} was made with features {manifest['features']['fingerprint']}, these are "
            f"{prepared.table.fingerprint}; give the features it was made with."
        )
    gone = _local(pool, rejected)
    counts, found = design_labels(batch), pairs_by_id(pool, set(kept))
    staying = {found[key]: float(counts[key]) for key in kept if key in found}
    held = {pair: count for pair, count in sorted({**added, **staying}.items()) if pair not in set(gone)}
    excluded = sorted({*excluded_pairs(batch), *gone, *closed} - set(held))
    earlier = _earlier(batch, prepared, settings, standing)
    if earlier is not None:
        bought = set(earlier.labelled)
        if bought & set(added):
            raise BatchError("this replacement has its labels from an earlier batch; reload the page for another.")
        earlier = replace(earlier, labelled=tuple(sorted(bought - set(held))))
    if max_length_difference is not None:
        settings = replace(settings, max_length_difference=max_length_difference)
    elif settings.max_length_difference is not None:
        settings = replace(settings, max_length_difference=length_limit(batch, pool, prepared, settings))
    labels = manifest["labels"] if settings.cost is None else settings.budget
    if settings.cost is None and sum(held.values()) > labels:
        raise BatchError(
            f"{len(held)} pairs stay with {sum(held.values()):g} labels, over the {labels:g} labels of the batch; "
            "reject more of them."
        )
    repeats = manifest["overlap_labels"]
    share = (repeats + 0.5) / settings.budget if repeats and settings.cost is None else repeats / settings.budget
    settings = with_room(settings, prepared, held, share)
    pinned: Pinned = held
    if all(count == settings.max_labels_per_pair for count in held.values()):
        pinned = list(held)  # as pins always were, ids included
    pilot = (manifest.get("pilot") or {}).get("of")
    solved = solve(prepared, settings, overlap=share, pinned=pinned, excluded=excluded, earlier=earlier, pilot_of=pilot)
    return NextOne(solved, pinned, excluded)


def _earlier(batch: BatchFolder, prepared: Prepared, settings: DesignSettings, standing: Standing) -> Earlier | None:
    """The labelled batches that this one goes on from, with what their labels say where it was listened to.

    The settings stay those of the batch, which the labels have changed already. Raises BatchError where one is gone.
    """
    previous = batch.manifest.get("previous")
    if not previous:
        return None
    gone = [key for key in previous["batches"] if key not in standing.folders]
    if gone:
        raise BatchError(
            f"batch {batch.batch_id} goes on from batch {gone[0]}, which this workspace does not know; bring it in "
            "(`import-labels`), or solve again with --previous."
        )
    earlier = earlier_of(
        [standing.folders[key] for key in previous["batches"]], lambda key: standing.labels.get(key, []), prepared.pool,
        space=prepared.space.settings, features_metadata=prepared.table.metadata,
    )  # fmt: skip
    if batch.manifest.get("learnt") is None:
        return earlier
    return learn_from(earlier, prepared, settings, keep=("preset", *(field.name for field in fields(DesignSettings))))


def _go_on(
    batch: BatchFolder,
    next_one: NextOne,
    gone: Collection[str],
    *,
    who: str,
    store: Store,
    rejection: NewDecision | None = None,
) -> ToppedUp:
    """The folder of the next batch and the one act that records it; a run that is cut off leaves neither or both.

    Cut off between the two it leaves a whole folder that nobody knows of; the next try takes it.
    """
    unrecorded = None if rejection is None else new_batch(batch)
    with workspace_batch(
        next_one.solved, next_one.pinned, next_one.excluded, author=who, guidelines=guidelines_of(batch)
    ) as (made, publish):  # fmt: skip
        present = {record["pair_id"] for record in made.records}
        carried = store.go_on(
            batch.batch_id, new_batch(made), present=present, gone=gone, publish=publish, who=who, rejection=rejection,
            unrecorded=unrecorded,
        )  # fmt: skip
    stayed = len(present & {record["pair_id"] for record in batch.records})
    return ToppedUp(made, kept=stayed, new=len(present) - stayed, carried=carried)


def settings_of(manifest: dict[str, Any]) -> DesignSettings:
    """The design settings a batch was made with."""
    return replace(kept_design(manifest["settings"]), device="auto")


def _local(pool: Pool, pair_ids: Collection[str]) -> list[LocalPair]:
    found = pairs_by_id(pool, set(pair_ids))
    return [found[key] for key in pair_ids if key in found]
