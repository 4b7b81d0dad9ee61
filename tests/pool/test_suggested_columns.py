"""The columns that the form on the Pool page suggests: more than the reader takes by itself."""

from __future__ import annotations

from pathlib import Path

from curation.pool.readers.mapping import guess_mapping, suggest_mapping
from curation.pool.readers.read import SHOWN_CELL, asks_for_columns, column_mapping_choices


def test_columns_in_other_languages_are_suggested_and_never_taken_unseen() -> None:
    columns = ["Frage", "Antwort", "Modell", "Note", "Thema"]
    assert suggest_mapping(columns) == {
        "prompt": "Frage", "response": "Antwort", "generator": "Modell", "quality": "Note", "stratum": "Thema",
    }  # fmt: skip
    assert "prompt" not in guess_mapping(columns)
    assert suggest_mapping(["Requête", "Réponse"]) == {"prompt": "Requête", "response": "Réponse"}


def test_what_is_guessed_stands_and_no_column_serves_twice() -> None:
    columns = ["question", "frage", "answer", "note"]
    assert suggest_mapping(columns)["prompt"] == "question"
    found = suggest_mapping(["frage", "antwort", "frage_id"])
    assert len(set(found.values())) == len(found)


def test_the_first_rows_are_shown_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Frage,Antwort\nq1," + "x" * 500 + "\nq1,b\nq2,c\nq2,d\n", encoding="utf-8")
    assert asks_for_columns(path)
    choices = column_mapping_choices(path)
    assert choices.suggested == {"prompt": "Frage", "response": "Antwort"}
    assert [row["Frage"] for row in choices.rows] == ["q1", "q1", "q2"]
    assert len(choices.rows[0]["Antwort"]) == SHOWN_CELL
