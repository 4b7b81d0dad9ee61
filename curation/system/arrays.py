"""Reading `.npz` archives that somebody else may have written: what a header claims is held against the file first."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

ARRAYS_MOST = 1 << 30  # bytes of one archive, unpacked
_HEADER = 10_000  # characters; numpy's own limit


class ArraysError(ValueError):
    """An archive is not what it claims to be."""


def load_arrays(path: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays of an archive; pickled ones are never read.

    Raises ArraysError where it is damaged, lacks one, or an array claims more bytes than the archive holds; OSError
    where it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > ARRAYS_MOST:
                raise ArraysError(f"it unpacks to more than {ARRAYS_MOST >> 20:,} MiB")
            return {name: _array(archive, name) for name in names}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, zlib.error) as error:
        raise ArraysError(f"damaged archive: {error}") from None
    except (NotImplementedError, RuntimeError) as error:  # another compression, a password
        raise ArraysError(f"an archive of a kind that is not written here: {error}") from None
    except (OverflowError, UnicodeError) as error:
        raise ArraysError(f"damaged archive: {error}") from None


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ArraysError(f"it has no array {name!r}") from None
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArraysError(f"array {name!r} is packed in a way that is not written here")
    data = archive.read(entry)
    shape, fortran, dtype, start = _header(data, name)
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != len(data) - start:
        raise ArraysError(f"array {name!r} claims {size:,} bytes where the file holds {len(data) - start:,}")
    flat = np.frombuffer(data, dtype=dtype, offset=start) if size else np.zeros(math.prod(shape), dtype=dtype)
    return flat.reshape(shape, order="F" if fortran else "C").copy()


def _header(data: bytes, name: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    import io

    stream = io.BytesIO(data)
    try:
        version = npy.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = npy.read_array_header_1_0(stream, max_header_size=_HEADER)
        elif version == (2, 0):
            shape, fortran, dtype = npy.read_array_header_2_0(stream, max_header_size=_HEADER)
        else:
            raise ArraysError(f"array {name!r} has a header of version {version}")
    except ArraysError:
        raise
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
        raise ArraysError(f"array {name!r} has a damaged header ({str(error)[:100]})") from None
    if dtype.hasobject or dtype.kind not in "fiuU" or dtype.itemsize == 0:
        raise ArraysError(f"array {name!r} holds {dtype}, not numbers or text")
    return shape, fortran, dtype, stream.tell()


def finite_matrix(array: np.ndarray, name: str, *shape: int | None) -> np.ndarray:
    """The array as float64, if its shape fits (None: any length) and every number is finite. Raises ArraysError."""
    if array.dtype.kind not in "fiu":
        raise ArraysError(f"array {name!r} holds {array.dtype}, not numbers")
    fits = len(array.shape) == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if part is None else part for part in shape)
        raise ArraysError(f"array {name!r} has shape {array.shape} where {wanted} is expected")
    if not np.isfinite(array).all():
        raise ArraysError(f"array {name!r} holds numbers that are not finite")
    return np.asarray(array, dtype=np.float64)
