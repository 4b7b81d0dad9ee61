"""Texts that a receiving tool refuses or cuts are told before the batch leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation.errors import ExportError
from curation.exchange.tools.base import TOOLS
from tests.desk.exports import record, write

PLACES: dict[str, dict[str, Any]] = {
    "left or right": {"response_b": "cut\0here"},
    "the prompt": {"prompt": "why\0not"},
    "a message": {"prompt": [{"role": "system", "content": "be\0brief"}, {"role": "user", "content": "why?"}]},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("to", ["label-studio", "argilla", "csv"])
def test_a_nul_is_refused_where_the_tool_refuses_it_with_the_pair_and_a_remedy(
    tmp_path: Path, to: str, place: str
) -> None:
    bad = record(2, **PLACES[place])
    with pytest.raises(ExportError, match=rf"1 pairs hold the character NUL .*{bad['pair_id']}.*jsonl or parquet"):
        write(tmp_path, [record(1), bad], to)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["parquet", "jsonl"])
def test_a_nul_goes_out_with_a_note_where_the_format_carries_it(tmp_path: Path, to: str) -> None:
    found = write(tmp_path, [record(1), record(2, response_a="\0")], to)
    assert len(found.notes) == 1
    assert "1 pairs hold the character NUL" in found.notes[0]
    assert record(2)["pair_id"] in found.notes[0]


def test_many_pairs_with_a_nul_are_counted_and_three_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"^5 pairs .* and others\)"):
        write(tmp_path, [record(n, response_a=f"{n}\0") for n in range(5)], "csv")


def test_a_pair_of_identical_texts_stops_nothing_since_it_does_not_go_out(tmp_path: Path) -> None:
    assert write(tmp_path, [record(1), record(2, response_a="\0", response_b="\0")], "label-studio").pairs == 1


@pytest.mark.parametrize(("length", "noted"), [(32_767, False), (32_768, True)])
def test_cells_longer_than_a_spreadsheet_holds_are_noted(tmp_path: Path, length: int, noted: bool) -> None:
    found = write(tmp_path, [record(1, response_a="x" * length)], "csv")
    assert bool(found.notes) == noted
    assert write(tmp_path, [record(1, response_a="x" * length)], "jsonl", name="other").notes == ()


@pytest.mark.parametrize("to", TOOLS.names())
def test_plain_texts_have_no_notes(tmp_path: Path, to: str) -> None:
    assert write(tmp_path, [record(1, response_a="tab\t and \x01 and \U0001f600")], to).notes == ()


def test_the_command_line_prints_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from curation.cli.app import main
    from curation.exchange import send

    def told(folder: Any, **given: Any) -> dict[str, Any]:
        return {"rows": 1, "pairs": 1, "left_out": {}, "also_written": [], "notes": ["1 pairs"], "annotators": {}}

    monkeypatch.setattr(send, "export_batch", told)
    asked = ["export", str(tmp_path), "--to", "csv", "--out", str(tmp_path / "x.csv"), "--unsigned"]
    assert main(asked) == 0
    assert "note: 1 pairs" in capsys.readouterr().out
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == ["1 pairs"]
