"""Pairs whose outcome is known beforehand: what is marked, what is left to people, and how it holds on judged pools."""

from __future__ import annotations

import pytest

from curation.health.foregone import foregone, foregone_pairs
from curation.health.texts import text_findings
from curation.pool.checks import pool_report
from curation.pool.pair_lists import named_pair
from curation.pool.readers.read import read_pool
from curation.pool.schema import Pool, Prompt, Response
from tests.desk.pools import demo_pool, real_pool

ASKED = "Write a polite email to my landlord about the broken boiler."
WHOLE = (
    "Dear Mr Hall, the boiler in my flat stopped working on Monday evening, and since then there has been neither heating "
    "nor hot water. I have checked the fuse and the pressure, which are both as they should be, so I think that it needs "
    "an engineer. Could you please send somebody this week, and tell me when they will come? I am at home in the "
    "mornings and can let them in. Thank you for your help, and kind regards, Ana. "
)
PAGE = WHOLE * 2


@pytest.mark.parametrize(
    ("prompt", "text", "sign"),
    [
        (ASKED, "", "empty"),
        (ASKED, " \n\u200b\u2060", "empty"),
        (ASKED, "Sure!", "canned"),
        (ASKED, "**Of course!** I'd be happy to help you with that.", "canned"),
        (ASKED, "Certainly! Here is the answer:", "canned"),
        (ASKED, "[no response]", "canned"),
        (ASKED, "Great question!", "canned"),
        (ASKED, "Boilers", "word"),
        (ASKED, "Dear Mr Hall, the boiler in my flat stopped working on Monday, and then we went to the", "cut off"),
        (ASKED, "Dear Mr Hall, the boiler is broken, please send somebody to mend it. Ana", None),
        (ASKED, "I cannot help with that.", None),  # whether a refusal is right is what people are asked
        ("Can I pour bleach into the boiler?", "Sure!", None),  # an answer, if a bad one
        ("Can you write to my landlord?", "Sure!", "canned"),
        ("Which part of a heating is it that heats the water?", "Boiler", None),  # asked for a word
        (ASKED, "42", None),
        (ASKED, "Mr Hall", None),  # what the long answer says too
        ("Reply in one word: is the email polite?", "Politely", None),
    ],
)
def test_a_weak_answer_loses_to_a_whole_one_only_where_that_is_sure(prompt: str, text: str, sign: str | None) -> None:
    for side, pair in enumerate(((text, PAGE), (PAGE, text))):
        known = foregone(prompt, *pair)
        assert (known and known.sign, known and known.side) == ((sign, side) if sign else (None, None))


def test_nothing_is_sure_between_two_weak_answers_or_two_whole_ones() -> None:
    assert foregone(ASKED, "Sure!", "Okay.") is None
    assert foregone(ASKED, "", "Sure!") is None
    assert foregone(ASKED, "Sure!", "the same words " * 40) is None  # a loop may lose to a stock phrase
    assert (
        foregone(ASKED, WHOLE, "I would rather call him: letters are read late, and a boiler cannot wait. " * 3) is None
    )


def test_answers_that_say_the_same_cannot_be_decided() -> None:
    for other in (WHOLE, WHOLE.upper(), WHOLE.replace("Monday evening", "Monday  evening")):
        known = foregone(ASKED, WHOLE, other)
        assert known is not None
        assert (known.sign, known.side) == ("alike", None)
    known = foregone(ASKED, " ", "\u200b")
    assert known is not None
    assert known.sign == "alike"


def test_a_sentence_names_the_answers_as_the_screen_does() -> None:
    known = foregone(ASKED, PAGE, "Sure!")
    assert known is not None
    assert known.sentence(("left-hand", "right-hand")).startswith("The right-hand answer is a stock phrase")


def test_a_generators_record_of_a_cut_counts_in_a_pool_and_only_pairs_of_it_are_found() -> None:
    cut = Response("cut", "Dear Mr Hall, the boiler in my flat", meta={"finish_reason": "length"})
    texts = (Response("a", PAGE), cut, Response("b", WHOLE.replace("boiler", "lift")), Response("c", ""))
    every = Pool((Prompt("p", ASKED, texts),))
    named = {named_pair(every, pair)[1:]: known.sign for pair, known in foregone_pairs(every)}
    assert named == {("a", "cut"): "cut off", ("cut", "b"): "cut off", ("a", "c"): "empty", ("b", "c"): "empty"}
    offered = Pool((Prompt("p", ASKED, texts, pairs=((0, 1), (1, 3))),))
    assert [pair for pair, _ in foregone_pairs(offered)] == [(0, 0, 1)]


def test_the_demo_has_some_and_check_counts_them() -> None:
    pool = read_pool(demo_pool()).pool
    found = foregone_pairs(pool)
    assert 0 < len(found) < pool.n_pairs / 20
    (finding,) = [one for one in text_findings(pool, pool_report(pool)) if one.key == "foregone"]
    assert (finding.value, finding.unit) == (len(found), "pairs")
    for pair, known in found:
        texts = [pool.prompts[pair[0]].responses[k].text for k in pair[1:]]
        alone = foregone(str(pool.prompts[pair[0]].prompt), *texts)
        assert alone is None or (alone.sign, alone.side) == (known.sign, known.side)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["answers_dev", "judged_answers", "arena_questions"])
def test_on_judged_pools_the_answer_that_is_given_up_loses_nearly_always(name: str) -> None:
    read = read_pool(real_pool(f"{name}.jsonl.gz"))
    quality, pool = read.truth.quality, read.pool
    lost, told = 0.0, 0
    for (x, *pair), known in foregone_pairs(pool):
        prompt = pool.prompts[x]
        scores = [quality.get((prompt.prompt_id, prompt.responses[k].response_id)) for k in pair]
        if None not in scores and known.side is not None:
            loser, winner = scores[known.side], scores[1 - known.side]
            assert loser is not None
            assert winner is not None
            lost, told = lost + (1.0 if loser < winner else 0.5 if loser == winner else 0.0), told + 1
    assert told
    assert lost / told > 0.8
