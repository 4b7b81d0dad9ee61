"""What Argilla exports: submitted answers apart from drafts, further questions kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation.errors import ImportLabelsError
from tests.desk.answers import (
    argilla,
    as_csv,
    decoded,
    parquet,
    read,
)


@pytest.mark.parametrize("layout", ["api", "flat"])
@pytest.mark.parametrize("arrangement", ["list", "items", "lines", "columns", "index", "csv", "parquet"])
def test_submitted_answers_are_told_from_drafts_in_every_layout(tmp_path: Path, layout: str, arrangement: str) -> None:
    made = argilla(layout)
    if layout == "api" and arrangement in ("csv", "parquet"):
        pytest.skip("nested records are no table")
    contents: dict[str, tuple[str, Any]] = {
        "list": ("x.json", made),
        "items": ("x.json", {"items": made, "total": 2}),
        "lines": ("x.jsonl", "".join(json.dumps(item) + "\n" for item in made)),
        "columns": ("x.json", {name: [item[name] for item in made] for name in made[0]}),
        "index": ("x.json", {item["id"]: item for item in made}),
        "csv": ("x.csv", as_csv(made) if arrangement == "csv" else ""),
        "parquet": ("x.parquet", parquet(made) if arrangement == "parquet" else b""),
    }
    found = read(tmp_path / contents[arrangement][0], contents[arrangement][1])
    assert found.format == "argilla"
    assert [(a.choice, a.annotator, a.cancelled) for a in found.labels] == [
        ("left", "eve", False), ("right", "eve", False), ("skip", "bob", True),
    ]  # fmt: skip
    assert found.told == {"drafts left out": 1}
    assert len(decoded(found).labels) == 3


def test_a_file_without_status_says_that_it_has_none(tmp_path: Path) -> None:
    found = read(tmp_path / "x.json", argilla("sdk"))
    assert len(found.labels) == 4
    (said,) = found.told.items()
    assert said[0].startswith("answers of unknown status")
    assert said[1] == 4


def test_further_questions_are_kept_beside_and_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    flat = argilla("flat")
    flat[0] |= {"why.responses": ["short"], "why.responses.users": ["eve"], "why.responses.status": ["submitted"]}
    found = read(tmp_path / "x.json", flat)
    assert found.labels[0].further == (("why", "short"),)
    flat[0]["preference.responses.users"] = ["eve"]
    with pytest.raises(ImportLabelsError, match=r"item 1: preference\.responses has 2 answers and 1 users"):
        read(tmp_path / "x.json", flat)


# Ids ----------------------------------------------------------------------------------------------------------------
