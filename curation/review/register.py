"""A solved batch becomes one that people review: saved, recorded with what it was, decided on from files."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation.batch.folder import MANIFEST, RECORDS, BatchFolder, read_batch
from curation.batch.records import batch_contents, batch_seed, check_ids, solved_identity
from curation.batch.writing import staged_batch, write_batch
from curation.errors import BatchError, StoreError
from curation.pool.pair_lists import LocalPair
from curation.pool.schema import canonical_json
from curation.review.store.batches import NewBatch
from curation.review.store.binding import Binding
from curation.review.store.decisions import Decision, NewDecision, read_decisions_csv
from curation.review.store.ledger import FILED
from curation.review.store.roles import Role
from curation.review.store.store import Store, open_store
from curation.run.results import Solved
from curation.run.solve import Pinned
from curation.settings import workspace
from curation.system.outputs import locked_place

# What of a manifest a batch is bound to when it is recorded: what was asked for and what the design is and found.
# Names, times, machines and the key of exports may differ between two runs of the same settings.
BOUND_KEYS = """format_version batch_id space overlap_labels pinned pinned_labels excluded previous pairs_selected
labels_selected labels quotas per_prompt generator_share max_length_difference cost cost_total select fisher spread
objective lower_bound gap open stopped realised efficiency learnt pilot length""".split()
ATTEMPTS = 5  # somebody may decide while a file is read


def binding_of(batch: BatchFolder) -> Binding:
    """What a batch folder holds, as hashes of the bytes that were read."""
    manifest = batch.manifest
    bound = {
        **{name: manifest.get(name) for name in BOUND_KEYS},
        "settings": {name: value for name, value in manifest["settings"].items() if name != "device"},
        "pool": manifest["pool"]["fingerprint"],
        "features": manifest["features"]["fingerprint"],
        **({"guidelines": manifest["guidelines"]} if manifest.get("guidelines") is not None else {}),
    }
    digest = hashlib.sha256(canonical_json(bound).encode("utf-8", "surrogatepass")).hexdigest()
    return Binding(batch.digests[RECORDS], batch.lines, digest, str(manifest["batch_seed"]))


def record_batch(store: Store, batch: BatchFolder, *, who: str, role: Role = "reviewer") -> None:
    """Make a batch folder known to the store, so that decisions may refer to it.

    role: what the act takes that this is the beginning of. Whoever solved the batch, as its manifest says, proposed it.
    Raises BatchError where its ids are not those of what stands under them, StoreError for who may not, and where the
    batch is known and this folder is not what was recorded.
    """
    store.require(who, role)
    store.record_batch(new_batch(batch), who=who, role=role)


def new_batch(batch: BatchFolder) -> NewBatch:
    """A batch folder as the store records it. Raises BatchError where its ids are not those of what they name."""
    check_ids(batch)
    manifest = batch.manifest
    return NewBatch(
        batch.batch_id,
        folder=batch.path.resolve(),
        pool_fingerprint=manifest["pool"]["fingerprint"],
        pool_name=manifest["pool"]["name"],
        features_fingerprint=manifest["features"]["fingerprint"],
        budget=manifest["settings"]["budget"],
        settings={**manifest["settings"], "space": manifest["space"]},
        objective=manifest["objective"],
        lower_bound=manifest["lower_bound"],
        realised=manifest["realised"],
        author=manifest.get("author"),
        bound=binding_of(batch),
    )


def check_recorded(store: Store, batch: BatchFolder) -> None:
    """Raise BatchError where a known batch's folder is not what was recorded: before its texts are shown or sent."""
    known = store.binding(batch.batch_id)
    differs = None if known is None else known.difference(binding_of(batch))
    if known is not None and differs is not None:
        raise BatchError(
            f"{batch.path} is not batch {batch.batch_id} as it was recorded on {known.at[:10]}: {differs}; bring that "
            "back, or solve with another --seed."
        )


def seeds_of(store: Store, batch: BatchFolder) -> list[str]:
    """Keys that exports of a batch may have been made with, the one in use first.

    The store's is the one of the folder that was recorded first; the manifest's may be another run's of the same
    settings. The last is that of versions up to 0.2.0.
    """
    known = store.binding(batch.batch_id)
    seeds = [
        *([] if known is None else [known.batch_seed]),
        str(batch.manifest["batch_seed"]),
        batch_seed(batch.batch_id, batch.manifest["settings"]["seed"]),
    ]
    return list(dict.fromkeys(seeds))


def save_for_review(
    solved: Solved,
    *,
    pinned: Pinned,
    excluded: Sequence[LocalPair],
    store: Store,
    who: str,
    author: str | None = None,
    guidelines: str | None = None,
) -> BatchFolder:
    """The batch folder of a solved design in the workspace: written once, named by its id, known to the store.

    author: who solved it, where that is somebody other than `who`. guidelines: what annotators are told. Raises
    StoreError, before anything is written, for who may not decide.
    """
    who = store.require(who, "reviewer")
    with workspace_batch(solved, pinned, excluded, author=author or who, guidelines=guidelines) as (batch, publish):
        publish()
        record_batch(store, batch, who=who)
        return batch


