"""Files that are damaged, of another shape, or far larger than they look: each ends in a sentence, none in the process."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from curation.batch.folder import (
    CRITERION,
    MANIFEST,
    RECORDS,
    SELECTED,
    SPACE,
    read_batch,
    read_criterion,
    read_information,
)
from curation.batch.shape import check_signature
from curation.errors import BatchError, CurationError, SignatureError
from curation.representation.space import Space
from curation.system.arrays import ArraysError, load_arrays
from tests.fuzz.world import World


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world.batch, tmp_path / "batch"))


def change(folder: Path, *place: Any, to: Any) -> None:
    """Put a value at a place of the manifest; `...` takes the key away."""
    manifest = json.loads((folder / MANIFEST).read_text())
    holder = manifest
    for key in place[:-1]:
        holder = holder[key]
    if to is ...:
        del holder[place[-1]]
    else:
        holder[place[-1]] = to
    (folder / MANIFEST).write_text(json.dumps(manifest))


# The batch folder ---------------------------------------------------------------------------------------------------

NAMED = [
    ("batch_id",), ("pool",), ("pool", "fingerprint"), ("pool", "name"), ("features",), ("features", "fingerprint"),
    ("features", "metadata"), ("space",), ("space", "fingerprint"), ("settings",), ("settings", "budget"),
    ("settings", "ridge"), ("settings", "seed"), ("settings", "tol"), ("settings", "quotas"), ("batch_seed",), ("pinned",),
    ("excluded",), ("overlap_labels",), ("labels",), ("objective",), ("lower_bound",), ("realised",), ("efficiency",),
    ("gap",), ("open",), ("stopped",), ("quotas",), ("length",), ("pairs_selected",),
]  # fmt: skip


@pytest.mark.parametrize("place", NAMED, ids=".".join)
def test_no_field_of_a_manifest_may_hold_another_type(folder: Path, place: tuple[str, ...]) -> None:
    for value in (
        [1],
        {"x": 1},
        [[]],
        True,
        "inf\x00",
        10**400,
        "a\x00b" if place[-1] not in ("tol", "quotas") else "x",
    ):
        shutil.copy(folder / MANIFEST, folder.parent / "kept.json")
        change(folder, *place, to=value)
        with pytest.raises(BatchError) as told:
            read_batch(folder)
        assert len(str(told.value)) < 1000
        shutil.copy(folder.parent / "kept.json", folder / MANIFEST)
    read_batch(folder)


@pytest.mark.parametrize(
    "batch_id", ["../../../x", "/x", "a/b", "a\\b", "", ".", "..", ".x", "a\nb", "a\n", "a\x00", "x" * 101, None, [], {}, 5, True, "é", " a"]
)  # fmt: skip
def test_a_batch_id_is_a_plain_id(folder: Path, batch_id: Any) -> None:
    change(folder, "batch_id", to=batch_id)
    with pytest.raises(BatchError, match="batch_id"):
        read_batch(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "5",
        "{",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"format_version": 1}',
        '{"a": ' + "9" * 5000 + "}",
    ],
)
def test_a_manifest_that_is_none_is_a_sentence(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BatchError):
        read_batch(folder)


RECORD = [
    ("pair_id", [None, 5, [], "a/b", "a b", ""]), ("prompt_id", [None, {"x": 1}, 5]), ("prompt", [None, 1, [], [[1]], [{"role": "user"}]]),
    ("stratum", [5, []]), ("response_a_id", [None, []]), ("response_a", [None, 5, ["x"], "\ud800"]), ("generator_b", [5, []]),
    ("copies", [0, -1, 1.5, "1", None, True, 10**30]), ("score", [None, "x", "inf", [], 10**400]), ("drop_cost", ["x", "inf", None]),
    ("margin", ["x", []]), ("inclusion", ["x", []]), ("directions", [None, 5, [5], [{"direction": -1, "share": 1}]]),
    ("rationale", [None, 5]), ("left", [None, "c", 1]),
]  # fmt: skip


@pytest.mark.parametrize(("field", "values"), RECORD, ids=[field for field, _ in RECORD])
def test_no_field_of_a_record_may_hold_another_type(folder: Path, field: str, values: list[Any]) -> None:
    lines = (folder / RECORDS).read_text().splitlines()
    for value in values:
        record = json.loads(lines[1]) | {field: value}
        (folder / RECORDS).write_text("\n".join([lines[0], json.dumps(record), *lines[2:]]) + "\n")
        with pytest.raises(BatchError, match="line 2"):
            read_batch(folder)


@pytest.mark.parametrize("line", ["NaN", "null", "[]", "[" * 100_000, "\ud800", "{}", "x"])
def test_a_line_that_is_no_record_is_named(folder: Path, line: str) -> None:
    lines = (folder / RECORDS).read_text().splitlines()
    (folder / RECORDS).write_bytes("\n".join([*lines[:-1], line]).encode("utf-8", "surrogatepass") + b"\n")
    with pytest.raises(BatchError, match=f"line {len(lines)}"):
        read_batch(folder)


def test_a_pair_may_not_stand_twice(folder: Path) -> None:
    lines = (folder / RECORDS).read_text().splitlines()
    (folder / RECORDS).write_text("\n".join([lines[0], lines[0], *lines[2:]]) + "\n")
    with pytest.raises(BatchError, match="stands twice"):
        read_batch(folder)


SIGNED: dict[str, Any] = {
    "batch_id": "b", "signed_by": "ana", "at": "2026", "files": {"a": "b"}, "records": ["c"], "public_key": "d", "signature": "e",
    "head": {"event": 1, "hash": "f"}, "checklist": [{"name": "n", "holds": True}],
}  # fmt: skip


@pytest.mark.parametrize("field", [name for name in SIGNED if name != "checklist"])
def test_no_field_of_a_signature_may_hold_another_type(field: str) -> None:
    assert check_signature(SIGNED, "here") == SIGNED
    for value in (None, 5, [[]], {"x": []}, "a\x00b", [5]):
        with pytest.raises(SignatureError, match=field):
            check_signature(SIGNED | {field: value}, "here")


# Arrays and columns -------------------------------------------------------------------------------------------------


def archive(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as out:
        for name, data in members.items():
            out.writestr(f"{name}.npy", data)


def header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": dtype, "fortran_order": False, "shape": shape})
    return out.getvalue()


@pytest.mark.parametrize("shape", [(10**12,), (10**6, 10**6), (2**62,), (-1,), (3, -5), (4,)])
def test_an_array_that_claims_more_than_the_file_holds_is_refused_before_it_takes_memory(
    tmp_path: Path, shape: Any
) -> None:
    path = tmp_path / "a.npz"
    archive(path, x=header(shape) + b"\0" * 24)
    with pytest.raises(ArraysError):
        load_arrays(path, ("x",))


@pytest.mark.parametrize("dtype", ["|O", "<M8[D]", "<c16", "|S1", "|b1", "V8"])
def test_arrays_of_anything_but_numbers_and_text_are_refused(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "a.npz"
    archive(path, x=header((1,), dtype) + b"\0" * 16)
    with pytest.raises(ArraysError):
        load_arrays(path, ("x",))


def test_an_array_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for array in (
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.eye(3)),
        np.zeros((0, 4)),
        np.array("text"),
        np.array(2.5),
    ):
        for save in (np.savez, np.savez_compressed):
            save(path, x=array)
            found = load_arrays(path, ("x",))["x"]
            assert found.shape == array.shape
            assert found.dtype == array.dtype
            assert np.array_equal(found, array)


@pytest.mark.parametrize(
    "fisher", [np.zeros(0), np.zeros((0, 0)), np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan), np.array("x"), -np.eye(4), np.triu(np.ones((4, 4)))]
)  # fmt: skip
def test_a_criterion_that_is_none_is_a_sentence(folder: Path, fisher: Any) -> None:
    with np.load(folder / CRITERION) as stored:
        prior = stored["prior"]
    np.savez(folder / CRITERION, fisher=fisher, prior=prior)
    with pytest.raises(BatchError):
        read_criterion(folder)


@pytest.mark.parametrize("name", ["head", "mean", "components", "scalars", "explained_variance_ratio"])
def test_a_space_of_another_shape_is_a_sentence(folder: Path, name: str) -> None:
    with np.load(folder / SPACE) as stored:
        arrays = {key: stored[key] for key in stored}
    for odd in (
        np.zeros((2, 2, 2)),
        np.array(1.0),
        np.array("{}"),
        np.array("[" * 9000),
        np.array(["a"]),
        np.full(3, np.nan),
        ...,
    ):
        changed = {key: value for key, value in arrays.items() if odd is not ... or key != name}
        np.savez(folder / SPACE, **(changed if odd is ... else {**changed, name: odd}))
        with pytest.raises(CurationError):
            Space.load(folder / SPACE)


def test_vectors_of_other_pairs_or_another_dimension_are_a_sentence(folder: Path) -> None:
    table = pq.read_table(folder / SELECTED)
    batch = read_batch(folder)
    pq.write_table(table.slice(1), folder / SELECTED)
    with pytest.raises(BatchError, match="other pairs"):
        read_information(batch)
    for column in (pa.nulls(table.num_rows), pa.array([[1.0]] * table.num_rows), pa.array(["x"] * table.num_rows)):
        pq.write_table(table.set_column(table.column_names.index("vector"), "vector", column), folder / SELECTED)
        with pytest.raises(BatchError):
            read_information(batch)
