"""The review queue: ids found by their beginning, an order by chance that is everybody's, known outcomes, a desk kept."""

from __future__ import annotations

from curation.review.desk import keep_desk, kept_desk, named_views
from curation.review.queue import Filter, QueueTable
from curation.review.why import why_a_person
from tests.desk.acting import desk, ids, solved

__all__ = ["desk", "solved"]
CHANCE = "random, the same for everybody"


def found(every: QueueTable, **wanted) -> list[str]:
    words = dict.fromkeys(every.frame["pair_id"], "undecided")
    return every.select(words, Filter(**wanted))["pair_id"].tolist()


def test_a_pair_and_a_prompt_are_found_by_their_ids(desk) -> None:
    batch, _ = desk
    every, record = QueueTable(batch.records), batch.records[3]
    assert found(every, words=record["pair_id"]) == [record["pair_id"]]
    assert found(every, words=f" {record['pair_id'][:9].upper()} ") == [record["pair_id"]]
    same = {r["pair_id"] for r in batch.records if r["prompt_id"] == record["prompt_id"]}
    assert set(found(every, words=record["prompt_id"])) == same


def test_the_order_by_chance_is_the_same_for_everybody_and_another_for_another_batch(desk) -> None:
    batch, _ = desk
    one, again = (found(QueueTable(batch.records, seed="b1"), sort=CHANCE) for _ in range(2))
    other = found(QueueTable(batch.records, seed="b2"), sort=CHANCE)
    assert one == again != other
    assert sorted(one) == sorted(other) == sorted(ids(batch))
    assert one != found(QueueTable(batch.records), sort="batch order")


def test_pairs_with_a_known_outcome_are_marked_filtered_and_told_by_sides_on_screen(desk) -> None:
    batch, _ = desk
    page = "Gzip every log that is larger than the limit, then check that nothing holds it open any more."
    records = [dict(r) for r in batch.records]
    records[0] |= {"prompt": "Write a script.", "response_a": page, "response_b": "Sure!", "left": "b"}
    every = QueueTable(records)
    assert found(every, known=True) == [records[0]["pair_id"]]
    known = every.known[records[0]["pair_id"]]
    assert (known.sign, known.side) == ("canned", 0)
    assert why_a_person(records[0], known).startswith("The left-hand answer is a stock phrase")
    assert why_a_person(records[1], every.known.get(records[1]["pair_id"])).startswith("Why a person: ")


def test_what_the_reference_says_is_told_by_sides_on_screen(desk) -> None:
    batch, _ = desk
    told = {"reference_probability_a": 0.9, "reference_probability_b": 0.05}
    record = dict(batch.records[0]) | told | {"left": "b"}
    assert "likes the right-hand one" in why_a_person(record, None)
    assert "likes the left-hand one" in why_a_person(record | {"left": "a"}, None)
    assert "could say either" in why_a_person(record | {"reference_probability_b": 0.8}, None)


def test_a_desk_is_kept_per_person_and_batch_and_no_view_of_anybodys(desk) -> None:
    batch, store = desk
    store.save_view("mine", {"filter_words": "x"}, who="ana")
    keep_desk(store, batch.batch_id, {"blind": True}, who="ana")
    keep_desk(store, batch.batch_id, {"blind": True, "filter_sort": CHANCE}, who="ana")
    assert kept_desk(store, batch.batch_id, who="ana") == {"blind": True, "filter_sort": CHANCE}
    assert kept_desk(store, batch.batch_id, who="bea") is None
    assert kept_desk(store, "another", who="ana") is None
    assert named_views(store, who="ana") == {"mine": {"filter_words": "x"}}
