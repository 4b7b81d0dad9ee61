"""Labels of several files: nobody's answers replace another's in silence, and one person stays one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curation.batch.folder import read_batch
from curation.cli.app import app
from curation.errors import ImportLabelsError, PoolError, StoreError
from curation.exchange.receive import import_labels
from curation.pool.labels import JUDGE, SETTLED, Label, in_force, people_only, reserved
from curation.pool.pair_lists import pair_list_csv, read_pair_list
from curation.review.store.decisions import read_decisions_csv
from curation.review.store.store import Store
from tests.desk.labels import exported, studio, write


def table(made: dict[str, Any], store: Store, folder: Path, preference: str, **more: str) -> Path:
    """The exported CSV, filled in with one answer throughout and nobody's name."""
    path = folder / "tasks.csv"
    if not path.exists():
        exported(made, store, folder, "csv")
    with path.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    out = folder / f"{preference}{len(more)}.csv"
    with out.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, [*rows[0], *more])
        writer.writeheader()
        writer.writerows({**row, "preference": preference, **more} for row in rows)
    return out


def test_a_second_file_of_somebody_unnamed_is_refused_until_it_has_a_name(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    first = import_labels(made["batch"], table(made, store, tmp_path, "left"), store=store)
    assert first["unnamed"] == first["labels"] == first["new"]
    assert any("--annotator NAME" in note for note in first["notes"])
    kept = store.labels(first["batch_id"])
    other = table(made, store, tmp_path, "right")
    with pytest.raises(ImportLabelsError, match=r"12 answers of this file .*name no annotator.*--annotator NAME"):
        import_labels(made["batch"], other, store=store)
    assert store.labels(first["batch_id"]) == kept
    assert len(store.imports(first["batch_id"])) == 1
    told = import_labels(made["batch"], other, annotator="bob", store=store)
    assert (told["new"], told["replaced"], told["unnamed"]) == (12, 0, 0)
    assert {label.annotator for label in store.labels(first["batch_id"])} == {"unnamed", "bob"}
    assert import_labels(made["batch"], table(made, store, tmp_path, "left"), store=store)["same"] == 12


def test_the_command_takes_a_name_and_says_what_is_no_label(
    made: dict[str, Any], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{store.place}")
    file = table(made, store, tmp_path, "left", comment="unsure")
    lines = file.read_text().split("\n")
    lines[1] = lines[1].replace(",left,", ",,")
    file.write_text("\n".join(lines))
    run = CliRunner().invoke(app, ["import-labels", str(made["batch"]), str(file), "--annotator", "eve"])
    assert run.exit_code == 0, run.output
    assert "1 not answered, which is no skip" in run.output
    assert "comment (11)" in run.output
    assert "1 remarks beside answers that are no label, left out" in run.output
    (kept,) = store.imports(read_batch(made["batch"]).batch_id)
    assert [texts for *_, texts in kept.counts["further"]] == [{"comment": "unsure"}] * 11
    assert {label.annotator for label in store.labels(kept.batch_id)} == {"eve"}


@pytest.mark.parametrize("order", [1, -1])
def test_one_person_by_number_and_by_address_is_one_annotator(
    made: dict[str, Any], store: Store, tmp_path: Path, order: int
) -> None:  # fmt: skip
    tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
    pages = studio(made, tasks)
    server = json.loads(json.dumps(pages))
    for item in server:
        item["annotations"][0]["completed_by"] = 7
    first, second = [write(tmp_path / f"{n}.json", items) for n, items in enumerate([pages, server])][::order]
    import_labels(made["batch"], first, store=store)
    told = import_labels(made["batch"], second, store=store)
    assert (told["new"], told["replaced"], told["same"]) == (0, 0, len(tasks))
    for item in server:  # another server, whose annotations have the same numbers
        item["annotations"][0] |= {"completed_by": 1, "created_at": "2026-02-02T00:00:00Z"}
    told = import_labels(made["batch"], write(tmp_path / "other.json", server), store=store)
    assert told["new"] == len(tasks)
    for item in pages:  # and one whose people have other addresses
        item["annotations"][0]["completed_by"] = {"id": 1, "email": "bob@x"}
    told = import_labels(made["batch"], write(tmp_path / "bob.json", pages), store=store)
    assert told["new"] == len(tasks)


def test_an_older_export_takes_no_newer_answer_back(
    made: dict[str, Any], store: Store, tmp_path: Path
) -> None:  # fmt: skip
    tasks = json.loads(exported(made, store, tmp_path, "label-studio").read_text())
    items = studio(made, tasks)
    for item in items:
        item["annotations"][0] |= {"created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z"}
    old = write(tmp_path / "old.json", items)
    for item in items:
        item["annotations"][0]["updated_at"] = "2026-01-05T00:00:00Z"
        item["annotations"][0]["result"][0]["value"] = {"choices": ["tie"]}
    new = write(tmp_path / "new.json", items)
    import_labels(made["batch"], new, store=store)
    told = import_labels(made["batch"], old, store=store)
    assert (told["older"], told["replaced"], told["labels"]) == (len(tasks), 0, len(tasks))
    assert {label.outcome for label in store.labels(told["batch_id"])} == {"tie"}


SPELLINGS = {
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs, UTF-16": lambda text: text.replace(",", "\t").encode("utf-16"),
    "sep line, blank rows": lambda text: ("sep=;\n" + text.replace(",", ";") + ";;\n;\n").encode("utf-8-sig"),
    "blank columns": lambda text: text.replace("\n", ",,\n").encode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_decisions_and_pins_are_read_as_tables_are(made: dict[str, Any], tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(SPELLINGS[spelling]("pair_id,decision,version\np1,approve,2\np2,flag,\n"))
    assert [(d.pair_id, d.decision, d.version) for d in read_decisions_csv(path, {"p1", "p2"})] == [
        ("p1", "approve", 2), ("p2", "flag", None),
    ]  # fmt: skip
    prompt = made["pool"].prompts[0]
    names = [response.response_id for response in prompt.responses]
    path.write_bytes(SPELLINGS[spelling](pair_list_csv([(prompt.prompt_id, names[0], names[1])])))
    assert read_pair_list(path, made["pool"]) == [(0, 0, 1)]


def test_an_open_quote_in_decisions_or_pins_is_told_by_its_line(made: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('pair_id,decision,note\np1,approve,ok\np2,flag,"never\np3,flag,ok\n')
    with pytest.raises(StoreError, match="from line 3 on"):
        read_decisions_csv(path, {"p1", "p2", "p3"})
    path.write_text('prompt_id,note\np1,ok\np2,"never SECRET\np3,ok\n')
    with pytest.raises(PoolError, match="from line 3 on") as told:
        read_pair_list(path, made["pool"])
    assert "SECRET" not in str(told.value)


def test_answers_that_count_are_peoples_or_the_settled_one_never_a_models():
    def answer(pair: str, annotator: str, outcome: str) -> Label:
        return Label(pair, outcome, annotator, "a", 1, None)  # type: ignore[arg-type]

    labels = [answer("p", "ana", "a"), answer("p", "ben", "b"), answer("p", SETTLED, "b"), answer("q", "ana", "tie"),
              answer("q", JUDGE + "m", "a"), answer("r", JUDGE + "m", "a")]  # fmt: skip
    assert [(x.pair_id, x.annotator) for x in in_force(labels)] == [("q", "ana"), ("p", SETTLED)]
    assert [x.annotator for x in people_only(labels)] == ["ana", "ben", "ana"]
    for name in (SETTLED, JUDGE + "m"):
        assert reserved(name)


@pytest.mark.parametrize("name", [SETTLED, JUDGE + "gpt"])
def test_no_file_answers_under_a_name_that_is_no_persons(
    made: dict[str, Any], store: Store, tmp_path: Path, name: str
) -> None:  # fmt: skip
    with pytest.raises(ImportLabelsError, match="rename that annotator"):
        import_labels(made["batch"], table(made, store, tmp_path, "left", annotator=name), store=store)
    with pytest.raises(ImportLabelsError, match="is no name"):
        import_labels(made["batch"], table(made, store, tmp_path, "left"), annotator=name, store=store)
    assert store.labels(read_batch(made["batch"]).batch_id) == []
