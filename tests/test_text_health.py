"""Findings from texts: every planted defect is found by its ids, and nothing in the clean half is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.insight.health import Finding
from curation.insight.text_health import duplicate_pairs, text_findings
from curation.insight.text_rules import ends_openly, ends_without_stop, loops, refuses, stopped_by_length
from curation.pool.checks import pool_report
from curation.pool.pair_lists import pair_list_csv, read_pair_list
from curation.pool.readers import read_pool
from curation.pool.schema import Pool, Prompt, Response
from curation.pool.similar import similar_groups
from tests.pools import demo_pool, real_pool

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
