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
from curation.errors import BatchError, StoreError
from curation.pool.pair_lists import LocalPair, pairs_by_id
from curation.pool.schema import Pool
from curation.representation.space import Space
from curation.review.earlier import earlier_batches
from curation.review.register import record_batch, save_for_review
from curation.review.staying import design_labels, length_limit, with_room
from curation.review.store.decisions import new_decision
from curation.review.store.store import Store
from curation.run.prepare import prepare
from curation.run.results import Earlier
from curation.run.solve import Pinned, pair_numbers, solve
from curation.run.taught import learn_from
from curation.settings import DesignSettings, kept_design, kept_space

if TYPE_CHECKING:
    from curation.insight.explain import Replacement
    from curation.run.results import Prepared, Solved

REPLACED = "replaced by a better pair"


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
) -> ToppedUp:
    """Solve again with approved pairs pinned and rejected ones excluded; the labels they held are spent anew.

    Undecided and flagged pairs are free to go. prepared: the pool in the batch's space, where it is at hand.
    max_length_difference: instead of the batch's own limit. Raises BatchError where nothing was rejected, or the pool
    is another one.
    """
    store.require(who, "reviewer")
    batch = read_batch(folder)
    words = {key: made.decision for key, made in store.decisions(batch.batch_id).items()}
    rejected = [key for key, word in words.items() if word == "reject"]
    if not rejected:
        raise BatchError(f"batch {batch.batch_id} has no rejected pair, so there is nothing to fill up.")
    kept = [key for key, word in words.items() if word == "approve"]
    again = _solve_again(
        batch, pool, features, kept, rejected, {}, store=store, prepared=prepared,
        max_length_difference=max_length_difference,
    )  # fmt: skip
    _still(batch, store, rejected)
    return _saved(batch, again, who=who, store=store)


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

    Nothing is written before the new batch has been solved, and the rejection comes last: a run that is cut off before
    it has left the old batch as it was, and doing it again goes on where it stopped. Raises StoreError where somebody
    decided the pair since `expected_version`, BatchError where it is not in the batch or the replacement was rejected
    or excluded before.
    """
    store.require(who, "reviewer")
    batch = read_batch(folder)
    if pair_id not in {record["pair_id"] for record in batch.records}:
        raise BatchError(f"pair {pair_id} is not in batch {batch.batch_id}; choose one of its pairs.")
    words = {key: made.decision for key, made in store.decisions(batch.batch_id).items()}
    gone = {key for key, word in words.items() if word == "reject"} | {pair_id}
    if replacement in excluded_pairs(batch) or replacement in _local(pool, gone):
        raise BatchError("this replacement was rejected or excluded before; reload the page for another.")
    kept = [record["pair_id"] for record in batch.records if record["pair_id"] not in gone]
    added = {replacement: float(design_labels(batch)[pair_id])}
    again = _solve_again(batch, pool, features, kept, sorted(gone), added, store=store, prepared=prepared)
    _still(batch, store, gone)
    now = store.decisions(batch.batch_id).get(pair_id)
    if expected_version is None:
        expected_version = now.version if now is not None else 0
    if now is not None and now.version != expected_version:
        raise StoreError(
            f"pair {pair_id} was decided ({now.decision}) by {now.who} at {now.at:%Y-%m-%d %H:%M:%S} UTC, after what "
            "you were looking at; nothing was overwritten: reload the page and decide again."
        )
    record_batch(store, batch, who=who)
    made = _saved(batch, again, who=who, store=store)
    store.decide(batch.batch_id, pair_id, "reject", who=who, reason=REPLACED, expected_version=expected_version)
    return made


def excluded_pairs(batch: BatchFolder) -> set[LocalPair]:
    """Pairs that were kept out when the batch was solved: given exclusions, and what was rejected before it."""
    return {(int(x), int(i), int(j)) for x, i, j in batch.manifest["excluded"]}


def replacement_in(
    solved: Solved, batch: BatchFolder, pairs: np.ndarray, copies: np.ndarray, dropped: int
) -> Replacement | None:
    """The best pair to take for one label of pair number `dropped`, never one the batch excluded; None without any.

    pairs, copies: (m,) the batch's in the geometry of `solved`, a design of the same space and settings.
    """
    import torch

    from curation.insight.explain import best_replacement

    geometry, feasible = solved.prepared.geometry, solved.feasible
    closed = pair_numbers(geometry, sorted(excluded_pairs(batch)))
    information = geometry.information_of(
        torch.as_tensor(pairs, device=geometry.device),
        torch.as_tensor(copies / feasible.labels, dtype=torch.float64, device=geometry.device),
    )
    return best_replacement(solved.criterion, feasible, information, pairs, dropped, copies=copies, closed=closed)


def _still(batch: BatchFolder, store: Store, rejected: Collection[str]) -> None:
    """Solving takes a while: what was rejected meanwhile must not stay in the new batch."""
    now = {key for key, made in store.decisions(batch.batch_id).items() if made.decision == "reject"}
    late = now - set(rejected)
    if late:
        raise BatchError(f"{len(late)} pairs were rejected meanwhile, so nothing was written; do it again.")


def _solve_again(
    batch: BatchFolder,
    pool: Pool,
    features: str | Path,
    kept: Sequence[str],
    rejected: Sequence[str],
    added: Mapping[LocalPair, float],
    *,
    store: Store,
    prepared: Prepared | None,
    max_length_difference: float | None = None,
) -> tuple[Solved, Pinned, list[LocalPair]]:
    """The design that goes on, with its pins and exclusions; writes nothing."""
    manifest = batch.manifest
    if pool.fingerprint != manifest["pool"]["fingerprint"]:
        raise BatchError(
            f"batch {batch.batch_id} was made from pool {manifest['pool']['fingerprint']}, this one is "
            f"{pool.fingerprint}; give the pool it was made from."
        )
    settings = settings_of(manifest)
    fitted = Space.load(batch.path / SPACE)
    if prepared is None or prepared.space.fingerprint != fitted.fingerprint:
        prepared = prepare(
            pool, features, space=kept_space(manifest["space"]),
            fisher=settings.fisher, temperature=settings.temperature, per_token=settings.per_token, fitted=fitted,
        )  # fmt: skip
    if prepared.table.fingerprint != manifest["features"]["fingerprint"]:
        raise BatchError(
            f"batch {batch.batch_id} was made with features {manifest['features']['fingerprint']}, these are "
            f"{prepared.table.fingerprint}; give the features it was made with."
        )
    gone = _local(pool, rejected)
    counts, found = design_labels(batch), pairs_by_id(pool, set(kept))
    staying = {found[key]: float(counts[key]) for key in kept if key in found}
    held = {pair: count for pair, count in sorted({**added, **staying}.items()) if pair not in set(gone)}
    excluded = sorted({*excluded_pairs(batch), *gone} - set(held))
    earlier = _earlier(batch, prepared, settings, store)
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
    return solved, pinned, excluded


def _earlier(batch: BatchFolder, prepared: Prepared, settings: DesignSettings, store: Store) -> Earlier | None:
    """The labelled batches that this one goes on from, with what their labels say where it was listened to.

    The settings stay those of the batch, which the labels have changed already. Raises BatchError where one is gone.
    """
    previous = batch.manifest.get("previous")
    if not previous:
        return None
    folders = {one.batch_id: one.folder for one in store.batches(batch.manifest["pool"]["fingerprint"])}
    gone = [key for key in previous["batches"] if key not in folders]
    if gone:
        raise BatchError(
            f"batch {batch.batch_id} goes on from batch {gone[0]}, which this workspace does not know; bring it in "
            "(`import-labels`), or solve again with --previous."
        )
    earlier = earlier_batches(
        [folders[key] for key in previous["batches"]], prepared.pool, space=prepared.space.settings,
        features_metadata=prepared.table.metadata, store=store,
    )  # fmt: skip
    if batch.manifest.get("learnt") is None:
        return earlier
    return learn_from(earlier, prepared, settings, keep=("preset", *(field.name for field in fields(DesignSettings))))


def _saved(batch: BatchFolder, again: tuple[Solved, Pinned, list[LocalPair]], *, who: str, store: Store) -> ToppedUp:
    solved, pinned, excluded = again
    made = save_for_review(
        solved, pinned=pinned, excluded=excluded, store=store, who=who, guidelines=guidelines_of(batch)
    )
    carried = carry_over(batch, made, store, who=who)
    before = {record["pair_id"] for record in batch.records}
    stayed = sum(record["pair_id"] in before for record in made.records)
    return ToppedUp(made, kept=stayed, new=len(made.records) - stayed, carried=carried)


def carry_over(old: BatchFolder, new: BatchFolder, store: Store, *, who: str) -> int:
    """Approvals and flags of pairs that both batches hold, written by `who`; what was decided there stays.

    Undo passes them by: they are decided anew where they are wrong.
    """
    present = {record["pair_id"] for record in new.records}
    known = store.decisions(new.batch_id)
    taken = [
        new_decision(key, made.decision, made.reason, f"{made.decision} by {made.who} in batch {old.batch_id}")
        for key, made in store.decisions(old.batch_id).items()
        if key in present and key not in known and made.decision in ("approve", "flag")
    ]
    if taken:
        store.record_decisions(new.batch_id, taken, who=who, carried=True)
    return len(taken)


def settings_of(manifest: dict[str, Any]) -> DesignSettings:
    """The design settings a batch was made with."""
    return replace(kept_design(manifest["settings"]), device="auto")


def _local(pool: Pool, pair_ids: Collection[str]) -> list[LocalPair]:
    found = pairs_by_id(pool, set(pair_ids))
    return [found[key] for key in pair_ids if key in found]