def preview_batch(
    solved: Solved,
    folder: Path,
    *,
    pinned: Pinned,
    excluded: Sequence[LocalPair],
    author: str,
    guidelines: str | None = None,
) -> BatchFolder:
    """The batch folder that `save_for_review` would make, written below `folder` and nowhere else: to be looked at.

    Nothing is recorded; the first decision saves it for review. Raises BatchError where it cannot be written.
    """
    identity = solved_identity(solved, pinned, excluded)
    place = Path(tempfile.mkdtemp(dir=folder)) / identity
    contents = batch_contents(solved, identity, place, pinned, excluded, author, guidelines)
    return read_batch(write_batch(place, contents))


@contextmanager
def workspace_batch(
    solved: Solved, pinned: Pinned, excluded: Sequence[LocalPair], *, author: str, guidelines: str | None
) -> Iterator[tuple[BatchFolder, Callable[[], None]]]:
    """The batch folder of a solved design, read, and what gives it its place in the workspace, which is held meanwhile.

    A folder that lies there already, of an earlier run or of one that was cut off before it was recorded, is taken as
    it is. author, guidelines: as `save_for_review`. Raises BatchError, or OutputError where the place stays held.
    """
    identity = solved_identity(solved, pinned, excluded)
    folder = workspace() / "batches" / identity
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        staged = None
        if not (folder / MANIFEST).is_file():
            contents = batch_contents(solved, identity, folder, pinned, excluded, author, guidelines)
            try:
                staged = held.enter_context(staged_batch(folder, contents))
            except BatchError:
                if not (folder / MANIFEST).is_file():  # somebody else has just written the very same batch
                    raise
        held.enter_context(locked_place(folder))
        if staged is None or (folder / MANIFEST).is_file():
            yield read_batch(folder), lambda: None
        else:
            yield replace(read_batch(staged.staging), path=folder), staged.publish


def saved_before(solved: Solved, *, pinned: Sequence[LocalPair], excluded: Sequence[LocalPair]) -> Path | None:
    """The place of a solved design's batch folder, where the workspace holds it already; writes nothing."""
    return folder_of(solved_identity(solved, pinned, excluded))


def folder_of(identity: str) -> Path | None:
    """The place of the batch folder of an id (`solved_identity`), where the workspace holds it; writes nothing."""
    folder = workspace() / "batches" / identity
    return folder if (folder / MANIFEST).is_file() else None


def decide_from_file(folder: str | Path, file: str | Path, *, who: str, store: Store | None = None) -> dict[str, Any]:
    """Record the decisions of a CSV for a batch, as one act. Returns how many, the counts now, and what was kept.

    Nothing is overruled unseen: a pair that was decided otherwise since this person's last file, or since the `version`
    that the file names, keeps its decision and is named under `kept`. Raises StoreError.
    """
    opened = store or open_store()
    who = opened.require(who, "reviewer")
    batch = read_batch(folder)
    decisions = read_decisions_csv(file, {record["pair_id"] for record in batch.records})
    record_batch(opened, batch, who=who)
    recorded, kept = _decide_seen(opened, batch.batch_id, decisions, who)
    now = Counter(decision.decision for decision in opened.decisions(batch.batch_id).values())
    return {
        "batch_id": batch.batch_id,
        "recorded": recorded,
        "pairs": len(batch.records),
        "counts": dict(now),
        "kept": [_standing(made) for made in kept],
    }


def _standing(made: Decision) -> dict[str, Any]:
    return {
        "pair_id": made.pair_id,
        "decision": made.decision,
        "who": made.who,
        "at": made.at.isoformat(timespec="seconds"),
        "version": made.version,
    }


def _decide_seen(store: Store, batch_id: str, decisions: Sequence[NewDecision], who: str) -> tuple[int, list[Decision]]:
    """Write those decisions whose pair stands where the file's author left it: how many, and what holds instead."""
    attempt = 0
    while True:
        attempt += 1
        left: dict[str, int] = {}
        now: dict[str, Decision] = {}
        for entry in store.history(batch_id):
            now[entry.pair_id] = entry
            if entry.who == who and (entry.action.startswith(FILED) or entry.decision == "clear"):
                left[entry.pair_id] = entry.version
        taken, kept, expected = [], [], {}
        for new in decisions:
            held = now.get(new.pair_id)
            version = held.version if held is not None else 0
            if new.version is not None and new.version > version:
                raise StoreError(
                    f"pair {new.pair_id} has no version {new.version}: its present one is {version} (0: never "
                    "decided); give that one. Nothing was written."
                )
            if version == (left.get(new.pair_id, 0) if new.version is None else new.version):
                taken.append(new)
                expected[new.pair_id] = version
            elif held is not None and (held.decision, held.reason) != (new.decision, new.reason):
                kept.append(held)
        try:
            store.record_decisions(batch_id, taken, who=who, expected_versions=expected, filed=True)
            return len(taken), kept
        except StoreError:
            found = store.decisions(batch_id)
            moved = any(key in found and found[key].version != version for key, version in expected.items())
            if not moved or attempt == ATTEMPTS:
                raise
