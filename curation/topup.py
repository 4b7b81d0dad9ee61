"""A batch goes on: rejected pairs make room, kept ones stay, and the design fills what is left.

Batches are never changed. Filling up makes a new one, of the same settings and space: pairs that stay are pinned,
rejected ones excluded, and decisions are carried over by whoever does it, with a note of whose they were.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.batch import SPACE, BatchFolder, read_batch
from curation.errors import BatchError
from curation.handover import record_batch, save_for_review
from curation.pipeline import pair_numbers, prepare, solve
from curation.pool.pair_lists import LocalPair, pairs_by_id
from curation.pool.schema import Pool
from curation.representation.space import Space
from curation.review.decisions import new_decision
from curation.review.store import Store
from curation.settings import DesignSettings, SpaceSettings

if TYPE_CHECKING:
    import numpy as np

    from curation.insight.explain import Replacement
    from curation.pipeline import Prepared, Solved

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
    folder: str | Path, pool: Pool, features: str | Path, *, who: str, store: Store, prepared: Prepared | None = None
) -> ToppedUp:
    """Solve again with approved pairs pinned and rejected ones excluded; the labels they held are spent anew.

    Undecided and flagged pairs are free to go. prepared: the pool in the batch's space, where it is at hand. Raises
    BatchError where nothing was rejected, or the pool is another one.
    """
    store.require(who, "reviewer")
    batch = read_batch(folder)
    words = {key: made.decision for key, made in store.decisions(batch.batch_id).items()}
    rejected = [key for key, word in words.items() if word == "reject"]
    if not rejected:
        raise BatchError(f"batch {batch.batch_id} has no rejected pair, so there is nothing to fill up.")
    kept = [key for key, word in words.items() if word == "approve"]
    again = _solve_again(batch, pool, features, kept, rejected, (), prepared=prepared)
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

    Nothing is written before the new batch has been solved. Raises StoreError where somebody decided the pair since
    `expected_version`, BatchError where it is not in the batch or the replacement was rejected or excluded before.
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
    again = _solve_again(batch, pool, features, kept, sorted(gone), (replacement,), prepared=prepared)
    _still(batch, store, gone)
    record_batch(store, batch, who=who)
    store.decide(batch.batch_id, pair_id, "reject", who=who, reason=REPLACED, expected_version=expected_version)
    return _saved(batch, again, who=who, store=store)


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
    if closed:
        blocked = torch.zeros(geometry.pairs, dtype=torch.bool, device=geometry.device)
        blocked[torch.as_tensor(closed, device=geometry.device)] = True
        both = blocked if feasible.blocked is None else blocked | feasible.blocked
        feasible = replace(feasible, blocked=both, memory=dict(feasible.memory))
    information = geometry.information_of(torch.as_tensor(pairs), torch.as_tensor(copies / feasible.labels))
    return best_replacement(solved.criterion, feasible, information, pairs, dropped, copies=copies)


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
    added: Sequence[LocalPair],
    *,
    prepared: Prepared | None,
) -> tuple[Solved, list[LocalPair], list[LocalPair]]:
    """The design that goes on, with its pins and exclusions; writes nothing."""
    manifest = batch.manifest
    if pool.fingerprint != manifest["pool"]["fingerprint"]:
        raise BatchError(
            f"batch {batch.batch_id} was made from pool {manifest['pool']['fingerprint']}, this one is "
            f"{pool.fingerprint}; give the pool it was made from."
        )
    if manifest.get("previous"):
        raise BatchError(f"batch {batch.batch_id} goes on from labelled batches; solve again with --previous instead.")
    settings = settings_of(manifest)
    fitted = Space.load(batch.path / SPACE)
    if prepared is None or prepared.space.fingerprint != fitted.fingerprint:
        prepared = prepare(
            pool, features, space=SpaceSettings(**{f.name: manifest["space"][f.name] for f in fields(SpaceSettings)}),
            fisher=settings.fisher, temperature=settings.temperature, per_token=settings.per_token, fitted=fitted,
        )  # fmt: skip
    if prepared.table.fingerprint != manifest["features"]["fingerprint"]:
        raise BatchError(
            f"batch {batch.batch_id} was made with features {manifest['features']['fingerprint']}, these are "
            f"{prepared.table.fingerprint}; give the features it was made with."
        )
    gone = _local(pool, rejected)
    pinned = sorted({*_local(pool, kept), *added} - set(gone))
    excluded = sorted({*excluded_pairs(batch), *gone} - set(pinned))
    labels = manifest["labels"] if settings.cost is None else settings.budget
    if settings.cost is None and len(pinned) > labels:
        raise BatchError(f"{len(pinned)} pairs stay, over the {labels:g} labels of the batch; reject more of them.")
    repeats = manifest["overlap_labels"]
    share = (repeats + 0.5) / settings.budget if repeats and settings.cost is None else repeats / settings.budget
    return solve(prepared, settings, overlap=share, pinned=pinned, excluded=excluded), pinned, excluded


def _saved(
    batch: BatchFolder, again: tuple[Solved, list[LocalPair], list[LocalPair]], *, who: str, store: Store
) -> ToppedUp:
    solved, pinned, excluded = again
    made = save_for_review(solved, pinned=pinned, excluded=excluded, store=store, who=who)
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
    kept = manifest["settings"]
    known = {f.name for f in fields(DesignSettings)}
    plain: dict[str, Any] = {
        name: float("inf") if value == "inf" else value for name, value in kept.items() if name in known
    }
    plain["quotas"] = tuple(
        (name, low, float("inf") if high in ("inf", None) else high) for name, low, high in plain.get("quotas") or ()
    )
    return replace(DesignSettings(**plain), device="auto")


def _local(pool: Pool, pair_ids: Collection[str]) -> list[LocalPair]:
    found = pairs_by_id(pool, set(pair_ids))
    return [found[key] for key in pair_ids if key in found]
