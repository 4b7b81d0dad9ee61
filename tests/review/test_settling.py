"""Pairs on which people differ are settled: by whom may, never unseen, and then their answer counts everywhere."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.batch.folder import read_batch, read_selected
from curation.cli.app import main
from curation.cli.kinds import EXPORT
from curation.errors import BatchError, CurationError, StoreError
from curation.exchange.receive import label_report
from curation.exchange.send import export_batch, export_trl
from curation.exchange.training_files import COLUMNS, dataset_card
from curation.exchange.trl import preferences
from curation.pool.labels import MUCH, SETTLED, SLIGHTLY, Label, in_force, people_only
from curation.representation.features_file import read_features
from curation.review.earlier import earlier_batches
from curation.review.register import record_batch
from curation.review.settling import settle
from curation.review.signing_key import KEY
from curation.review.signoff import sign_batch, verify_batch
from curation.review.store.store import Store, open_store
from tests.desk import labels
from tests.desk.labels import SPACE
from tests.desk.sign_off_page import approved_sign_off
from tests.desk.stores import at_once, errors, stores

made = labels.made

SAID = {0: {"ana": "a", "ben": "b"}, 1: {"ana": "tie", "ben": "b"}, 2: {"ana": "a", "ben": "a"}, 3: {"ana": "b"}}


def say(store: Store, batch_id: str, said: dict[str, dict[str, str]], **more: Any) -> None:
    """Keep answers. said: pair -> annotator -> outcome."""
    labels = [
        Label(pair, outcome, who, "a", 1, None, **more)  # type: ignore[arg-type]
        for pair, answers in said.items()
        for who, outcome in answers.items()
    ]
    store.record_labels(batch_id, labels, file="x.csv", sha256="0", format="csv", counts={}, who="ana")


class Desk:
    """A batch whose first pairs were answered as SAID has it; `keys` are their ids: opposed, half, agreed, alone, none."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store, self.batch = folder, store, read_batch(folder)
        self.id = self.batch.batch_id
        self.keys = sorted(record["pair_id"] for record in self.batch.records)
        record_batch(store, self.batch, who="ana")
        store.decide_many(self.id, self.keys, "approve", who="ana")
        say(store, self.id, {self.keys[n]: answers for n, answers in SAID.items()})

    def settle(self, n: int, outcome: str, **more: Any) -> dict[str, Any]:
        return settle(self.folder, self.keys[n], outcome, **{"who": "cem", "store": self.store, **more})


@pytest.fixture
def desk(made: dict[str, Any], database: str) -> Iterator[Desk]:
    """On either database."""
    opened = open_store(database)
    yield Desk(made["batch"], opened)
    opened.close()


