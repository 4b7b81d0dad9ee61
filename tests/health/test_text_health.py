"""Findings from texts: every planted defect is found by its ids, and nothing in the clean half is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.health import across_prompts
from curation.health.finding import Finding
from curation.health.text_rules import ends_openly, ends_without_stop, loops, refuses, stopped_by_length
from curation.health.texts import NamedText, duplicate_pairs, example_texts, text_findings
from curation.pool.checks import pool_report
from curation.pool.pair_lists import pair_list_csv, read_pair_list
from curation.pool.readers.read import read_pool
from curation.pool.schema import Message, Pool, Prompt, Response
from curation.pool.similar import similar_groups
from tests.desk.pools import demo_pool, real_pool

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


def _pool(prompts: list[Prompt]) -> Pool:
    return Pool(tuple(prompts), "planted")


def _by_key(findings: list[Finding]) -> dict[str, Finding]:
    assert len({finding.key for finding in findings}) == len(findings)
    return {finding.key: finding for finding in findings}


def test_planted_defects_are_found_by_their_ids_and_the_clean_half_is_silent() -> None:
    prompts = _clean(40)
    bad, planted = _bad(prompts[20:])
    pool = _pool([*prompts[:20], *bad])
    findings = _by_key(text_findings(pool, pool_report(pool)))
    assert set(findings) == set(planted)
    for key, ids in planted.items():
        assert set(findings[key].examples) == ids, key
        assert findings[key].value == len(ids)
        assert findings[key].sentence.endswith(".")
        assert findings[key].remedy.endswith((".", "drop it."))
    assert not any("clean-" in name for finding in findings.values() for item in finding.examples for name in item)
    assert text_findings(_pool(prompts[:20]), pool_report(_pool(prompts[:20]))) == []


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
    pool = _pool([*again, *canned_prompts, single, *prompts[7:]])
    findings = _by_key(text_findings(pool, pool_report(pool)))
    assert set(findings) == {"repeated_prompts", "boilerplate", "one_answer", "identical"}
    assert set(findings["repeated_prompts"].examples) == {("again-0", "again-1")}
    assert set(findings["boilerplate"].examples) == {(f"canned-{n}", "c") for n in range(4)}
    assert findings["one_answer"].examples == (("single",),)


def _asking(*prompts: str | list[Message]) -> Pool:
    """A pool of prompts with two different answers each."""
    return _pool(
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
    findings = _by_key(text_findings(pool, pool_report(pool)))
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
    findings = _by_key(text_findings(pool, pool_report(pool)))
    assert set(findings) == {"similar_prompts"}
    assert findings["similar_prompts"].severity == "note"


def test_answers_to_a_prompt_that_is_asked_twice_do_not_count_as_recurring() -> None:
    answer = "The pump presses the same air into a smaller room, and that work turns into heat."
    prompts = [
        Prompt(f"p{n}", "How does a bicycle pump get warm?", (Response("a", answer), Response("b", "No idea.")))
        for n in range(4)
    ]
    others = _clean(10)
    findings = _by_key(text_findings(_pool([*prompts, *others]), pool_report(_pool([*prompts, *others]))))
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
    pool = _pool([Prompt("p", "How was it?", tuple(answers), pairs=((0, 3),))])
    finding = _by_key(text_findings(pool, pool_report(pool)))["cut_off"]
    assert set(finding.examples) == {("p", "told"), ("p", "judged-too")}
    assert "1 by their generator's own record and 1 because" in finding.sentence


def test_pairs_that_are_not_offered_are_neither_counted_nor_excluded(tmp_path) -> None:
    text = "The pump presses the same air into a smaller room, and that work turns into heat."
    answers = (Response("a", text), Response("b", text), Response("c", text + " Indeed."), Response("d", "No idea."))
    kept = Prompt("kept", "How?", answers, pairs=((0, 1), (0, 2), (0, 3)))
    none = Prompt("none", "Why does it?", answers, pairs=((0, 3), (1, 3)))
    pool = _pool([kept, none])
    report = pool_report(pool)
    assert duplicate_pairs(report) == [("kept", "a", "b"), ("kept", "a", "c")]
    path = tmp_path / "exclude.csv"
    path.write_text(pair_list_csv(duplicate_pairs(report)))
    assert read_pair_list(path, pool) == [(0, 0, 1), (0, 0, 2)]
    alone = text_findings(_pool([none]), pool_report(_pool([none])))
    assert [(f.key, f.severity) for f in alone] == [("identical", "note")]


def test_a_pool_beyond_the_limit_is_sampled_and_the_sentence_says_so(monkeypatch) -> None:
    canned = "Thank you for your question, which I will pass on to one of my colleagues today."
    prompts = [replace(p, responses=(*p.responses, Response("c", canned))) for p in _clean(40)]
    pool = _pool(prompts)
    whole = _by_key(text_findings(pool, pool_report(pool)))["boilerplate"]
    assert whole.value == len(prompts)
    assert "sample" not in whole.sentence
    size = sum(len(r.text) for p in prompts for r in p.responses)
    monkeypatch.setattr(across_prompts, "COMPARED", size // 2)
    part = _by_key(text_findings(pool, pool_report(pool)))["boilerplate"]
    count = int(part.value)
    assert len(prompts) / 4 < count < len(prompts)
    assert f"(in a sample of {count} of {len(prompts)} prompts)" in part.sentence
    assert f"answers {count} of {count} prompts" in part.sentence
    assert text_findings(pool, pool_report(pool)) == text_findings(pool, pool_report(pool))
    monkeypatch.undo()
    monkeypatch.setattr(across_prompts, "SKETCHED", 10)
    few = _by_key(text_findings(pool, pool_report(pool)))["boilerplate"]
    assert few.value == 10
    assert f"(in a sample of 10 of {len(prompts)} candidates)" in few.sentence


def test_the_texts_of_an_example_are_those_that_its_ids_name() -> None:
    pool = _pool(
        [
            *(replace(p, prompt_id=f"again-{n}", prompt="How do bees find home?") for n, p in enumerate(_clean(2))),
            *_bad(_clean(20))[0],
        ]
    )
    texts = {(p.prompt_id, r.response_id): r.text for p in pool.prompts for r in p.responses}
    asked = {p.prompt_id: p.prompt for p in pool.prompts}
    findings = text_findings(pool, pool_report(pool))
    assert len(findings) == 7
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
    finding = _by_key(text_findings(_pool(prompts), pool_report(_pool(prompts))))["cut_off"]
    assert "stumpy stands out: 10 of its" in finding.sentence


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("We went there on Monday. After the long meeting we decided to talk about the", True),
        ("There are three good ways to do this at home. You can use either a knife,", True),
        ("Here is how it is done in general.\n```python\nprint(1)\n```\n\n```python\nfor i in range(3", True),
        ("We went there on Monday. After the long meeting we decided to go home.", False),
        ("- one thing to buy at the shop\n- another thing to buy at the shop and the", False),
        ("Roses are red and so are the\nviolets are blue and so are the\nsugar is sweet and so\nand here you", False),
        ("Read the whole story at the address that follows here: https://example.org/of/the", False),
        ("Big news from our team today, and thank you all so much! #grateful #the", False),
        ("すべての道はローマに通じる、と言われているが、その", False),
        ("Yes", False),
        ("", False),
    ],
)
def test_only_prose_that_stops_inside_a_sentence_is_called_cut_off(text: str, cut: bool) -> None:
    assert ends_openly(text) is cut


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m really sorry but I am not able to provide medical advice.", True),
        ("As an AI language model, I cannot browse the internet.", True),
        ("I cannot create that kind of content.", True),
        ("Sorry about the delay! Here is the recipe you asked for.", False),
        ("I can't recommend this book highly enough: read it.", False),
        ("As an AI, I find this fun. Here are five ideas for your party.", False),
        (
            "As an AI language model, I cannot have opinions, but here is an overview. " + "The facts are these. " * 40,
            False,
        ),
        ("", False),
    ],
)
def test_refusals_are_told_from_apologies_and_disclaimers(text: str, refused: bool) -> None:
    assert refuses(text) is refused


def test_loops_are_told_from_lists_and_refrains() -> None:
    assert loops("the cat sat on the mat " * 20)
    assert loops("I would like to go home now.\n" * 6)
    assert not loops("\n".join(f"{n}. Item number {n} of the list, which is about thing {n * 7}." for n in range(40)))
    assert not loops(
        "Row, row, row your boat,\ngently down the stream.\nMerrily, merrily, merrily, merrily,\nlife is but a dream."
    )
    assert not loops("")


def test_a_recorded_stop_by_length_counts() -> None:
    assert stopped_by_length({"finish_reason": "length"})
    assert stopped_by_length({"stop_reason": "max_tokens"})
    assert not stopped_by_length({"finish_reason": "stop", "length": 12})
    assert ends_without_stop("It was good. We then went on to see the large red house")
    assert not ends_without_stop("It was good. We then went on to see the large red house.")


def test_similar_groups_have_exactly_the_similarity_they_claim() -> None:
    base = " ".join(f"word{n}" for n in range(60))
    near = base + " extra"
    far = " ".join(f"word{n}" for n in range(0, 60, 2))
    assert similar_groups([base, far, near, base, "", ""], near=0.9) == [[0, 2, 3]]
    assert similar_groups([base, near], near=0.99) == []


@given(st.permutations(range(8)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_responses_changes_no_finding(order: list[int]) -> None:
    prompt = read_pool(demo_pool()).pool.prompts[0]
    turned = replace(prompt, responses=tuple(prompt.responses[n] for n in order), pairs=None)
    straight = replace(prompt, pairs=None)

    def told(one: Prompt) -> set[tuple[str, float]]:
        pool = _pool([one])
        return {(finding.key, finding.value) for finding in text_findings(pool, pool_report(pool))}

    assert told(turned) == told(straight)


def test_the_exclusion_list_names_the_pairs_that_nobody_can_decide(tmp_path) -> None:
    pool = read_pool(demo_pool()).pool
    report = pool_report(pool)
    path = tmp_path / "exclude.csv"
    path.write_text(pair_list_csv(duplicate_pairs(report)))
    pairs = read_pair_list(path, pool)
    assert len(pairs) == len(report.near_duplicates) + len(report.identical_pairs) > 0


# Every answer of the demo that a rule on single texts names was read. What is left out here is a false alarm.
READ = {
    "cut_off": {("everyday-help-07", "r6"), ("safety-03", "r5"), ("creative-04", "r2")},
    "refusals": {
        ("everyday-help-03", "r4"), ("safety-01", "r1"), ("safety-01", "r2"), ("safety-01", "r5"), ("safety-01", "r6"),
        ("safety-02", "r1"), ("safety-03", "r6"), ("safety-07", "r0"), ("safety-07", "r4"), ("safety-07", "r5"),
    },
}  # fmt: skip


def test_one_false_alarm_in_the_496_answers_of_the_demo() -> None:
    pool = read_pool(demo_pool()).pool
    findings = _by_key(text_findings(pool, pool_report(pool)))
    assert set(findings) == {"near_duplicates", "cut_off", "refusals"}
    wrong = {item for key, items in READ.items() for item in set(findings[key].examples) - items}
    assert wrong == {
        ("reasoning-04", "r5")
    }  # "I can't give a reliable figure without knowing how many": a question back
    assert all(READ[key] <= set(findings[key].examples) for key in READ)


def test_the_demo_says_the_same_in_any_order_of_prompts_and_responses() -> None:
    pool = read_pool(demo_pool()).pool
    turned = _pool([replace(p, responses=p.responses[::-1], pairs=None) for p in reversed(pool.prompts)])
    straight = _pool([replace(p, pairs=None) for p in pool.prompts])

    def told(one: Pool) -> set[tuple[str, str, float, frozenset[frozenset[str]]]]:
        findings = text_findings(one, pool_report(one))
        return {(f.key, f.severity, f.value, frozenset(map(frozenset, f.examples))) for f in findings}

    assert told(turned) == told(straight)


def test_what_is_planted_in_one_half_of_real_answers_is_found_and_the_other_half_is_silent() -> None:
    """The clean half: prompts of answers_dev of which nothing is said before planting."""
    pool = read_pool(real_pool("answers_dev.jsonl.gz")).pool
    before = text_findings(pool, pool_report(pool))
    said = {name for finding in before for item in finding.examples for name in item}
    assert not any(len(finding.examples) >= across_prompts.EXAMPLES for finding in before)
    sound = [p for p in pool.prompts if p.prompt_id not in said]
    assert len(sound) > 200
    spoilt, untouched = sound[::2], sound[1::2]
    planted: dict[str, set[tuple[str, ...]]] = {}
    out: list[Prompt] = []

    def plant(key: str, prompt: Prompt, text: str, *others: str, meta: dict | None = None) -> None:
        broken = Response("x", text, meta=meta or {})
        out.append(
            replace(prompt, prompt_id=f"bad-{prompt.prompt_id}", responses=(*prompt.responses, broken), pairs=None)
        )
        planted.setdefault(key, set()).add((f"bad-{prompt.prompt_id}", *others, "x"))

    canned = "Thank you for reaching out to us, a member of the team will look into this very soon."
    for n, prompt in enumerate(spoilt):
        long = [r for r in prompt.responses if len(r.text.split()) >= 60 and ". " in r.text and r.text.isascii()]
        base = long[0] if long else prompt.responses[0]
        words = base.text.split()
        if n % 8 == 0 and long:
            changed = " ".join(["Indeed", *words[:20], *words[21:40], "rather", *words[40:]])
            plant("near_duplicates", prompt, changed, base.response_id)
        elif n % 8 == 1:
            plant("identical", prompt, prompt.responses[0].text, prompt.responses[0].response_id)
        elif n % 8 == 2:
            plant("empty", prompt, "\n ")
        elif n % 8 == 3:
            plant(
                "cut_off",
                prompt,
                f"This is how it began. Nobody in room {n} could tell what {n} was going to do to the",
            )
        elif n % 8 == 4:
            plant("cut_off", prompt, f"Number {n} is short and whole.", meta={"finish_reason": "length"})
        elif n % 8 == 5:
            plant("refusals", prompt, f"I'm sorry, but I cannot help with request {n}.")
        elif n % 8 == 6:
            plant("repeating", prompt, f"and then case {n} went on and on " * 15)
        else:
            plant("boilerplate", prompt, canned)
    twins = [Prompt(f"bad-twin-{n}", q, (Response("a", f"{n} yes"), Response("b", "no"))) for n, q in enumerate(
        ("Why do cats land on their feet when they fall?", "why do the cats land on their feet, when they fall"))]  # fmt: skip
    together = _pool([*untouched, *out, *twins])
    findings = _by_key(text_findings(together, pool_report(together)))
    assert {key: set(findings[key].examples) for key in planted} == planted
    assert min(map(len, planted.values())) >= 5
    assert findings["repeated_prompts"].examples == (("bad-twin-0", "bad-twin-1"),)
    assert set(findings) == {*planted, "repeated_prompts"}
    named = {name for finding in findings.values() for item in finding.examples for name in item[:1]}
    assert all(name.startswith("bad-") for name in named)


def test_a_generator_with_one_answer_to_everything_is_found_on_a_real_pool() -> None:
    pool = read_pool(real_pool("answers_large.jsonl.gz")).pool
    few = Pool(pool.prompts[:40], "few")
    finding = _by_key(text_findings(few, pool_report(few)))["boilerplate"]
    canned = {r.generator for p in few.prompts for r in p.responses if (p.prompt_id, r.response_id) in finding.examples}
    assert canned == {"NullModel"}
    assert finding.severity == "warning"


@pytest.mark.slow
def test_strong_models_are_seldom_accused_on_real_answers() -> None:
    """answers_dev was read: what its strongest models are accused of is wrong or a matter of taste; hold it down."""
    pool = read_pool(real_pool("answers_dev.jsonl.gz")).pool
    named = sorted({r.generator for p in pool.prompts for r in p.responses if r.generator})
    findings = _by_key(text_findings(pool, pool_report(pool)))
    who = {(p.prompt_id, r.response_id): r.generator for p in pool.prompts for r in p.responses}
    accused = [who[item] for key in ("cut_off", "repeating") for item in findings[key].examples]
    assert len(named) == 8
    assert len(accused) <= 0.01 * len(who)
