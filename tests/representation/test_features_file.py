"""The features file: matched by ids, checked by name, written atomically."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.errors import FeaturesError
from curation.representation.features_file import read_features, write_features

IDS = [("p1", "r0"), ("p1", "r1"), ("p2", "r0"), ("p2", "r1")]
MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3) / 8  # exact in float16


def _write_columns(path: Path, **columns: object) -> Path:
    base: dict[str, object] = {
        "prompt_id": [p for p, _ in IDS],
        "response_id": [r for _, r in IDS],
        "features": pa.array(MATRIX.tolist(), pa.list_(pa.float32(), 3)),
    }
    base.update(columns)
    pq.write_table(pa.table({k: v for k, v in base.items() if v is not None}), path)
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    logprob = np.array([-1.5, np.nan, -3.25, -4.0])
    tokens = np.array([3, 4, 5, 6], dtype=np.int32)
    path = write_features(
        tmp_path / "f.parquet", IDS, MATRIX, reference_logprob=logprob, n_tokens=tokens, metadata={"model": "m"}
    )
    table = read_features(path, IDS)
    np.testing.assert_array_equal(table.matrix, MATRIX)
    assert table.matrix.dtype == np.float32
    np.testing.assert_array_equal(table.reference_logprob, logprob)
    np.testing.assert_array_equal(table.n_tokens, tokens)
    assert table.metadata["model"] == "m"
    assert table.extra_ids == 0
    assert any("1 of 4" in note for note in table.notes)  # the unknown log-probability is said
    assert [entry.name for entry in tmp_path.iterdir()] == ["f.parquet"]  # no temporary file is left


def test_rows_are_matched_by_ids_in_any_order_and_extra_rows_are_counted(tmp_path: Path) -> None:
    logprob = np.array([-1.0, -2.0, -3.0, -4.0])
    path = write_features(tmp_path / "f.parquet", IDS, MATRIX, reference_logprob=logprob)
    table = read_features(path, [IDS[3], IDS[0]])
    np.testing.assert_array_equal(table.matrix, MATRIX[[3, 0]])
    np.testing.assert_array_equal(table.reference_logprob, [-4.0, -1.0])
    assert table.extra_ids == 2


def test_ids_are_not_confused_when_prompt_and_response_ids_concatenate_alike(tmp_path: Path) -> None:
    ids = [("a", "bc"), ("ab", "c")]
    path = write_features(tmp_path / "f.parquet", ids, MATRIX[:2])
    np.testing.assert_array_equal(read_features(path, ids[::-1]).matrix, MATRIX[[1, 0]])


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("shape", ["fixed", "list", "large"])
def test_every_list_and_float_type_reads_the_same_across_row_groups(
    tmp_path: Path, kind: pa.DataType, shape: str
) -> None:
    rows = MATRIX.astype(kind.to_pandas_dtype())
    of = {"fixed": pa.list_(kind, 3), "list": pa.list_(kind), "large": pa.large_list(kind)}[shape]
    table = pa.table({"prompt_id": [p for p, _ in IDS], "response_id": [r for _, r in IDS]})
    table = table.append_column("features", pa.array(list(rows), of))
    pq.write_table(table, tmp_path / "f.parquet", row_group_size=1)
    np.testing.assert_array_equal(read_features(tmp_path / "f.parquet", IDS[::-1]).matrix, MATRIX[::-1])


def test_the_fingerprint_ignores_the_file_order_and_sees_every_number(tmp_path: Path) -> None:
    def fingerprint(order: list[int], matrix: np.ndarray, logprob: np.ndarray) -> str:
        path = tmp_path / "f.parquet"
        write_features(path, [IDS[i] for i in order], matrix[order], reference_logprob=logprob[order])
        return read_features(path, IDS).fingerprint

    logprob = np.array([-1.0, -2.0, -3.0, -4.0])
    same = fingerprint([0, 1, 2, 3], MATRIX, logprob)
    assert len(same) == 16
    assert fingerprint([2, 0, 3, 1], MATRIX, logprob) == same
    changed = MATRIX.copy()
    changed[2, 1] += 0.125
    assert fingerprint([0, 1, 2, 3], changed, logprob) != same
    assert fingerprint([0, 1, 2, 3], MATRIX, logprob - 1) != same


def test_a_missing_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(FeaturesError, match=r"does not exist.*python -m curation features"):
        read_features(tmp_path / "none.parquet", IDS)


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "f.parquet").write_text("prompt_id,response_id\n")
    with pytest.raises(FeaturesError, match="not a readable Parquet"):
        read_features(tmp_path / "f.parquet", IDS)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = write_features(tmp_path / "f.parquet", IDS, MATRIX)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FeaturesError, match="not a readable Parquet"):
        read_features(path, IDS)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeaturesError, match="no column 'features'"):
        read_features(_write_columns(tmp_path / "f.parquet", features=None), IDS)


def test_missing_ids_are_counted_with_the_first_three(tmp_path: Path) -> None:
    path = write_features(tmp_path / "f.parquet", IDS, MATRIX)
    with pytest.raises(FeaturesError, match=r"1 of 5 responses \(first: p9/r0\)") as few:
        read_features(path, [*IDS, ("p9", "r0")])
    assert "another pool" not in str(few.value)
    with pytest.raises(FeaturesError, match=r"4 of 4 .*q0/r, q1/r, q2/r\).*another pool.*curation features"):
        read_features(path, [(f"q{i}", "r") for i in range(4)])


def test_repeated_ids_are_named(tmp_path: Path) -> None:
    path = _write_columns(tmp_path / "f.parquet", prompt_id=["p1", "p1", "p1", "p2"], response_id=["a", "b", "b", "a"])
    with pytest.raises(FeaturesError, match=r"1 ids stand on more than one row.*p1/b"):
        read_features(path, [("p1", "a")])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_non_finite_values_name_the_first_response(tmp_path: Path, value: float) -> None:
    rows = MATRIX.astype(np.float64)
    rows[[1, 3], 2] = value
    path = _write_columns(tmp_path / "f.parquet", features=pa.array(rows.tolist(), pa.list_(pa.float64(), 3)))
    with pytest.raises(FeaturesError, match=r"2 responses .*not finite \(first: p1/r1\)"):
        read_features(path, IDS)
    assert read_features(path, [IDS[0], IDS[2]]).extra_ids == 2  # rows that nobody asked for do no harm


def test_null_features_empty_lists_unequal_lists_and_wrong_types_are_named(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    cases = {
        "1 rows have no features": pa.array([[1.0], None, [2.0], [3.0]], pa.list_(pa.float32(), 1)),
        "lists are empty": pa.array([[], [], [], []], pa.list_(pa.float32())),
        "1 to 2 numbers": pa.array([[1.0], [1.0, 2.0], [1.0], [1.0]], pa.list_(pa.float32())),
        "not a list of float": pa.array(["a", "b", "c", "d"]),
    }
    for message, features in cases.items():
        with pytest.raises(FeaturesError, match=message):
            read_features(_write_columns(path, features=features), IDS)


def test_an_infinite_logprob_is_an_error_and_a_positive_one_a_note(tmp_path: Path) -> None:
    path = _write_columns(tmp_path / "f.parquet", reference_logprob=[-1.0, -np.inf, -1.0, -1.0])
    with pytest.raises(FeaturesError, match=r"1 values of reference_logprob are infinite \(first: p1/r1\)"):
        read_features(path, IDS)
    path = _write_columns(tmp_path / "f.parquet", reference_logprob=[-1.0, 2.0, -1.0, -1.0])
    assert any("above 0" in note for note in read_features(path, IDS).notes)


def test_a_logprob_column_without_any_value_counts_as_absent(tmp_path: Path) -> None:
    path = _write_columns(tmp_path / "f.parquet", reference_logprob=pa.nulls(4, pa.float64()))
    assert read_features(path, IDS).reference_logprob is None


def test_another_pool_fingerprint_is_a_note_and_the_same_one_is_silent(tmp_path: Path) -> None:
    path = write_features(tmp_path / "f.parquet", IDS, MATRIX, metadata={"pool_fingerprint": "aaaa"})
    assert read_features(path, IDS, pool_fingerprint="aaaa").notes == ()
    (note,) = read_features(path, IDS, pool_fingerprint="bbbb").notes
    assert "aaaa" in note
    assert "bbbb" in note


def test_writing_refuses_repeated_ids_and_values_that_overflow_float16(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    with pytest.raises(FeaturesError, match="1 ids repeat"):
        write_features(path, [*IDS[:3], IDS[0]], MATRIX)
    with pytest.raises(FeaturesError, match=r"1 responses .*float16 \(first: p1/r0\).*float32"):
        write_features(path, IDS, MATRIX + np.array([[1e6], [0], [0], [0]]))
    assert not path.exists()
    write_features(path, IDS, MATRIX + 1e6, dtype="float32")
    np.testing.assert_array_equal(read_features(path, IDS).matrix, MATRIX + np.float32(1e6))


def test_eighteen_thousand_rows_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [(f"p{i // 60}", f"r{i % 60}") for i in range(18_000)]
    matrix = rng.normal(size=(18_000, 384))
    write_features(tmp_path / "f.parquet", ids, matrix)
    order = rng.permutation(18_000)
    table = read_features(tmp_path / "f.parquet", [ids[i] for i in order])
    assert np.allclose(table.matrix, matrix[order], atol=4e-3)  # float16 file


def test_the_shipped_features_have_one_finite_row_per_answer() -> None:
    folders = [Path(part) for part in os.environ.get("CURATION_POOLS", "../shared/pools").split(os.pathsep)]
    path = next(
        (f / "answers_dev.features.parquet" for f in folders if (f / "answers_dev.features.parquet").exists()), None
    )
    if path is None:
        pytest.skip("answers_dev.features.parquet is in none of the CURATION_POOLS folders")
    stored = pq.read_table(path, columns=["prompt_id", "response_id"])
    ids = list(zip(stored["prompt_id"].to_pylist(), stored["response_id"].to_pylist(), strict=True))
    table = read_features(path, ids[::-1])
    assert table.matrix.shape == (2400, 384)
    raw = pq.read_table(path)["features"]
    np.testing.assert_array_equal(table.matrix[-1], np.array(raw[0].as_py(), dtype=np.float32))
    np.testing.assert_array_equal(table.matrix[0], np.array(raw[-1].as_py(), dtype=np.float32))
