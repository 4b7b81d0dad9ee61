"""Ids survive spreadsheets, and answers without a name get the one that is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.batch.presentation import opaque_id, present, sheet_original, sheet_safe
from curation.errors import ImportLabelsError
from curation.exchange.decode import decode
from curation.exchange.people import with_name
from tests.desk.answers import (
    HEADER,
    SEED,
    as_csv,
    read,
    records,
    rows,
)


def in_a_spreadsheet(cell: str) -> str:
    """What Excel leaves of a cell: a number is shown by six digits, as it then saves it."""
    if re.fullmatch(r"\s*[+-]?\d+(\.\d*)?(e[+-]?\d+)?\s*", cell, re.IGNORECASE):
        return f"{float(cell):.5E}" if len(cell) > 11 else f"{float(cell):g}"
    return cell


def test_no_id_of_a_large_export_is_a_number_to_a_spreadsheet() -> None:
    many = [{**record, "pair_id": f"{n * 2654435761 % 2**64:016x}"} for n, record in enumerate(records(20_000))]
    many[0]["pair_id"], many[1]["pair_id"] = "1234567890123456", "12345678901234e5"
    shown, _ = present(many, header=HEADER, order="fixed")
    ids = [name for row in shown for name in (row.pair_id, row.left_id, row.right_id)]
    assert [in_a_spreadsheet(name) for name in ids] == ids
    bare = [sheet_original(name) for name in ids]
    assert sum(in_a_spreadsheet(name) != name for name in bare) > 100  # the digits alone would have been
    assert shown[0].pair_id == "x1234567890123456"
    assert all(sheet_safe(name) == sent for name, sent in zip(bare, ids, strict=True))


@pytest.mark.parametrize("sent", [sheet_safe, sheet_original])
def test_ids_decode_with_and_without_the_x(tmp_path: Path, sent: Callable[[str], str]) -> None:
    (record,) = records(1)
    record |= {"pair_id": "1234567890123456"}
    batch, n = "9" * 16, 0
    while not opaque_id(SEED, record["pair_id"], record["response_a_id"]).startswith("x"):
        n += 1
        record["response_a_id"] = f"r{n}"
    names = [opaque_id(SEED, record["pair_id"], record[f"response_{side}_id"]) for side in "ab"]
    row = {
        "batch_id": sent(batch), "pair_id": sent(record["pair_id"]), "left_id": sent(names[0]),
        "right_id": sent(names[1]), "preference": "left", "annotator": "eve",
    }  # fmt: skip
    made = decode(read(tmp_path / "x.csv", as_csv([row])).labels, [record], batch_id=batch, batch_seed=SEED)
    assert [(label.pair_id, label.outcome) for label in made.labels] == [(record["pair_id"], "a")]
    row["left_id"] = "7.68580E+11"
    made = decode(read(tmp_path / "x.csv", as_csv([row])).labels, [record], batch_id=batch, batch_seed=SEED)
    assert "a number that a spreadsheet made of an id" in made.unknown_examples[0]


# Names --------------------------------------------------------------------------------------------------------------


def test_a_given_name_is_for_answers_without_one(tmp_path: Path) -> None:
    table = rows(2)
    table[1]["annotator"] = ""
    found = read(tmp_path / "x.csv", as_csv(table)).labels
    assert [answer.annotator for answer in with_name(found, " bob ")] == ["eve", "bob"]
    with pytest.raises(ImportLabelsError, match=r"every answer of the file names its annotator.*'eve'"):
        with_name(found[:1], "bob")
    for name in ("", " ", "unnamed", "a\nb", "\ud800", "x" * 201):
        with pytest.raises(ImportLabelsError, match="is no name"):
            with_name(found, name)


# Round trips and mutations ------------------------------------------------------------------------------------------
