"""A pool kept in the canonical format with the account of the file it was read from: rows, rejects and notes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation.pool.files.storage import write_pool, write_text
from curation.pool.schema import PoolFile, Reject


def keep_reading(file: PoolFile, target: str | Path) -> Path:
    """Write the pool and its outcomes to `target`, and beside it what could not be read. Raises PoolError."""
    path = Path(target)
    account: dict[str, Any] = {
        "fingerprint": file.pool.fingerprint,
        "format": file.format,
        "rows": file.rows,
        "rows_used": file.rows_used,
        "rejects": [[reject.line, reject.reason, reject.raw] for reject in file.rejects],
        "notes": list(file.notes),
    }
    write_text(json.dumps(account, ensure_ascii=False), _beside(path))
    return write_pool(file.pool, path, truth=file.truth)


def as_first_read(file: PoolFile, path: str | Path) -> PoolFile:
    """`file` with the account that `keep_reading` left beside its path; as it is where there is none of this pool."""
    try:
        account = json.loads(_beside(Path(path)).read_text(encoding="utf-8"))
        if account["fingerprint"] != file.pool.fingerprint:
            return file
        return replace(
            file,
            format=str(account["format"]),
            rows=int(account["rows"]),
            rows_used=int(account["rows_used"]),
            rejects=tuple(Reject(int(line), str(reason), str(raw)) for line, reason, raw in account["rejects"]),
            notes=tuple(map(str, account["notes"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return file


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.reading")
