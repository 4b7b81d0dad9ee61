"""The features file: one row of numbers per response, in Parquet, matched by ids."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.errors import FeaturesError
from curation.system.columns import ExpansionError, check_parquet
from curation.system.outputs import staged_file

Ids = Sequence[tuple[str, str]]
_REMEDY = "run `python -m curation features` on this pool"
UNPACKED_FLOOR = 256 << 20  # bytes that any features file may unpack to
_SEPARATOR = "\x1f"
_FLOATS = {"halffloat", "float", "double"}


@dataclass(frozen=True)
class FeatureTable:
    """The features of the responses asked for, in the order asked."""

    matrix: NDArray[np.float32]  # (N, p)
    reference_logprob: NDArray[np.float64] | None  # (N,) nats, nan where unknown; None when no response has one
    n_tokens: NDArray[np.int32] | None  # (N,) response tokens
    metadata: dict[str, str]
    extra_ids: int  # rows of the file that nobody asked for
    fingerprint: str  # 16 hex digits of the numbers above, in the order asked
    notes: tuple[str, ...] = ()


def read_features(path: str | Path, ids: Ids, *, pool_fingerprint: str | None = None) -> FeatureTable:
    """Features of `ids` (prompt_id, response_id), in that order, from a Parquet file whose rows are in any order.

    Extra rows are counted. A pool fingerprint in the file that differs from `pool_fingerprint` becomes a note: the
    ids agree but texts have changed. Raises FeaturesError when the file, a column or an id is missing, ids repeat,
    or a number is not finite.
    """
    source = Path(path)
    table, metadata = _read_table(source)
    keys = _keys(table, source)
    rows = _match(keys, ids, source)
    matrix = _feature_matrix(table, rows, ids, source)
    notes: list[str] = []
    logprob = _logprobs(table, rows, ids, source, notes)
    n_tokens = _token_counts(table, rows, source, notes)
    made_for = metadata.get("pool_fingerprint")
    if pool_fingerprint and made_for and made_for != pool_fingerprint:
        notes.append(
            f"{source.name} was made for pool {made_for}, this pool is {pool_fingerprint}: the ids agree but texts "
            f"have changed since; {_REMEDY} again."
        )
    return FeatureTable(
        matrix=matrix,
        reference_logprob=logprob,
        n_tokens=n_tokens,
        metadata=metadata,
        extra_ids=len(keys) - len(np.unique(rows)),
        fingerprint=_fingerprint(matrix, logprob),
        notes=tuple(notes),
    )


def write_features(
    path: str | Path,
    ids: Ids,
    matrix: NDArray[Any],
    *,
    reference_logprob: NDArray[np.float64] | None = None,
    n_tokens: NDArray[np.int32] | None = None,
    metadata: Mapping[str, str] | None = None,
    dtype: Literal["float16", "float32"] = "float16",
) -> Path:
    """Write a features file atomically (temporary file, then rename). matrix: (N, p), finite.

    reference_logprob: (N,) nats, nan becomes null. Raises FeaturesError for ids that repeat or do not match the
    rows, numbers that are not finite or overflow `dtype`, and a folder that cannot be written.
    """
    target = Path(path)
    values = np.asarray(matrix)
    if values.ndim != 2 or values.shape[0] != len(ids) or values.shape[1] == 0:
        raise FeaturesError(f"features of shape {values.shape} do not fit {len(ids)} ids; give one row per response.")
    if len(set(ids)) != len(ids):
        raise FeaturesError(f"{len(ids) - len(set(ids))} ids repeat; give each (prompt_id, response_id) once.")
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(values, dtype=np.dtype(dtype))
    bad = ~np.isfinite(stored).all(axis=1)
    if bad.any():
        first = ids[int(np.argmax(bad))]
        raise FeaturesError(
            f"{int(bad.sum())} responses have features that are not finite in {dtype} (first: {_name(first)}); write "
            "float32, or look at the model's output for that response."
        )
    columns: dict[str, Any] = {
        "prompt_id": pa.array([prompt for prompt, _ in ids], pa.string()),
        "response_id": pa.array([response for _, response in ids], pa.string()),
        "features": pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), values.shape[1]),
    }
    for name, column, kind in (
        ("reference_logprob", reference_logprob, pa.float64()),
        ("n_tokens", n_tokens, pa.int32()),
    ):
        if column is None:
            continue
        if len(column) != len(ids):
            raise FeaturesError(f"{name} has {len(column)} values for {len(ids)} ids; give one per response.")
        columns[name] = pa.array(np.asarray(column), kind, from_pandas=True)
    table = pa.table(columns).replace_schema_metadata({k: str(v) for k, v in (metadata or {}).items()})
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with staged_file(target) as temporary:
            pq.write_table(table, temporary, compression="zstd")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise FeaturesError(
            f"{target} cannot be written ({reason}); free some space or choose another --out."
        ) from error
    return target


def _read_table(source: Path) -> tuple[Any, dict[str, str]]:
    if not source.is_file():
        raise FeaturesError(f"features file {source} does not exist; {_REMEDY}, or correct the path.")
    try:
        check_parquet(source, floor=UNPACKED_FLOOR)
        schema = pq.read_schema(source)
        for column in ("prompt_id", "response_id", "features"):
            if column not in schema.names:
                raise FeaturesError(
                    f"{source.name} has no column {column!r} (it has: {', '.join(schema.names) or 'none'}); a features "
                    f"file needs prompt_id, response_id and features; {_REMEDY}."
                )
        wanted = ("prompt_id", "response_id", "features", "reference_logprob", "n_tokens")
        table = pq.read_table(source, columns=[name for name in wanted if name in schema.names])
        table.validate(full=True)
    except MemoryError:  # pyarrow's is an ArrowException too, and the file may be sound
        raise FeaturesError(
            f"{source.name} needs more memory than there is, or is damaged and claims to; close other programs, or use "
            "fewer features or a smaller pool."
        ) from None
    except ExpansionError as error:
        raise FeaturesError(f"{source.name} cannot be used: {error}; {_REMEDY} to make one.") from None
    except FileNotFoundError:
        raise FeaturesError(f"features file {source} does not exist; {_REMEDY}, or correct the path.") from None
    except OSError as error:
        if error.errno:  # the system's word, not pyarrow's on the content
            raise FeaturesError(
                f"{source.name} cannot be read ({os.strerror(error.errno)}); see to that first."
            ) from None
        raise FeaturesError(f"{source.name} is not a readable Parquet file; {_REMEDY} to make one.") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise FeaturesError(f"{source.name} is not a readable Parquet file; {_REMEDY} to make one.") from error
    raw = schema.metadata or {}
    metadata = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in raw.items()
        if key not in (b"ARROW:schema", b"pandas")
    }
    return table, metadata


def _keys(table: Any, source: Path) -> Any:
    """One string per row from both ids. Raises when an id is null, not text, or a row repeats."""
    parts = []
    for name in ("prompt_id", "response_id"):
        column = table[name]
        if column.null_count:
            raise FeaturesError(f"{source.name}: {column.null_count} rows have no {name}; every row needs both ids.")
        try:
            parts.append(pc.cast(column, pa.large_string()))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise FeaturesError(f"{source.name}: {name} is {column.type}, not text; write it as strings.") from error
    keys = _one_array(pc.binary_join_element_wise(*parts, pa.scalar(_SEPARATOR, pa.large_string())))
    counts = pc.value_counts(keys)
    repeated = pc.greater(counts.field("counts"), 1)
    total = pc.sum(repeated).as_py() or 0
    if total:
        first = counts.field("values").filter(repeated)[0].as_py().split(_SEPARATOR)
        raise FeaturesError(
            f"{source.name}: {total} ids stand on more than one row (first: {_name(first)}); keep one row per response."
        )
    return keys


def _match(keys: Any, ids: Ids, source: Path) -> NDArray[np.int64]:
    """Row of the file for each id asked for. Raises when any is missing."""
    asked = pa.array([prompt + _SEPARATOR + response for prompt, response in ids], pa.large_string())
    found = pc.index_in(asked, value_set=keys)
    missing = np.flatnonzero(np.asarray(pc.is_null(found)))
    if missing.size:
        names = ", ".join(_name(ids[int(row)]) for row in missing[:3])
        other = " These features look like they belong to another pool." if missing.size > len(ids) / 2 else ""
        raise FeaturesError(
            f"{source.name} has no features for {missing.size:,} of {len(ids):,} responses (first: {names}).{other} "
            f"Every response needs a row; {_REMEDY}."
        )
    return np.asarray(found, dtype=np.int64)


def _feature_matrix(table: Any, rows: NDArray[np.int64], ids: Ids, source: Path) -> NDArray[np.float32]:
    column = _one_array(table["features"])
    kind = column.type
    if not (pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)) or (
        str(kind.value_type) not in _FLOATS
    ):
        raise FeaturesError(
            f"{source.name}: features is {kind}, not a list of float16, float32 or float64; write one list of "
            "numbers per response."
        )
    if column.null_count:
        raise FeaturesError(f"{source.name}: {column.null_count} rows have no features (null); {_REMEDY}.")
    if pa.types.is_fixed_size_list(kind):
        width = int(kind.list_size)
    else:
        lengths = np.asarray(pc.list_value_length(column))
        if lengths.size and np.any(lengths != lengths[0]):
            raise FeaturesError(
                f"{source.name}: feature lists have {lengths.min()} to {lengths.max()} numbers; every response needs "
                f"the same number; {_REMEDY}."
            )
        width = int(lengths[0]) if lengths.size else 0
    if width == 0:
        raise FeaturesError(f"{source.name}: the feature lists are empty; {_REMEDY}.")
    values = np.asarray(column.flatten().to_numpy(zero_copy_only=False)).reshape(-1, width)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf and is named below
        matrix = np.ascontiguousarray(values[rows], dtype=np.float32)
    bad = ~np.isfinite(matrix).all(axis=1)
    if bad.any():
        raise FeaturesError(
            f"{source.name}: {int(bad.sum()):,} responses have features that are not finite (first: "
            f"{_name(ids[int(np.argmax(bad))])}); {_REMEDY} again, in float32 if the model overflows float16."
        )
    return matrix


def _logprobs(
    table: Any, rows: NDArray[np.int64], ids: Ids, source: Path, notes: list[str]
) -> NDArray[np.float64] | None:
    if "reference_logprob" not in table.column_names:
        return None
    values = _numbers(table["reference_logprob"], "reference_logprob", source)[rows]
    if np.isinf(values).any():
        first = ids[int(np.argmax(np.isinf(values)))]
        raise FeaturesError(
            f"{source.name}: {int(np.isinf(values).sum())} values of reference_logprob are infinite (first: "
            f"{_name(first)}); give nats, or null where unknown."
        )
    known = ~np.isnan(values)
    if not known.any():
        return None
    if not known.all():
        notes.append(f"{int((~known).sum())} of {len(values)} responses have no reference_logprob in {source.name}.")
    if np.any(values[known] > 0):
        notes.append(
            f"{int((values[known] > 0).sum())} values of reference_logprob in {source.name} are above 0: "
            "log-probabilities of texts are not; check what was written."
        )
    return values


def _token_counts(table: Any, rows: NDArray[np.int64], source: Path, notes: list[str]) -> NDArray[np.int32] | None:
    if "n_tokens" not in table.column_names:
        return None
    values = _numbers(table["n_tokens"], "n_tokens", source)[rows]
    if not np.isfinite(values).all() or np.any(values < 0) or np.any(values > np.iinfo(np.int32).max):
        notes.append(f"n_tokens in {source.name} has missing or impossible values and is left out.")
        return None
    return values.astype(np.int32)


def _numbers(column: Any, name: str, source: Path) -> NDArray[np.float64]:
    """A numeric column as float64 with nan for null."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise FeaturesError(f"{source.name}: {name} is {column.type}, not a number; write it as double or int32.")
    array = _one_array(column)
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)


def _one_array(column: Any) -> Any:
    """A column as one array, whatever its chunks."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks)
        if column.num_chunks
        else (pa.array([], column.type))
    )


def _fingerprint(matrix: NDArray[np.float32], logprob: NDArray[np.float64] | None) -> str:
    digest = hashlib.sha256(repr(matrix.shape).encode())
    digest.update(matrix.astype("<f4", copy=False).data)
    if logprob is not None:
        digest.update(np.where(np.isnan(logprob), np.nan, logprob).astype("<f8").tobytes())
    return digest.hexdigest()[:16]


def _name(pair: Sequence[str]) -> str:
    return "/".join(pair)
