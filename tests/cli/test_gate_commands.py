"""Every command that writes into the workspace asks the role of --as first; the author of a design is recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from curation.batch.folder import read_batch
from curation.batch.records import save_batch
from curation.cli.app import app, main
from curation.review.register import record_batch, save_for_review
from curation.review.signing_key import KEY
from curation.review.store.store import Store, open_store
from tests.desk.viewing import contents, files_of

ASK = "decide export import-labels rate settle sign people topup".split()
OWN_FILES = (  # read, or write files of the operating system's user where they are told to: nothing that others share
    "check features model solve compare bench verify labels backtest dashboard 'experiment tabular' 'experiment contextual' 'experiment imdb' "
    "'experiment hh' 'experiment answers'"
)


def commands(group: Any, before: str = "") -> set[str]:
    found = set()
    for name, command in group.commands.items():
        found |= commands(command, f"{before}{name} ") if hasattr(command, "commands") else {before + name}
    return found


def test_every_command_is_known_to_ask_or_to_write_only_its_own_files() -> None:
    import shlex

    assert commands(typer.main.get_command(app)) == {*ASK, *shlex.split(OWN_FILES)}


def calls(d: Any) -> dict[str, list[str]]:
    folder, copy = str(d.batch.path), str(d.copied())
    return {
        "decide": ["decide", folder, str(d.csv)],
        "decide a copy": ["decide", copy, str(d.csv)],
        "export": ["export", folder, "--to", "csv", "--out", str(d.folder / "o.csv")],
        "export unsigned": ["export", copy, "--to", "csv", "--out", str(d.folder / "o.csv"), "--unsigned"],
        "export trl": ["export", folder, "--to", "trl", "--out", str(d.folder / "t.jsonl")],
        "import-labels": ["import-labels", copy, str(d.labels)],
        "settle": ["settle", folder, d.keys[0], "a"],
        "rate": ["rate", folder, "--judge", "http://127.0.0.1:9/v1", "--judge-model", "m"],
        "sign": ["sign", copy],
        "people": ["people", "mallory", "--role", "admin"],
        "people none": ["people", "bea", "--role", "none"],
        "topup": ["topup", folder, str(d.pool_file), "--features", str(d.features)],
    }


@pytest.mark.parametrize("who", ["vic", "nobody named"])
def test_no_command_lets_a_viewer_or_a_stranger_change_anything(ready: Any, who: str, capfd: Any) -> None:
    given = calls(ready)
    assert {name.split()[0] for name in given} == set(ASK)
    before, files = contents(ready.store.place), files_of(ready.folder)
    for name, arguments in given.items():
        assert main([*arguments, "--as", who]) == 1, name
        assert "may not do this" in capfd.readouterr().err, name
        assert contents(ready.store.place) == before, name
        assert files_of(ready.folder) == files, name


def test_people_without_as_is_nobody_once_somebody_is_named(ready: Any, capfd: Any) -> None:
    assert main(["people", "ada", "--role", "viewer"]) == 1
    assert "nobody is named" in capfd.readouterr().err
    assert main(["people", "bea", "--role", "none", "--as", "ada"]) == 0
    assert ready.store.people() == {"ada": "admin", "vic": "viewer"}
    assert main(["people", "ada", "--role", "none", "--as", "ada"]) == 1
    assert "without an administrator" in capfd.readouterr().err


def test_trl_rows_are_recorded_under_the_name_of_as(ready: Any, tmp_path: Path) -> None:
    out = str(tmp_path / "t.jsonl")
    assert main(["export", str(ready.batch.path), "--to", "trl", "--out", out, "--as", "bea"]) == 0
    sent = ready.store.exports(ready.batch.batch_id)[-1]
    assert (sent.format, sent.file, sent.who, sent.signed) == ("trl", out, "bea", False)
    assert ready.store.events(ready.batch.batch_id)[-1].who == "bea"


# --- whose design it is ---


def solve(solved: dict[str, Any], out: Path, *more: str) -> dict[str, Any]:
    asked = ["--features", str(solved["features"]), "--budget", "12", "--dim", "5", "--out", str(out)]
    assert main(["solve", str(solved["pool_file"]), *asked, *more]) == 0
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return found


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of an empty workspace."""
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv(KEY, str(tmp_path / "key.pem"))
    store = open_store()
    yield store
    store.close()


@pytest.fixture
def authored(solved: dict[str, Any], fresh: Store, tmp_path: Path) -> Any:
    """A batch that ana solved and bea was the first to decide, fully approved."""
    save_batch(solved["made"], tmp_path / "b", author="ana")
    batch = read_batch(tmp_path / "b")
    lines = [f"{record['pair_id']},approve" for record in batch.records]
    (tmp_path / "d.csv").write_text("\n".join(["pair_id,decision", *lines]))
    assert main(["decide", str(batch.path), str(tmp_path / "d.csv"), "--as", "bea"]) == 0
    return batch, fresh


def test_the_author_stands_in_the_manifest_and_changes_no_id(solved: dict[str, Any], tmp_path: Path) -> None:
    plain, named = solve(solved, tmp_path / "a"), solve(solved, tmp_path / "b", "--as", " ana ")
    assert named["author"] == "ana"
    assert "author" not in plain
    assert named["batch_id"] == plain["batch_id"]


def test_who_solved_a_batch_does_not_sign_it_whoever_registers_it_first(authored: Any, capfd: Any) -> None:
    batch, store = authored
    assert store.batches()[0].created_by == "ana"
    first = store.events(batch.batch_id)[0]
    assert (first.kind, first.who, first.body["author"]) == ("batch", "bea", "ana")
    assert main(["sign", str(batch.path), "--as", "ana", "--acknowledge", "all"]) == 1
    assert "ana proposed batch" in capfd.readouterr().err
    assert main(["sign", str(batch.path), "--as", "bea", "--acknowledge", "all"]) == 0


def test_another_spelling_of_the_author_does_not_sign_either(authored: Any, capfd: Any) -> None:
    for who, words in (("Ana", "proposed batch"), ("ANA ", "proposed batch"), ("ana\u200b", "U+200B")):
        assert main(["sign", str(authored[0].path), "--as", who, "--acknowledge", "all"]) == 1
        assert words in capfd.readouterr().err


def test_a_manifest_without_an_author_is_proposed_by_whoever_registers_it(
    solved: dict[str, Any],
    fresh: Store,
    tmp_path: Path,
) -> None:
    save_batch(solved["made"], tmp_path / "b")
    record_batch(fresh, read_batch(tmp_path / "b"), who="cat")
    assert fresh.batches()[0].created_by == "cat"
    made = save_for_review(solved["made"], pinned=[], excluded=[], store=fresh, who="bea", author="ana")
    assert made.manifest["author"] == "ana"


def test_a_design_cannot_be_a_name_that_is_none(solved: dict[str, Any], tmp_path: Path, capfd: Any) -> None:
    asked = ["--features", str(solved["features"]), "--budget", "12", "--out", str(tmp_path / "b"), "--as", "a\u200bna"]
    assert main(["solve", str(solved["pool_file"]), *asked]) == 1
    assert "U+200B" in capfd.readouterr().err
