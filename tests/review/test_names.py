"""Names of people: one spelling each, none that passes for another's, and old ones go on working."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from sqlalchemy import insert

from curation.errors import StoreError
from curation.review.store.names import LONGEST, look, person_name, shown
from curation.review.store.store import Store, open_store
from curation.review.store.tables import EventRow, PersonRow
from tests.desk.stores import BATCH, fill


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("ana", "ana"),
        (" ana \n", "ana"),
        ("Ana  Maria", "Ana Maria"),
        ("Ana\u00a0Maria", "Ana Maria"),
        (unicodedata.normalize("NFD", "jos\u00e9"), "jos\u00e9"),
        ("\u0438\u0432\u0430\u043d@example.org", "\u0438\u0432\u0430\u043d@example.org"),
        ("\u5c71\u7530 Taro", "\u5c71\u7530 Taro"),
        ("O\u2019Brien", "O\u2019Brien"),
        ("https://id.example.org#17", "https://id.example.org#17"),
        ("x" * LONGEST, "x" * LONGEST),
    ],
)
def test_a_name_is_kept_in_one_spelling(given: str, kept: str) -> None:
    assert person_name(given) == kept
    assert person_name(kept) == kept


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "nobody is named"),
        (" \t ", "nobody is named"),
        ("a\u200bna", "U.200B"),
        ("ana\ufeff", "U.FEFF"),
        ("x\ny: admin", "U.000A"),
        ("\x1b[31mana", "U.001B"),
        ("\u202eana", "U.202E"),
        ("ana\x00", "U.0000"),
        ("an\ufe0fa", "U.FE0F"),
        ("an\u3164a", "U.3164"),
        ("an\u2028a", "U.2028"),
        ("\ud800ana", "U.D800"),
        ("\u0430na", "Cyrillic and Latin"),
        ("an\u03b1", "Greek and Latin"),
        ("\u0430n\u0430@example.org", "Cyrillic and Latin"),
        ("\uff41na", "write it as 'ana'"),
        ("\U0001d41ana", "write it as"),
        ("x" * (LONGEST + 1), "401 characters"),
        ("a" * 100_000, "100,000 characters"),
    ],
)
def test_a_name_that_is_none_or_can_pass_for_another_is_refused(given: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        person_name(given)


@pytest.fixture
def store(database: str):
    opened = fill(open_store(database))
    yield opened
    opened.close()


def test_a_new_name_that_looks_like_somebodys_is_refused(store: Store) -> None:
    store.set_role(" ana ", "admin", who="ana")
    assert store.people() == {"ana": "admin"}
    for like in ("Ana", "ANA", "\u0391\u039d\u0391"):  # the last is Greek
        with pytest.raises(StoreError, match="looks like 'ana'"):
            store.set_role(like, "reviewer", who="ana")
    assert look("\u0421\u041e\u0421\u041e") == look("coco")  # Cyrillic throughout
    store.set_role("coco", "reviewer", who="ana")
    with pytest.raises(StoreError, match="looks like 'coco'"):
        store.set_role("\u0421\u041e\u0421\u041e", "reviewer", who="ana")
    assert store.people() == {"ana": "admin", "coco": "reviewer"}


def test_every_act_is_stored_under_the_kept_spelling(store: Store) -> None:
    assert store.decide(BATCH, "p1", "flag", who=" jose\u0301 ").who == "jos\u00e9"
    assert store.undo_action(BATCH, who="jos\u00e9")
    assert store.comment(BATCH, "p1", "x", who="jos\u00e9 ").who == "jos\u00e9"
    with pytest.raises(StoreError, match=r"U\+200B"):
        store.decide(BATCH, "p1", "flag", who="a\u200bna")
    assert {event.who for event in store.events(BATCH)} == {"ana", "jos\u00e9"}


def test_names_of_an_old_database_go_on_working(store: Store) -> None:
    """Written before names were checked: with a blank, a line end, and twice in another case."""
    odd = ["ana ", "Ana", "x\ny: admin"]
    with store._writer.begin() as connection:
        connection.execute(insert(PersonRow), [{"name": name, "role": "admin"} for name in [*odd, "ana"]])
    for name in odd:
        assert store.decide(BATCH, "p1", "flag", who=name).who == name
        store.set_role(name, "approver", who="ana")
    assert set(store.people()) == {*odd, "ana"}
    store.set_role("x\ny: admin", "none", who="ana")
    assert set(store.people()) == {"ana ", "Ana", "ana"}
    assert shown("x\ny: admin") == "x\\ny: admin"


def test_somebody_who_acted_before_names_were_checked_goes_on_in_single_user_mode(store: Store) -> None:
    row = {"at": "2026", "kind": "decide", "batch_id": BATCH, "body": "{}", "previous": "x", "hash": "y"}
    with store._writer.begin() as connection:
        connection.execute(insert(EventRow), [{"who": "a\u200bna ", **row}])
    assert store.decide(BATCH, "p1", "flag", who="a\u200bna ").who == "a\u200bna "


def test_the_role_of_somebody_unknown_cannot_be_taken_away(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    store.set_role("ana", "admin", who="ana")
    with pytest.raises(StoreError, match="bo is not named in this workspace"):
        store.set_role("bo", "none", who="ana")
    with pytest.raises(StoreError, match="'boss' is unknown"):
        store.set_role("bo", "boss", who="ana")
    store.close()
