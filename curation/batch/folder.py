"""The batch folder as it is read: its files, their bytes' hashes, and what is wrong with them in words."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.batch.shape import check_manifest, check_record
from curation.errors import BatchError
from curation.system.arrays import ArraysError, finite_matrix, load_arrays
from curation.system.columns import check_parquet
from curation.system.files import parse_json, read_bounded
from curation.system.outputs import MANIFEST as MANIFEST
from curation.system.outputs import RECORDS as RECORDS
from curation.system.outputs import SIGNATURE as SIGNATURE

FORMAT_VERSION = 1
CRITERION = "criterion.npz"  # Fisher matrix and prior: what the labels that come back are valued by
DESIGN, SPACE, SELECTED = "design.parquet", "space.npz", "selected.parquet"
GUIDELINES = "guidelines.md"  # what annotators are told; only where the batch has any
REPORT = "report.html"  # written with the signature, for people
FILES = frozenset({MANIFEST, RECORDS, DESIGN, SPACE, SELECTED, CRITERION})
MANIFEST_MOST = 256 << 20  # bytes; the longest one lists every pair of a large batch among its pins
RECORD_KEYS = (
    "pair_id prompt_id prompt stratum response_a_id response_b_id response_a response_b generator_a generator_b "
    "weight inclusion copies score margin leverage feature_distance reference_logprob_a reference_logprob_b "
    "reference_probability_a reference_probability_b drop_cost directions rationale left"
).split()
MESSAGE_KEYS = ("messages_a", "messages_b")  # stand in a record only where a response is more than one plain message

Record = dict[str, Any]


@dataclass(frozen=True)
class BatchFolder:
    """A batch as read back: its manifest and its audit records, in file order.

    digests: sha256 of the bytes that manifest and records were read from, by file name; lines: of every record's line,
    16 hex digits. What is signed or sent rests on these, not on what lies in the folder a moment later.
    """

    path: Path
    manifest: dict[str, Any]
    records: list[Record]
    digests: dict[str, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()

    @property
    def batch_id(self) -> str:
        """The id that decisions and exports refer to."""
        return str(self.manifest["batch_id"])


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


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a batch folder. Raises BatchError where it is missing or is not one."""
    return _manifest(Path(folder))[0]


def _manifest(folder: Path) -> tuple[dict[str, Any], str]:
    """The manifest, and sha256 of its bytes."""
    path = folder / MANIFEST
    plain = read_bounded(path, most=MANIFEST_MOST, error=BatchError)
    manifest = parse_json(plain, place=str(path), error=BatchError, remedy="solve again")
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        found = manifest.get("format_version") if isinstance(manifest, dict) else None
        raise BatchError(f"{folder} has batch format {found!r:.40}; this version reads {FORMAT_VERSION}.")
    return check_manifest(manifest, str(path)), hashlib.sha256(plain).hexdigest()


def read_batch(folder: str | Path) -> BatchFolder:
    """Read a batch folder back. Raises BatchError naming the file and line that is missing or broken."""
    path = Path(folder)
    if not (path / MANIFEST).is_file() or not (path / RECORDS).is_file():
        raise BatchError(f"{path} is not a batch folder ({MANIFEST} and {RECORDS} expected); give what solve wrote.")
    manifest, digest = _manifest(path)
    records, lines, whole = [], [], hashlib.sha256()
    seen: set[str] = set()
    try:
        with (path / RECORDS).open("rb") as handle:
            for line, text in enumerate(handle, start=1):
                whole.update(text)
                lines.append(line_hash(text))
                place = f"{path / RECORDS} line {line}"
                record = parse_json(text, place=place, error=BatchError, remedy="solve again")
                record = check_record(record, place)
                if record["pair_id"] in seen:
                    raise BatchError(f"{place}: pair {record['pair_id']} stands twice; solve again.")
                seen.add(record["pair_id"])
                records.append(record)
    except OSError as error:
        raise BatchError(f"{path / RECORDS} cannot be read ({error.strerror or error}); check the folder.") from None
    if len(records) != manifest.get("pairs_selected"):
        raise BatchError(
            f"{path / RECORDS} has {len(records)} records where the manifest says {manifest.get('pairs_selected')}; "
            "the folder was changed: solve again."
        )
    digests = {MANIFEST: digest, RECORDS: whole.hexdigest()}
    return BatchFolder(path, manifest, records, digests, tuple(lines))


def line_hash(line: bytes) -> str:
    """16 hex digits of one line of the audit records, so that a change can be told by its line."""
    return hashlib.sha256(line).hexdigest()[:16]


