"""What the list of pages says of the work, case by case."""

from __future__ import annotations

import pytest

from curation.dashboard.steps import KeptBatch, Work, next_step, steps

READY = {"prompts": 62, "features": True}


def words(work: Work) -> dict[str, str]:
    return {address: step.words for address, step in steps(work).items()}


def test_nothing_is_known_of_a_pool_that_cannot_be_read() -> None:
    assert words(Work())["pool"] == "cannot be read"
    assert next_step(Work()) == "pool"


def test_the_steps_of_a_batch_in_review() -> None:
    work = Work(**READY, labels=37, present="a", kept=(KeptBatch("a", 37, 12),), tested=False)
    assert words(work) == {
        "pool": "62 prompts", "features": "ready", "design": "37 labels", "review": "12/37", "signoff": "not signed",
        "evidence": "not tested",
    }  # fmt: skip
    assert next_step(work) == "review"


def test_a_signed_batch_is_done() -> None:
    work = Work(**READY, labels=37, present="a", kept=(KeptBatch("a", 37, 37, "bea"),))
    assert words(work)["signoff"] == "signed by bea"
    assert next_step(work) is None
    assert work.moved_on is None


def test_settings_that_moved_on_from_a_signed_batch_are_told() -> None:
    signed = KeptBatch("a", 37, 37, "bea")
    work = Work(**READY, labels=40, present="b", kept=(signed,))
    assert work.moved_on == signed
    assert words(work)["design"] == "40 labels, changed"
    assert words(work)["signoff"] == "not signed"
    assert words(work)["review"] == "not begun"


def test_a_signed_batch_that_is_opened_is_the_one_in_view() -> None:
    work = Work(**READY, labels=40, present="b", chosen="a", kept=(KeptBatch("a", 37, 37, "bea"),))
    assert work.moved_on is None
    assert words(work)["signoff"] == "signed by bea"


def test_a_batch_nobody_decided_on_makes_no_change() -> None:
    work = Work(**READY, labels=40, present="b", kept=(KeptBatch("a", 37),))
    assert words(work)["design"] == "40 labels"


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (Work(prompts=3, rejects=2), "3 prompts, 2 rows rejected"),
        (Work(prompts=1_234), "1,234 prompts"),
    ],
)
def test_rejects_stand_beside_the_pool(work: Work, told: str) -> None:
    assert words(work)["pool"] == told
    assert words(work)["features"] == "missing"
    assert next_step(work) == "features"


def test_a_batch_whose_folder_cannot_be_read_is_not_done() -> None:
    work = Work(**READY, labels=9, present="a", kept=(KeptBatch("a", None, 4),))
    assert words(work)["review"] == "4 decided"
    assert next_step(work) == "review"
