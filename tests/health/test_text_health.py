"""Findings from texts: every planted defect is found by its ids, and nothing in the clean half is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from curation.health import across_prompts
from curation.health.texts import NamedText, duplicate_pairs, example_texts, text_findings
from curation.pool.checks import pool_report
from curation.pool.pair_lists import pair_list_csv, read_pair_list
from curation.pool.readers.read import read_pool
from curation.pool.schema import Message, Pool, Prompt, Response
from tests.desk.pools import demo_pool
from tests.desk.texts import by_key, pool_of

# Generators of the demo whose answers were read and are whole, and prompts whose three answers differ.
SOUND = ("avon-1", "ember-5", "cedar-7")


def _clean(count: int) -> list[Prompt]:
    """Prompts of the demo with three sound answers each."""
    found = []
    for prompt in read_pool(demo_pool()).pool.prompts:
        if prompt.stratum in ("safety", "creative"):  # refusals are wanted there, and a poem ends as it likes
            continue
        kept = tuple(r for r in prompt.responses if r.generator in SOUND)
        found.append(replace(prompt, prompt_id=f"clean-{prompt.prompt_id}", responses=kept, pairs=None))
    return found[:count]


def _bad(prompts: list[Prompt]) -> tuple[list[Prompt], dict[str, set[tuple[str, ...]]]]:
    """The same prompts with defects, and what each finding must name."""
    out, planted = [], {}

    def plant(
        key: str, prompt: Prompt, *texts: str, names: tuple[tuple[str, ...], ...], meta: dict | None = None
    ) -> None:
        extra = tuple(Response(f"x{n}", text, generator="odd", meta=meta or {}) for n, text in enumerate(texts))
        out.append(replace(prompt, prompt_id=f"bad-{key}", responses=(*prompt.responses, *extra)))
        planted[key] = {(f"bad-{key}", *name) for name in names}

    take = iter(prompts)
    p = next(take)
    text = p.responses[0].text
    words = text.split()
    plant(
        "near_duplicates", p, " ".join([*words[:5], "indeed", *words[5:]]), names=((p.responses[0].response_id, "x0"),)
    )
    p = next(take)
    plant("identical", p, p.responses[1].text, names=((p.responses[1].response_id, "x0"),))
    p = next(take)
    plant("empty", p, "  \n", names=(("x0",),))
    p = next(take)
    plant(
        "cut_off",
        p,
        "First let the mixture rest for ten minutes. Then add the flour slowly and stir it with the",
        names=(("x0",),),
    )
    p = next(take)
    plant("repeating", p, "You should talk to your landlord about it soon. " * 12, names=(("x0",),))
    p = next(take)
    plant("refusals", p, "I'm sorry, but I can't help with that request.", names=(("x0",),))
    return out, planted


def test_planted_defects_are_found_by_their_ids_and_the_clean_half_is_silent() -> None:
    prompts = _clean(40)
    bad, planted = _bad(prompts[20:])
    pool = pool_of([*prompts[:20], *bad])
    findings = by_key(text_findings(pool, pool_report(pool)))
    assert set(findings) == {*planted, "foregone"}  # empty answers and early cuts make pairs that need nobody
    for key, ids in planted.items():
        assert set(findings[key].examples) == ids, key
        assert findings[key].value == len(ids)
        assert findings[key].sentence.endswith(".")
        assert findings[key].remedy.endswith((".", "drop it."))
    del findings["foregone"]  # the clean half has a "Sure!" or two, as the demo has
    assert not any("clean-" in name for finding in findings.values() for item in finding.examples for name in item)
    clean = text_findings(pool_of(prompts[:20]), pool_report(pool_of(prompts[:20])))
    assert [finding.key for finding in clean if finding.key != "foregone"] == []


def test_repeated_prompts_canned_and_single_answers_are_found() -> None:
    prompts = _clean(30)
    asked = "Please explain in two short sentences how a bicycle pump works and why it gets warm when used."
    again = [replace(prompts[n], prompt_id=f"again-{n}", prompt=asked + end) for n, end in enumerate(("", " Thanks!"))]
    canned = "Thank you for your question, which I will pass on to one of my colleagues today."
    canned_prompts = [
        replace(p, prompt_id=f"canned-{n}", responses=(*p.responses, Response("c", canned)))
        for n, p in enumerate(prompts[2:6])
    ]
    single = replace(prompts[6], prompt_id="single", responses=tuple(Response(f"s{n}", "It does.") for n in range(3)))
    pool = pool_of([*again, *canned_prompts, single, *prompts[7:]])
    findings = by_key(text_findings(pool, pool_report(pool)))
    assert set(findings) == {"repeated_prompts", "boilerplate", "one_answer", "identical", "foregone"}
    assert set(findings["repeated_prompts"].examples) == {("again-0", "again-1")}
    assert set(findings["boilerplate"].examples) == {(f"canned-{n}", "c") for n in range(4)}
    assert findings["one_answer"].examples == (("single",),)


def _asking(*prompts: str | list[Message]) -> Pool:
    """A pool of prompts with two different answers each."""
    return pool_of(
        [Prompt(f"p{n}", p, (Response("a", f"{n} is one"), Response("b", f"not {n}"))) for n, p in enumerate(prompts)]
    )


TEMPLATE = "I like to host guests at my home from time to time. Give me a short recipe of "


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        ("How do bees find their way home?", "how do bees find their way home", "repeated_prompts"),
        ("Please list the kings of Denmark!", "List kings of Denmark. Thanks", "repeated_prompts"),
        (TEMPLATE + "flæskesteg", TEMPLATE + "koldskål", "similar_prompts"),
        (TEMPLATE + "soup with meat", TEMPLATE + "soup without meat", "similar_prompts"),
        ("What is 3 + 4?", "What is 3 - 4?", "similar_prompts"),
        ("How far is it from Oslo to Bergen?", "How far is it from Bergen to Oslo?", None),
        ("Is it legal?", "Is it not legal?", None),
        ("Hello!", "hello", None),
        ("", " ", None),
    ],
)
def test_only_prompts_with_the_same_words_ask_the_same(first: str, second: str, key: str | None) -> None:
    pool = _asking(first, second, "Something else, to be written in the style of a sea shanty.")
    findings = by_key(text_findings(pool, pool_report(pool)))
    keys = set(findings) & {"repeated_prompts", "similar_prompts"}
    assert keys == ({key} if key else set())
    if key:
        assert findings[key].examples == (("p0", "p1"),)
        assert findings[key].severity == ("warning" if key == "repeated_prompts" else "note")


def test_a_conversation_one_turn_further_is_another_question() -> None:
    turns = [
        {
            "role": "user",
            "content": "I am testing my printer and would like to use carbon fibre for the next part. "
            "It is a bracket that holds a lamp above my desk, and so far I have made it of two other materials.",
        },
        {"role": "assistant", "content": "What is your experience with the printer, and with other materials so far?"},
        {"role": "user", "content": "I would call myself an intermediate user."},
    ]
    more = [{"role": "assistant", "content": "Have you printed with it before?"}, {"role": "user", "content": "Yes"}]
    pool = _asking(turns, turns + more, "Something else.")
    findings = by_key(text_findings(pool, pool_report(pool)))
    assert set(findings) == {"similar_prompts"}
    assert findings["similar_prompts"].severity == "note"


def test_answers_to_a_prompt_that_is_asked_twice_do_not_count_as_recurring() -> None:
    answer = "The pump presses the same air into a smaller room, and that work turns into heat."
    prompts = [
        Prompt(f"p{n}", "How does a bicycle pump get warm?", (Response("a", answer), Response("b", "No idea.")))
        for n in range(4)
    ]
    others = _clean(10)
    findings = by_key(text_findings(pool_of([*prompts, *others]), pool_report(pool_of([*prompts, *others]))))
    assert set(findings) == {"repeated_prompts"}


def test_a_recorded_end_is_believed_and_a_recorded_limit_too() -> None:
    open_end = "We went there on Monday. After the long meeting we decided to talk about the"
    whole = "We went there on Monday and came back on Tuesday."
    answers = [
        Response("believed", open_end, meta={"finish_reason": "stop"}),
        Response("judged", open_end + " other"),
        Response("judged-too", open_end),
        Response("told", whole, meta={"finish_reason": "length"}),
        Response("ended", "Nothing of the kind was ever heard here.", meta={"stop_reason": "end_turn"}),
    ]
    pool = pool_of([Prompt("p", "How was it?", tuple(answers), pairs=((0, 3),))])
    finding = by_key(text_findings(pool, pool_report(pool)))["cut_off"]
    assert set(finding.examples) == {("p", "told"), ("p", "judged-too")}
    assert "1 by their generator's own record and 1 because" in finding.sentence


def test_pairs_that_are_not_offered_are_neither_counted_nor_excluded(tmp_path) -> None:
    text = "The pump presses the same air into a smaller room, and that work turns into heat."
    answers = (Response("a", text), Response("b", text), Response("c", text + " Indeed."), Response("d", "No idea."))
    kept = Prompt("kept", "How?", answers, pairs=((0, 1), (0, 2), (0, 3)))
    none = Prompt("none", "Why does it?", answers, pairs=((0, 3), (1, 3)))
    pool = pool_of([kept, none])
    report = pool_report(pool)
    assert duplicate_pairs(report) == [("kept", "a", "b"), ("kept", "a", "c")]
    path = tmp_path / "exclude.csv"
    path.write_text(pair_list_csv(duplicate_pairs(report)))
    assert read_pair_list(path, pool) == [(0, 0, 1), (0, 0, 2)]
    alone = text_findings(pool_of([none]), pool_report(pool_of([none])))
    assert [(f.key, f.severity) for f in alone] == [("identical", "note")]


def test_a_pool_beyond_the_limit_is_sampled_and_the_sentence_says_so(monkeypatch) -> None:
    canned = "Thank you for your question, which I will pass on to one of my colleagues today."
    prompts = [replace(p, responses=(*p.responses, Response("c", canned))) for p in _clean(40)]
    pool = pool_of(prompts)
    whole = by_key(text_findings(pool, pool_report(pool)))["boilerplate"]
    assert whole.value == len(prompts)
    assert "sample" not in whole.sentence
    size = sum(len(r.text) for p in prompts for r in p.responses)
    monkeypatch.setattr(across_prompts, "COMPARED", size // 2)
    part = by_key(text_findings(pool, pool_report(pool)))["boilerplate"]
    count = int(part.value)
    assert len(prompts) / 4 < count < len(prompts)
    assert f"(in a sample of {count} of {len(prompts)} prompts)" in part.sentence
    assert f"answers {count} of {count} prompts" in part.sentence
    assert text_findings(pool, pool_report(pool)) == text_findings(pool, pool_report(pool))
    monkeypatch.undo()
    monkeypatch.setattr(across_prompts, "SKETCHED", 10)
    few = by_key(text_findings(pool, pool_report(pool)))["boilerplate"]
    assert few.value == 10
    assert f"(in a sample of 10 of {len(prompts)} candidates)" in few.sentence


def test_the_texts_of_an_example_are_those_that_its_ids_name() -> None:
    pool = pool_of(
        [
            *(replace(p, prompt_id=f"again-{n}", prompt="How do bees find home?") for n, p in enumerate(_clean(2))),
            *_bad(_clean(20))[0],
        ]
    )
    texts = {(p.prompt_id, r.response_id): r.text for p in pool.prompts for r in p.responses}
    asked = {p.prompt_id: p.prompt for p in pool.prompts}
    findings = text_findings(pool, pool_report(pool))
    assert len(findings) == 8
    for finding in findings:
        for number, ids in enumerate(finding.examples):
            shown = example_texts(pool, finding, number)
            if finding.key == "repeated_prompts":
                assert [text.text for text in shown.prompts] == [asked[name] for name in ids]
                assert shown.responses == ()
            else:
                assert [text.text for text in shown.responses] == [texts[ids[0], name] for name in ids[1:]]
                assert all(name in text.label for name, text in zip(ids[1:], shown.responses, strict=True))


def test_an_excerpt_keeps_the_beginning_and_the_end() -> None:
    text = NamedText("r", "a" * 60 + "b" * 40)
    assert text.excerpt(100) == text.text
    assert text.excerpt(20) == "aaaaaaaaaa\n[... 80 characters ...]\nbbbbbbbbbb"


def test_a_generator_that_is_cut_off_far_more_often_than_the_others_is_named() -> None:
    prompts = []
    for n, p in enumerate(_clean(40)):
        short = (
            "Let us begin with the first step of the plan and then go on to"
            if n < 10
            else "All done, no more to say here."
        )
        prompts.append(replace(p, responses=(*p.responses, Response("t", f"{n} {short}", generator="stumpy"))))
    finding = by_key(text_findings(pool_of(prompts), pool_report(pool_of(prompts))))["cut_off"]
    assert "stumpy stands out: 10 of its" in finding.sentence
