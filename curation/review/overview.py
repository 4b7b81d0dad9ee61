"""The batches of a pool in a line each: how far their review is, and who signed them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from curation.batch.folder import MANIFEST, SIGNATURE, read_manifest
from curation.errors import CurationError
from curation.review.signoff import read_signature
from curation.review.store.records import StoredBatch
from curation.review.store.store import Store


@dataclass(frozen=True)
class BatchState:
    """A batch that is kept. pairs: of it, None where its folder cannot be read. decided, approved: pairs.

    signed_by: the name on its signature, None for an unsigned one; whether that holds is for `verify_batch` to say.
    """

    stored: StoredBatch
    pairs: int | None
    decided: int
    approved: int
    signed_by: str | None

    def words(self) -> str:
        """How far it is: who signed it, else how much is reviewed."""
        of = "" if self.pairs is None else f"/{self.pairs:,}"
        if self.signed_by is not None:
            return f"signed by {self.signed_by}, {self.approved:,}{of} approved"
        return f"reviewed {self.decided:,}{of}" if self.decided else "not reviewed yet"

    def title(self) -> str:
        """The batch in a line: state, size, when and whose."""
        stored = self.stored
        amount = f"{stored.budget:g} {stored.settings.get('cost') or 'labels'}, ridge {stored.settings['ridge']:g}"
        return f"{self.words()} · {amount} · {stored.created_at:%Y-%m-%d %H:%M} UTC by {stored.created_by}"


def batch_states(store: Store, pool_fingerprint: str) -> list[BatchState]:
    """Batches of a pool whose folders are where they were recorded, the newest first."""
    tallies = store.tallies(pool_fingerprint)
    found = []
    for stored in store.batches(pool_fingerprint):
        folder = Path(stored.folder)
        if not folder.is_dir():
            continue
        counts = tallies.get(stored.batch_id, {})
        found.append(
            BatchState(stored, pairs_of(folder), sum(counts.values()), counts.get("approve", 0), signer_of(folder))
        )
    return found


def signer_of(folder: Path) -> str | None:
    """The name on a batch's signature, None where there is none or it cannot be read."""
    stamp = _stamp(folder / SIGNATURE)
    return None if stamp is None else _signer(folder, stamp)


def pairs_of(folder: Path) -> int | None:
    """Pairs of a batch by its manifest, None where that cannot be read."""
    stamp = _stamp(folder / MANIFEST)
    return None if stamp is None else _pairs(folder, stamp)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@lru_cache(maxsize=256)
def _signer(folder: Path, stamp: tuple[int, int, int]) -> str | None:
    try:
        found = read_signature(folder)
    except CurationError:
        return None
    return None if found is None else str(found["signed_by"])


@lru_cache(maxsize=256)
def _pairs(folder: Path, stamp: tuple[int, int, int]) -> int | None:
    try:
        return int(read_manifest(folder)["pairs_selected"])
    except CurationError:
        return None
