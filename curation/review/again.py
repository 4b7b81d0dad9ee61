"""Buying in two parts: a pilot to learn from, and the design that goes on from every labelled batch of a pool."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from curation.batch.folder import MANIFEST, SPACE, BatchFolder, read_manifest, read_selected
from curation.errors import BatchError
from curation.insight.learning_result import Learnt
from curation.insight.learning_rule import Bets, Next
from curation.pool.labels import in_force
from curation.pool.pair_lists import LocalPair, pairs_by_id
from curation.pool.schema import Pool
from curation.representation.features_file import FeatureTable, read_features
from curation.representation.space import Space
from curation.review.earlier import earlier_batches, same_space
from curation.review.register import save_for_review
from curation.review.store.store import Store
from curation.run.prepare import prepare
from curation.run.results import Earlier, Prepared
from curation.run.solve import solve
from curation.run.taught import learn_from
from curation.settings import DesignSettings, SpaceSettings, kept_space, preparing

PILOT_SHARE = 1 / 3  # of the budget, for a first look


@dataclass(frozen=True)
class Labelled:
    """Labelled batches of a pool that share the space of the newest one. left_out: labelled batches of other spaces.

    stamp: changes with every batch and label. space: settings of their space. unspent: what pilots among them left of
    their budgets, 0 without one.
    """

    folders: tuple[Path, ...]
    batch_ids: tuple[str, ...]
    stamp: str
    space: SpaceSettings
    left_out: int
    unspent: float


@dataclass(frozen=True)
class Lesson:
    """What the labels of a pool say, the pool in their space, and what the next design makes of it."""

    prepared: Prepared
    earlier: Earlier
    learnt: Learnt
    next: Next


def labelled_batches(store: Store, pool: Pool, features_fingerprint: str) -> Labelled | None:
    """Batches of this pool and these features that have answers, the newest one's space deciding; None without any."""
    found: list[tuple[Path, dict[str, Any], str]] = []
    for stored in store.batches(pool.fingerprint):
        folder = Path(stored.folder)
        if stored.features_fingerprint != features_fingerprint or not (folder / MANIFEST).is_file():
            continue
        answers = [(a.pair_id, a.outcome) for a in in_force(store.labels(stored.batch_id)) if a.outcome != "skip"]
        if answers:
            manifest = read_manifest(folder)
            found.append(
                (folder, manifest, f"{stored.batch_id}:{len(answers)}:{zlib.crc32(repr(answers).encode()):08x}")
            )
    if not found:
        return None
    space = found[0][1]["space"]
    same = [part for part in found if part[1]["space"]["fingerprint"] == space["fingerprint"]]
    whole = sum(float(manifest["pilot"]["of"]) for _, manifest, _ in same if manifest.get("pilot"))
    spent = sum(float(manifest["settings"]["budget"]) for _, manifest, _ in same)
    return Labelled(
        folders=tuple(folder for folder, _, _ in same),
        batch_ids=tuple(str(manifest["batch_id"]) for _, manifest, _ in same),
        stamp="|".join(stamp for _, _, stamp in same),
        space=kept_space(space),
        left_out=len(found) - len(same),
        unspent=max(whole - spent, 0.0),
    )


def lesson(
    labelled: Labelled,
    pool: Pool,
    features: str | Path | FeatureTable,
    settings: DesignSettings,
    *,
    store: Store,
    bets: Bets | None = None,
) -> Lesson:
    """What those batches say, and the pool in their space. Raises BatchError or LearningError."""
    table = features
    if isinstance(table, str | Path):
        table = read_features(table, pool.ids(), pool_fingerprint=pool.fingerprint)
    earlier = earlier_batches(
        labelled.folders, pool, space=labelled.space, features_metadata=table.metadata, store=store
    )
    prepared = prepare(
        pool, table, space=labelled.space, device=settings.device, fitted=earlier.space, **preparing(settings)
    )
    earlier = learn_from(earlier, prepared, settings, bets=bets)
    if earlier.taught is None:
        raise BatchError("the labels of this pool name no winner and no tie, so they teach nothing; import others.")
    return Lesson(prepared, earlier, earlier.taught.learnt, earlier.taught.next)