@dataclass(frozen=True)
class SelectedPairs:
    """What a batch bought: pair_ids (m,), copies (m,), vectors z (m, d) in the batch's space.

    factors: (m,) information of a label of each as the design counted it, None where every pair counts alike.
    """

    pair_ids: list[str]
    copies: np.ndarray
    vectors: np.ndarray
    factors: np.ndarray | None = None

    @property
    def sensitivities(self) -> np.ndarray:
        """sqrt(factor) z, (m, d): what the batch's criterion is made of."""
        return self.vectors if self.factors is None else self.vectors * np.sqrt(self.factors)[:, None]


def read_selected(folder: str | Path) -> SelectedPairs:
    """The batch's vectors. Raises BatchError when the file is missing or broken."""
    path = Path(folder) / SELECTED
    try:
        check_parquet(path)
        return _selected(pq.read_table(path))
    except MemoryError:  # pyarrow's is an ArrowException too
        raise BatchError(f"{path} needs more memory than there is, or is damaged and claims to; solve again.") from None
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise BatchError(f"{path} cannot be read ({_first_line(error)}); solve again.") from None


def _selected(table: Any) -> SelectedPairs:
    """Raises KeyError and ValueError where a column is missing, of another type, or has gaps."""
    table.validate(full=True)
    for name in ("pair_id", "copies", "vector"):
        if table[name].null_count:
            raise ValueError(f"column {name} has empty cells")
    kind = table["vector"].type
    if not pa.types.is_fixed_size_list(kind) or not pa.types.is_floating(kind.value_type) or kind.list_size < 1:
        raise ValueError(f"column vector is {kind}, not lists of numbers of one length")
    if not pa.types.is_string(table["pair_id"].type) or not pa.types.is_integer(table["copies"].type):
        raise ValueError("pair_id is not text, or copies are not whole numbers")
    vectors = np.asarray(table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False), dtype=np.float64)
    copies = np.asarray(table["copies"].to_numpy(), dtype=np.int64)
    if vectors.size != table.num_rows * kind.list_size or not np.isfinite(vectors).all() or (copies < 1).any():
        raise ValueError("vectors are not finite, or copies are below 1")
    factors = None
    if "factor" in table.column_names:
        if table["factor"].null_count or not pa.types.is_floating(table["factor"].type):
            raise ValueError("column factor is not numbers")
        factors = np.asarray(table["factor"].to_numpy(), dtype=np.float64)
        if not (np.isfinite(factors).all() and (factors >= 0).all()):
            raise ValueError("factors are negative or not finite")
    return SelectedPairs(table["pair_id"].to_pylist(), copies, vectors.reshape(table.num_rows, kind.list_size), factors)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def read_information(batch: BatchFolder) -> tuple[np.ndarray, np.ndarray, SelectedPairs] | None:
    """Fisher matrix and prior (d, d) of a batch with its vectors, which fit them and are its records' pairs; None for
    a folder of an earlier version, without its criterion. Raises BatchError."""
    stored = read_criterion(batch.path)
    if stored is None:
        return None
    selected = read_selected(batch.path)
    if selected.vectors.shape[1] != len(stored[0]):
        raise BatchError(
            f"{batch.path / SELECTED} has vectors of {selected.vectors.shape[1]} numbers where {CRITERION} has "
            f"{len(stored[0])}; the folder was changed: solve again."
        )
    check_selected(batch, selected)
    return *stored, selected


def check_selected(batch: BatchFolder, selected: SelectedPairs) -> None:
    """Raises BatchError where the vectors are not those of the batch's records."""
    if sorted(selected.pair_ids) != sorted(record["pair_id"] for record in batch.records):
        raise BatchError(
            f"{batch.path / SELECTED} holds other pairs than {RECORDS}; the folder was changed: solve again."
        )


def read_criterion(folder: str | Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Fisher matrix and prior (d, d) of the batch's design; None for a folder of an earlier version."""
    path = Path(folder) / CRITERION
    if not path.is_file():
        return None
    try:
        found = load_arrays(path, ("fisher", "prior"))
        fisher = finite_matrix(found["fisher"], "fisher", None, None)
        finite_matrix(fisher, "fisher", len(fisher), len(fisher))
        prior = finite_matrix(found["prior"], "prior", len(fisher), len(fisher))
        for name, matrix in (("fisher", fisher), ("prior", prior)):
            if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-12 * abs(matrix).max(initial=0.0)):
                raise ArraysError(f"array {name!r} is not symmetric")
            if not len(matrix) or (np.diag(matrix) < 0).any() or not np.trace(matrix) > 0:
                raise ArraysError(f"array {name!r} has no positive trace")
    except (OSError, ArraysError) as error:
        raise BatchError(f"{path} cannot be read ({_first_line(error)}); solve again.") from None
    return fisher, prior


def guidelines_hash(text: str) -> str:
    """sha256 of the UTF-8 text, hex."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
