"""The batch folder: what `solve` writes and `export` reads. Whole or absent, never half."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import BatchError

FORMAT_VERSION = 1
SIGNATURE = "signature.json"
CRITERION = "criterion.npz"  # Fisher matrix and prior: what the labels that come back are valued by
MANIFEST, RECORDS, DESIGN, SPACE, SELECTED = (
    "manifest.json",
    "batch.jsonl",
    "design.parquet",
    "space.npz",
    "selected.parquet",
)
RECORD_KEYS = (
    "pair_id prompt_id prompt stratum response_a_id response_b_id response_a response_b generator_a generator_b "
    "weight inclusion copies score margin leverage feature_distance reference_logprob_a reference_logprob_b "
    "reference_probability_a reference_probability_b drop_cost directions rationale left"
).split()

Record = dict[str, Any]


@dataclass(frozen=True)
class BatchFolder:
    """A batch as read back: its manifest and its audit records, in file order."""

    path: Path
    manifest: dict[str, Any]
    records: list[Record]

    @property
    def batch_id(self) -> str:
        """The id that decisions and exports refer to."""
        return str(self.manifest["batch_id"])


def check_target(out: str | Path, *, force: bool = False) -> Path:
    """The folder to write, checked before any work is done. Raises BatchError where it may not be written."""
    path = Path(out)
    if path.exists():
        if not path.is_dir():
            raise BatchError(f"{path} exists and is not a folder; choose another --out.")
        if (path / SIGNATURE).exists():
            raise BatchError(f"{path} holds a signed batch, which is never replaced; choose another --out.")
        if not force:
            raise BatchError(f"{path} already exists; choose another --out, or replace it with --force.")
        if any(path.iterdir()) and not (path / MANIFEST).exists():
            raise BatchError(
                f"{path} exists and is not a batch folder, so --force will not replace it; choose another."
            )
    parent = path.absolute().parent
    if not parent.exists():
        raise BatchError(f"the folder {parent} does not exist; create it first or choose another --out.")
    if not os.access(parent, os.W_OK):
        raise BatchError(f"the folder {parent} cannot be written to; choose another --out.")
    return path


def write_batch(
    out: str | Path,
    *,
    manifest: dict[str, Any],
    records: Sequence[Record],
    design: dict[str, Any],
    space: Callable[[Path], None],
    selected: dict[str, Any],
    criterion: dict[str, Any],
    force: bool = False,
) -> Path:
    """Write all files to a temporary folder beside `out`, then rename it. Returns the folder.

    design, selected: columns of the two Parquet files; `selected` holds `vector` as (m, d). space: writes the map to
    the path it is given. criterion: arrays `fisher` and `prior`, (d, d). Raises BatchError.
    """
    path = check_target(out, force=force)
    parent = path.absolute().parent
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=parent))
    try:
        with (staging / RECORDS).open("w", encoding="utf-8") as handle:
            for record in records:
                missing = [key for key in RECORD_KEYS if key not in record]
                if missing:
                    raise BatchError(f"an audit record lacks {missing}; nothing was written.")
                handle.write(json.dumps({k: record[k] for k in RECORD_KEYS}, ensure_ascii=False) + "\n")
        pq.write_table(pa.table(design), staging / DESIGN)
        vectors = np.asarray(selected["vector"], dtype=np.float64)
        columns = {k: v for k, v in selected.items() if k != "vector"}
        columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        pq.write_table(pa.table(columns), staging / SELECTED)
        space(staging / SPACE)
        with (staging / CRITERION).open("wb") as target:
            np.savez(target, **criterion)
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for file in staging.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        staging.chmod(0o755)
        _swap(staging, path)
    except OSError as error:
        raise BatchError(
            f"the batch could not be written to {path}: {error.strerror or error}; nothing was."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return path


def _swap(staging: Path, path: Path) -> None:
    """Put the finished folder in place; what was there before is removed only afterwards."""
    if not path.exists():
        staging.rename(path)
        return
    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    path.rename(old)
    staging.rename(path)
    shutil.rmtree(old)


def batch_stamp(folder: str | Path) -> str:
    """A text that changes when manifest or records of a batch folder are replaced; empty where there are none."""
    parts = []
    for name in (MANIFEST, RECORDS):
        try:
            found = (Path(folder) / name).stat()
        except OSError:
            return ""
        parts.append(f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}")
    return "-".join(parts)


def read_batch(folder: str | Path) -> BatchFolder:
    """Read a batch folder back. Raises BatchError naming the file and line that is missing or broken."""
    path = Path(folder)
    if not (path / MANIFEST).is_file() or not (path / RECORDS).is_file():
        raise BatchError(f"{path} is not a batch folder ({MANIFEST} and {RECORDS} expected); give what solve wrote.")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise BatchError(f"{path / MANIFEST} cannot be read ({error}); solve again.") from None
    if manifest.get("format_version") != FORMAT_VERSION:
        raise BatchError(
            f"{path} has batch format {manifest.get('format_version')!r}; this version reads {FORMAT_VERSION}."
        )
    records = []
    with (path / RECORDS).open("rb") as handle:
        for line, text in enumerate(handle, start=1):
            try:
                record = json.loads(text.decode("utf-8"))
            except ValueError as error:  # UnicodeDecodeError is one
                raise BatchError(f"{path / RECORDS} line {line} is broken ({error}); solve again.") from None
            missing = [key for key in RECORD_KEYS if key not in record]
            if missing:
                raise BatchError(f"{path / RECORDS} line {line} lacks {missing}; solve again.")
            records.append(record)
    if len(records) != manifest.get("pairs_selected"):
        raise BatchError(
            f"{path / RECORDS} has {len(records)} records where the manifest says {manifest.get('pairs_selected')}; "
            "the folder was changed: solve again."
        )
    return BatchFolder(path, manifest, records)


@dataclass(frozen=True)
class SelectedPairs:
    """What a batch bought: pair_ids (m,), copies (m,), vectors z (m, d) in the batch's space."""

    pair_ids: list[str]
    copies: np.ndarray
    vectors: np.ndarray


def read_selected(folder: str | Path) -> SelectedPairs:
    """The batch's vectors. Raises BatchError when the file is missing or broken."""
    path = Path(folder) / SELECTED
    try:
        table = pq.read_table(path)
        vectors = np.asarray(table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False))
        return SelectedPairs(
            table["pair_id"].to_pylist(), table["copies"].to_numpy(), vectors.reshape(table.num_rows, -1)
        )
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise BatchError(f"{path} cannot be read ({error}); solve again.") from None


def read_criterion(folder: str | Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Fisher matrix and prior (d, d) of the batch's design; None for a folder of an earlier version."""
    path = Path(folder) / CRITERION
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["fisher"], stored["prior"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BatchError(f"{path} cannot be read ({error}); solve again.") from None