def design_again(
    told: Lesson,
    settings: DesignSettings,
    *,
    overlap: float = 0.0,
    pinned: Sequence[LocalPair] = (),
    excluded: Sequence[LocalPair] = (),
    store: Store,
    who: str,
) -> BatchFolder:
    """The batch that goes on from the labels: none of the labelled pairs is bought again. Kept in the workspace.

    Pins that have their label already are left out. Raises DesignError where the budget cannot be spent.
    """
    store.require(who, "reviewer")
    bought = set(told.earlier.labelled)
    wanted = [pair for pair in pinned if pair not in bought]
    solved = solve(
        told.prepared, settings, overlap=overlap, pinned=wanted, excluded=excluded, earlier=told.earlier
    )  # fmt: skip
    return save_for_review(solved, pinned=wanted, excluded=excluded, store=store, who=who)


def design_meanwhile(
    batch: BatchFolder,
    pool: Pool,
    table: FeatureTable,
    settings: DesignSettings,
    *,
    overlap: float = 0.0,
    pinned: Sequence[LocalPair] = (),
    excluded: Sequence[LocalPair] = (),
    store: Store,
    who: str,
) -> BatchFolder:
    """The batch that goes on from one whose labels are still out: its approved pairs count as if they were back.

    None of them is bought again, and what they will teach is taken for taught; labelled batches of the same space count
    beside it. Kept in the workspace. Raises BatchError where nothing is approved or labels are back already,
    DesignError where the budget cannot be spent.
    """
    store.require(who, "reviewer")
    earlier = _expected(batch, pool, table, store)
    prepared = prepare(
        pool, table, space=earlier.space.settings, device=settings.device, fitted=earlier.space, **preparing(settings)
    )
    earlier = learn_from(earlier, prepared, settings)
    bought = set(earlier.labelled)
    wanted = [pair for pair in pinned if pair not in bought]
    solved = solve(prepared, settings, overlap=overlap, pinned=wanted, excluded=excluded, earlier=earlier)
    return save_for_review(solved, pinned=wanted, excluded=excluded, store=store, who=who)


def _expected(batch: BatchFolder, pool: Pool, table: FeatureTable, store: Store) -> Earlier:
    """Earlier batches with this one as if all its approved pairs had their labels."""
    held = store.decisions(batch.batch_id)
    approved = {key for key, made in held.items() if made.decision == "approve"}
    if not approved:
        raise BatchError(f"no pair of batch {batch.batch_id} is approved, so there is nothing to go on from.")
    selected = read_selected(batch.path)
    copies = selected.copies * np.array([key in approved for key in selected.pair_ids])
    labelled = labelled_batches(store, pool, table.fingerprint)
    fitted = Space.load(batch.path / SPACE)
    same_space(batch, fitted, None, kept_space(batch.manifest["space"]), table.metadata)
    before = None
    if labelled is not None and batch.batch_id in labelled.batch_ids:
        raise BatchError(f"labels of batch {batch.batch_id} are back already; go on from what they say.")
    if labelled is not None:
        found = earlier_batches(
            labelled.folders, pool, space=labelled.space, features_metadata=table.metadata, store=store
        )
        before = found if found.space.fingerprint == fitted.fingerprint else None
    information = selected.vectors.T @ (selected.vectors * copies[:, None])
    pairs = set(pairs_by_id(pool, approved).values())
    if before is None:
        return Earlier((batch.batch_id,), fitted, information, tuple(sorted(pairs)), int(copies.sum()))
    return replace(
        before,
        batch_ids=(*before.batch_ids, batch.batch_id),
        information=before.information + information,
        labelled=tuple(sorted({*before.labelled, *pairs})),
        labels=before.labels + int(copies.sum()),
    )


def plan_pilot(
    prepared: Prepared,
    settings: DesignSettings,
    labels: int,
    *,
    overlap: float = 0.0,
    pinned: Sequence[LocalPair] = (),
    excluded: Sequence[LocalPair] = (),
    store: Store,
    who: str,
) -> BatchFolder:
    """A first batch of `labels` out of the settings' budget, marked as a pilot. Kept in the workspace.

    Raises DesignError where nothing of the budget would be left.
    """
    store.require(who, "reviewer")
    solved = solve(
        prepared, replace(settings, budget=labels), overlap=overlap, pinned=pinned, excluded=excluded,
        pilot_of=settings.budget,
    )  # fmt: skip
    return save_for_review(solved, pinned=pinned, excluded=excluded, store=store, who=who)


def pilot_labels(budget: float) -> int:
    """A third of a budget, at least one label."""
    return max(1, round(budget * PILOT_SHARE))