@pytest.fixture
def home(made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """In the workspace of the command line."""
    monkeypatch.setenv("CURATION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(KEY, str(tmp_path / "keys" / "key.pem"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    opened = open_store()
    yield Desk(made["batch"], opened)
    opened.close()


# Keeping an answer --------------------------------------------------------------------------------------------------


def test_a_settled_answer_counts_people_keep_theirs_and_who_settled_is_told(desk: Desk) -> None:
    before = people_only(desk.store.labels(desk.id))
    told = desk.settle(0, "b")
    assert (told["changed"], told["instead_of"], told["open"], told["who"]) == (True, None, 1, "cem")
    assert [(a["annotator"], a["outcome"]) for a in told["answers"]] == [("ana", "a"), ("ben", "b")]
    labels = desk.store.labels(desk.id)
    assert people_only(labels) == before
    assert [label for label in in_force(labels) if label.pair_id == desk.keys[0]] == [
        Label(desk.keys[0], "b", SETTLED, "a", 1, None)
    ]
    report = label_report(desk.batch, desk.store)
    assert [(one["pair_id"], one["settled"] and one["settled"]["outcome"]) for one in report["conflicts"]] == [
        (desk.keys[1], None), (desk.keys[0], "b")
    ]  # fmt: skip
    settled = report["conflicts"][1]["settled"]
    assert (settled["who"], settled["instead_of"], report["open_conflicts"]) == ("cem", None, 1)
    assert report["quality"]["annotators"] == 2
    last = desk.store.events(desk.id)[-1]
    assert (last.kind, last.who, last.body["format"], last.body["file"]) == (
        "import", "cem", "settled", f"pair {desk.keys[0]}: b"
    )  # fmt: skip
    assert desk.store.check_log(desk.id) == []
    json.dumps(report)


REFUSED = {
    "people agree": (2, "a", {}, StoreError, r"did not take different sides on pair \w+ \(ana: a, ben: a\)"),
    "one alone": (3, "a", {}, StoreError, r"\(ana: b\), so there is nothing to settle"),
    "nobody": (4, "a", {}, StoreError, "nobody answered it"),
    "a skip": (0, "skip", {}, StoreError, "'skip' is no answer a pair is settled with; use a, b, tie"),
    "instead of nothing": (0, "a", {"instead_of": "b"}, StoreError, "is not settled yet, so b is not what is kept"),
    "instead of no answer": (0, "a", {"instead_of": "left"}, StoreError, "'left' is no answer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_only_a_pair_on_which_people_differ_is_settled(desk: Desk, case: str) -> None:
    n, outcome, more, kind, words = REFUSED[case]
    labels, events = desk.store.labels(desk.id), len(desk.store.events())
    with pytest.raises(kind, match=words):
        desk.settle(n, outcome, **more)
    assert (desk.store.labels(desk.id), len(desk.store.events())) == (labels, events)


def test_a_pair_of_another_batch_is_refused(home: Desk) -> None:
    with pytest.raises(BatchError, match=r"pair '0000' is not of batch"):
        settle(home.folder, "0000", "a", who="cem", store=home.store)


def test_a_folder_that_is_not_what_was_recorded_is_not_settled_in(home: Desk, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(home.folder, tmp_path / "copy")
    lines = (tmp_path / "copy" / "batch.jsonl").read_text().splitlines()
    first = {**json.loads(lines[0]), "response_a": "another text"}
    (tmp_path / "copy" / "batch.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    with pytest.raises(BatchError, match="as it was recorded"):
        settle(tmp_path / "copy", home.keys[0], "a", who="cem", store=home.store)
    assert SETTLED not in {label.annotator for label in home.store.labels(home.id)}


def test_the_same_answer_again_changes_nothing(desk: Desk) -> None:
    desk.settle(0, "tie")
    events, imports = len(desk.store.events()), desk.store.imports(desk.id)
    for more in ({}, {"who": "dan"}, {"instead_of": "tie"}):
        assert desk.settle(0, "tie", **more)["changed"] is False
    assert (len(desk.store.events()), desk.store.imports(desk.id)) == (events, imports)


def test_a_settled_pair_is_not_overruled_unseen(desk: Desk) -> None:
    desk.settle(0, "b")
    with pytest.raises(StoreError, match=r"was settled as b by cem at .* UTC, and that stays.*instead of b"):
        desk.settle(0, "a", who="dan")
    with pytest.raises(StoreError, match=r"was settled as b by cem at .* UTC, not tie"):
        desk.settle(0, "a", who="dan", instead_of="tie")
    told = desk.settle(0, "a", who="dan", instead_of="b")
    assert (told["changed"], told["instead_of"]) == (True, "b")
    (one,) = (one for one in label_report(desk.batch, desk.store)["conflicts"] if one["settled"])
    assert (one["settled"]["outcome"], one["settled"]["who"], one["settled"]["instead_of"]) == ("a", "dan", "b")
    assert [label.outcome for label in desk.store.labels(desk.id) if label.annotator == SETTLED] == ["a"]
    assert desk.store.check_log(desk.id) == []


def test_a_settled_pair_on_which_people_agree_later_is_told_and_can_be_changed(desk: Desk) -> None:
    desk.settle(0, "b")
    say(desk.store, desk.id, {desk.keys[0]: {"ben": "a"}})  # the same presentation: it replaces the answer
    report = label_report(desk.batch, desk.store)
    assert [one["pair_id"] for one in report["conflicts"]] == [desk.keys[1]]
    (agreed,) = report["agreed_since"]
    assert (agreed["pair_id"], agreed["settled"]["outcome"]) == (desk.keys[0], "b")
    assert [answer["outcome"] for answer in agreed["answers"]] == ["a", "a"]
    assert desk.settle(0, "a", instead_of="b")["changed"]


def test_several_settle_at_once_and_one_answer_is_kept(made: dict[str, Any], database: str) -> None:
    with stores(database, 6) as people:
        desk = Desk(made["batch"], people[0])
        sides = ["a", "b", "tie"] * 2
        acts = [
            lambda s=s, w=w, side=side: settle(desk.folder, desk.keys[0], side, who=f"r{w}", store=s)
            for w, (s, side) in enumerate(zip(people, sides, strict=True))
        ]
        results = at_once(*acts)
        (kept,) = (label.outcome for label in people[0].labels(desk.id) if label.annotator == SETTLED)
        assert len(errors(results)) == 4
        assert all(f"was settled as {kept} by r" in words for words in errors(results))
        assert sorted(r["changed"] for r in results if not isinstance(r, CurationError)) == [False, True]
        others = [side for side in ("a", "b", "tie") if side != kept]
        changes = [
            lambda s=s, w=w, side=side: settle(desk.folder, desk.keys[0], side, who=f"r{w}", instead_of=kept, store=s)
            for w, (s, side) in enumerate(zip(people[:2], others, strict=True))
        ]
        (refused,) = errors(at_once(*changes))
        (now,) = (label.outcome for label in people[0].labels(desk.id) if label.annotator == SETTLED)
        assert now in others
        assert f"was settled as {now} by r" in refused
        assert f"not {kept}" in refused
        assert len([e for e in people[0].events(desk.id) if e.body.get("format") == "settled"]) == 2
        assert people[0].check_log(desk.id) == []


def test_a_signed_batch_stays_what_was_signed_and_a_changed_settlement_is_found(home: Desk) -> None:
    sign_batch(home.folder, who="dan", acknowledged=["all"], store=home.store)
    try:
        home.settle(0, "b")
        home.settle(0, "a", instead_of="b")
        verdict = verify_batch(home.folder, store=home.store)
        assert verdict.holds, verdict.problems
        assert not verdict.void
        with sqlite3.connect(home.store.place) as connection:
            connection.execute("UPDATE labels SET outcome = 'b' WHERE annotator = ?", (SETTLED,))
        assert any("labels" in problem for problem in verify_batch(home.folder, store=home.store).problems)
        with sqlite3.connect(home.store.place) as connection:
            connection.execute("UPDATE labels SET outcome = 'a' WHERE annotator = ?", (SETTLED,))
            connection.execute("UPDATE imports SET who = 'mallory' WHERE format = 'settled'")
        assert any("imports" in problem for problem in verify_batch(home.folder, store=home.store).problems)
    finally:
        (home.folder / "signature.json").unlink()


# What counts --------------------------------------------------------------------------------------------------------


def test_training_rows_take_the_settled_answer_and_keep_peoples_votes(desk: Desk) -> None:
    plain = preferences(desk.batch.records, desk.store.labels(desk.id), batch_id=desk.id)
    assert all(set(row) == set(COLUMNS) for row in (*plain.rows, *plain.ties))
    say(desk.store, desk.id, {desk.keys[0]: {"eva": "a", "fay": "a"}})  # three against one, settled for the one
    desk.settle(0, "b")
    desk.settle(1, "tie")
    found = preferences(desk.batch.records, desk.store.labels(desk.id), batch_id=desk.id)
    rows = {row["pair_id"]: row for row in found.rows}
    record = next(r for r in desk.batch.records if r["pair_id"] == desk.keys[0])
    row = rows[desk.keys[0]]
    assert row["chosen"][0]["content"] == record["response_b"]
    assert (row["votes_chosen"], row["votes_rejected"], row["votes_tie"]) == (1, 3, 0)
    assert (row["settled"], row["target"], row["weight"], row["strength"]) == (True, 1.0, 1.0, None)
    assert {pair: told["settled"] for pair, told in rows.items()} == {
        desk.keys[0]: True, desk.keys[2]: False, desk.keys[3]: False
    }  # fmt: skip
    (tie,) = found.ties
    assert (tie["pair_id"], tie["settled"], tie["target"], tie["votes_tie"]) == (desk.keys[1], True, 0.5, 1)
    assert tie["votes_chosen"] + tie["votes_rejected"] == 1
    assert found.settled == 2


def test_a_graded_dispute_that_is_settled_has_the_target_of_the_settled_answer() -> None:
    record = {"pair_id": "p", "prompt": "q", "response_a": "x", "response_b": "y"}
    people = [Label("p", "a", "ana", "a", 1, None, MUCH), Label("p", "b", "ben", "a", 1, None, SLIGHTLY)]
    (row,) = preferences([record], [*people, Label("p", "b", SETTLED, "a", 1, None)]).rows
    assert (row["target"], row["strength"], row["votes_chosen"], row["votes_rejected"]) == (1.0, None, 1, 1)


def test_the_card_counts_settled_pairs_and_the_file_is_ours(desk: Desk, tmp_path: Path) -> None:
    desk.settle(0, "b")
    out = tmp_path / "rows" / "t.jsonl"
    out.parent.mkdir()
    made = export_trl(desk.folder, out, card=True, ties=True, who="ana", store=desk.store)
    card = (out.parent / "README.md").read_text()
    assert made["settled"] == 1
    assert "On 1 of the pairs (ties among them) people took different sides" in card
    assert "| `settled` |" in card
    assert "of 2 annotators" in card
    assert "cem" not in card
    EXPORT.check(out, inputs=[], force=True)
    plain = preferences(desk.batch.records, people_only(desk.store.labels(desk.id)))
    assert "settled" not in dataset_card(plain, "t.jsonl", about=[], ties=True, batch_id=desk.id)


def test_the_next_batch_learns_the_settled_answer_once(desk: Desk, made: dict[str, Any]) -> None:
    pool = made["pool"]
    metadata = read_features(made["features"], pool.ids()).metadata

    def taught() -> Any:
        return earlier_batches([desk.folder], pool, space=SPACE, features_metadata=metadata, store=desk.store)

    place = read_selected(desk.folder).pair_ids.index(desk.keys[0])
    before = taught()
    assert (before.outcomes.wins[place], before.outcomes.trials[place]) == (1.0, 2.0)
    desk.settle(0, "b")
    after = taught()
    assert (after.outcomes.wins[place], after.outcomes.trials[place]) == (0.0, 1.0)
    assert (after.labels, after.labelled) == (before.labels - 1, before.labelled)
    z = read_selected(desk.folder).vectors[place]
    np.testing.assert_allclose(before.information - after.information, np.outer(z, z), atol=1e-12)


# The command --------------------------------------------------------------------------------------------------------


def test_the_command_settles_changes_what_was_seen_and_labels_tells(home: Desk, capsys: Any) -> None:
    folder, pair = str(home.folder), home.keys[0]
    assert main(["settle", folder, pair, "b", "--as", "cem"]) == 0
    told = capsys.readouterr().out
    assert f"pair {pair} settled as b by cem; people said ana a, ben b" in told
    assert "1 pairs are open" in told
    assert main(["settle", folder, pair, "b", "--as", "cem"]) == 0
    assert "already; nothing was changed" in capsys.readouterr().out
    assert main(["settle", folder, pair, "a", "--as", "dan"]) == 1
    assert f"pair {pair} was settled as b by cem" in capsys.readouterr().err
    assert main(["settle", folder, pair, "a", "--as", "dan", "--instead-of", "b", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["outcome"], told["instead_of"], told["changed"], told["open"]) == ("a", "b", True, 1)
    assert main(["labels", folder, "--conflicts"]) == 0
    told = capsys.readouterr().out
    assert "2 pairs on which people took different sides, 1 of them open" in told
    assert f"{pair}: ana a, ben b; settled as a instead of b by dan, " in told
    assert main(["labels", folder, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["open_conflicts"] == 1
    assert [one["settled"] and one["settled"]["who"] for one in report["conflicts"]] == [None, "dan"]
    assert main(["settle", folder, pair, "left", "--as", "dan"]) == 2


# The page -----------------------------------------------------------------------------------------------------------


def test_the_page_settles_one_pair_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, store, batch = approved_sign_off(tmp_path, monkeypatch)
    keys = sorted(record["pair_id"] for record in batch.records)
    export_batch(batch.path, to="csv", out=tmp_path / "t.csv", who="ana", store=store)
    half, one, two = keys[0], keys[1], keys[2]
    say(store, batch.batch_id, {half: {"*ana*": "a", "ben": "tie"}, one: {"*ana*": "a", "ben": "b"},
                                two: {"*ana*": "b", "ben": "a"}})  # fmt: skip
    monkeypatch.setenv("LOGNAME", "rey")
    page.run()

    def shown() -> str:
        return next(text.value for text in page.caption if " of 3: pair " in text.value)

    def kept() -> dict[str, str]:
        return {x.pair_id: x.outcome for x in store.labels(batch.batch_id) if x.annotator == SETTLED}

    assert not page.exception
    assert shown() == f"1 of 3: pair {one}, opposite sides, open"
    assert {"*ana*", "ben"} <= {text.value for text in page.text}
    assert sum(button.key.startswith("settle_") for button in page.button) == 3
    page.button(key=f"settle_b_{one}").click().run()
    assert kept() == {one: "b"}
    assert store.events(batch.batch_id)[-1].who == "rey"
    assert shown() == f"1 of 3: pair {two}, opposite sides, open"
    (table,) = (frame.value for frame in page.dataframe if "settled" in frame.value)
    assert table["pair"].tolist() == [two, half, one]
    assert table["settled"].tolist() == ["open", "open", "b"]
    page.button(key="conflict_next").click().run()
    assert shown() == f"2 of 3: pair {half}, a side and a tie, open"
    page.button(key="conflict_next").click().run()
    assert shown().startswith(f"3 of 3: pair {one}, opposite sides, settled as b by rey")
    assert page.button(key=f"settle_b_{one}").disabled
    assert page.button(key="conflict_next").disabled
    store.settle_pair(batch.batch_id, one, "tie", who="ben", instead_of="b")  # meanwhile
    page.button(key=f"settle_a_{one}").click().run()
    assert any("was settled as tie by ben" in text.value for text in page.warning)
    assert kept() == {one: "tie"}
    page.button(key=f"settle_a_{one}").click().run()  # now it was seen
    assert kept() == {one: "a"}
    assert any("settled as a instead of tie by rey" in text.value for text in page.caption)

    store.set_role("ada", "admin", who="ada")
    store.set_role("vic", "viewer", who="ada")
    monkeypatch.setenv("LOGNAME", "vic")
    page.button(key="conflict_open").click().run()
    page.button(key=f"settle_a_{two}").click().run()
    assert not page.exception
    assert any("may not do this" in text.value for text in page.warning)
    assert kept() == {one: "a"}
    store.close()
