"""Which files the dashboard may open, what it finds beside a pool, and where uploads go."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from curation.errors import PoolError
from curation.review.store.roles import COMMAND_LINE
from curation.review.store.store import Store, open_store
from curation.settings import (
    app_folder,
    pool_folders,
    workspace,
)
from curation.system.files import shown_path

POOL_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".csv", ".json", ".json.gz")


# What an address may name. Arrow is not among it: a file that crashes its reader takes everybody's session with it.
POOL_ENDINGS = (
    *(*POOL_SUFFIXES, ".tsv", ".ndjson", ".csv.gz", ".csv.zst", ".json.zst", ".xlsx", ".zip"),
    *(f"{kind}{packing}" for kind in (".jsonl", ".json", ".csv") for packing in (".bz2", ".xz")),
)


FEATURES_ENDINGS = (".parquet",)


LIST_ENDINGS = (".csv",)


DEMO = "demo"


DATA = app_folder() / "data"
BUNDLED = ("demo.", "evidence.")  # begin the names of what lies in it


def _plain(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def allowed_folders() -> list[Path]:
    """Where pools and features may be opened from: the workspace, data/ and CURATION_POOLS."""
    return [workspace(), DATA, *pool_folders()]


def allowed_path(path: str | Path, endings: tuple[str, ...] = ()) -> Path:
    """The file, if it lies in an allowed folder and its name ends in one of `endings`. Raises PoolError otherwise."""
    shown = shown_path(path)
    try:
        resolved = Path(path).expanduser().resolve()
        inside = any(resolved.is_relative_to(folder.expanduser().resolve()) for folder in allowed_folders())
        file = resolved.is_file()
    except (OSError, ValueError, RuntimeError):  # a loop of links, a name too long, a NUL, the home of nobody
        raise PoolError(f"{shown} is no name of a file; choose one from the list.") from None
    if not inside:
        raise PoolError(
            f"{shown} is outside the folders this dashboard may open; put it in the workspace, or name its folder in "
            "CURATION_POOLS."
        )
    if not file:
        raise PoolError(f"{shown} does not exist or is not a file; choose one from the list.")
    if endings and not resolved.name.lower().endswith(endings):
        raise PoolError(f"{shown} is not opened here; its name must end in {', '.join(endings)}.")
    return resolved


def pool_path(name: str) -> Path:
    """The file of `demo` or of a path in an allowed folder. Raises PoolError."""
    return DATA / "demo.jsonl.gz" if name == DEMO else allowed_path(name, POOL_ENDINGS)


def list_pools() -> list[Path]:
    """Files in the allowed folders that look like pools; features files, and the bundled demo, left out."""
    found = []
    for folder in allowed_folders():
        for place in (folder, folder / "pools", folder / "uploads"):
            try:
                found += [p for p in sorted(place.iterdir()) if p.name.endswith(POOL_SUFFIXES) and p.is_file()]
            except OSError:  # no such folder, or one that may not be entered
                continue
    return [
        p
        for p in dict.fromkeys(found)
        if ".features." not in p.name and _plain(str(p)) and not (p.name.startswith(BUNDLED) and p.parent == DATA)
    ]


def stem(path: Path) -> str:
    """File name without any of the pool suffixes."""
    for suffix in sorted(POOL_SUFFIXES, key=len, reverse=True):
        if path.name.endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def list_features(pool_file: Path, fingerprint: str) -> list[Path]:
    """Features files that may belong to a pool: beside it, then those made for its fingerprint in the workspace."""
    beside = sorted(pool_file.parent.glob(f"{stem(pool_file)}.features.parquet")) + sorted(
        pool_file.parent.glob(f"{stem(pool_file)}.*.features.parquet")
    )
    made = sorted((workspace() / "features").glob(f"{fingerprint}*.parquet"))
    return list(dict.fromkeys([*made, *beside] if pool_file.parent != DATA else [*beside, *made]))


def file_digest(path: Path) -> str:
    """16 hex digits of the file's content: what caches are keyed by."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def save_upload(name: str, content: bytes, *, who: str = COMMAND_LINE, store: Store | None = None) -> Path:
    """Keep an uploaded file in the workspace under its own name and content hash. Returns the path.

    Whole or absent, also where two sessions send the same file at once. Raises StoreError for who may not, PoolError
    where there is no room.
    """
    (store or open_store()).require(who, "reviewer")
    safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in Path(name.replace("\x00", "_")).name)
    safe = _clipped(safe).lstrip(".") or "upload"
    folder = workspace() / "uploads"
    target = folder / f"{hashlib.sha256(content).hexdigest()[:8]}-{safe}"
    staging = target.with_name(f".{target.name[:60]}.{secrets.token_hex(8)}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            try:
                staging.write_bytes(content)
                os.replace(staging, target)
            finally:
                staging.unlink(missing_ok=True)
        return target.resolve()
    except OSError as error:
        raise PoolError(
            f"the upload {safe} cannot be kept ({error.strerror or error}); free some space in the workspace."
        ) from None


def _clipped(name: str) -> str:
    """The last characters of a name, so many as fit a file system (255 bytes) with a prefix."""
    while len(name.encode("utf-8", "replace")) > 120:
        name = name[1:]
    return name.encode("utf-8", "replace").decode("utf-8")
