"""Single signs of a broken answer, and the findings on real pools."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.health import across_prompts
from curation.health.text_rules import ends_openly, ends_without_stop, loops, refuses, stopped_by_length
from curation.health.texts import duplicate_pairs, text_findings
from curation.pool.checks import pool_report
from curation.pool.pair_lists import pair_list_csv, read_pair_list
from curation.pool.readers.read import read_pool
from curation.pool.schema import Pool, Prompt, Response
from curation.pool.similar import similar_groups
from tests.desk.pools import demo_pool, real_pool
from tests.desk.texts import by_key, pool_of


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
        pool = pool_of([one])
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
    findings = by_key(text_findings(pool, pool_report(pool)))
    assert set(findings) == {"near_duplicates", "cut_off", "refusals", "foregone"}
    wrong = {item for key, items in READ.items() for item in set(findings[key].examples) - items}
    assert wrong == {
        ("reasoning-04", "r5")
    }  # "I can't give a reliable figure without knowing how many": a question back
    assert all(READ[key] <= set(findings[key].examples) for key in READ)


def test_the_demo_says_the_same_in_any_order_of_prompts_and_responses() -> None:
    pool = read_pool(demo_pool()).pool
    turned = pool_of([replace(p, responses=p.responses[::-1], pairs=None) for p in reversed(pool.prompts)])
    straight = pool_of([replace(p, pairs=None) for p in pool.prompts])

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
    together = pool_of([*untouched, *out, *twins])
    findings = by_key(text_findings(together, pool_report(together)))
    assert {key: set(findings[key].examples) for key in planted} == planted
    assert min(map(len, planted.values())) >= 5
    assert findings["repeated_prompts"].examples == (("bad-twin-0", "bad-twin-1"),)
    assert set(findings) == {*planted, "repeated_prompts", "foregone"}
    named = {name for finding in findings.values() for item in finding.examples for name in item[:1]}
    assert all(name.startswith("bad-") for name in named)


def test_a_generator_with_one_answer_to_everything_is_found_on_a_real_pool() -> None:
    pool = read_pool(real_pool("answers_large.jsonl.gz")).pool
    few = Pool(pool.prompts[:40], "few")
    finding = by_key(text_findings(few, pool_report(few)))["boilerplate"]
    canned = {r.generator for p in few.prompts for r in p.responses if (p.prompt_id, r.response_id) in finding.examples}
    assert canned == {"NullModel"}
    assert finding.severity == "warning"


@pytest.mark.slow
def test_strong_models_are_seldom_accused_on_real_answers() -> None:
    """answers_dev was read: what its strongest models are accused of is wrong or a matter of taste; hold it down."""
    pool = read_pool(real_pool("answers_dev.jsonl.gz")).pool
    named = sorted({r.generator for p in pool.prompts for r in p.responses if r.generator})
    findings = by_key(text_findings(pool, pool_report(pool)))
    who = {(p.prompt_id, r.response_id): r.generator for p in pool.prompts for r in p.responses}
    accused = [who[item] for key in ("cut_off", "repeating") for item in findings[key].examples]
    assert len(named) == 8
    assert len(accused) <= 0.01 * len(who)
