"""The pool report: counts that can be done by hand, and duplicates."""

from __future__ import annotations

import json
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import PoolError
from curation.pool.checks import FEW, NEAR, _few_similar, _similar, near_duplicates, pool_report, shared_texts
from curation.pool.readers.read import read_pool
from curation.pool.schema import Pool, Prompt, Response
from tests.desk.pools import real_pool


def prompt_of(*texts: str, pairs: tuple[tuple[int, int], ...] | None = None, stratum: str | None = None) -> Prompt:
    responses = tuple(Response(f"r{i}", text, generator="m" if i else None) for i, text in enumerate(texts))
    return Prompt("p", "question", responses, pairs=pairs, stratum=stratum)


def test_counts_agree_with_counting_by_hand() -> None:
    second = Prompt("q", "", (Response("r0", "abc"), Response("r1", "x" * 9)), stratum="s")
    report = pool_report(Pool((prompt_of("aa", "", "aa", " \n"), second)))
    assert (report.prompts, report.responses, report.pairs) == (2, 6, 7)
    assert report.candidates_per_prompt == {"min": 2.0, "median": 3.0, "max": 4.0}
    assert report.generators == {"(none given)": 3, "m": 3}
    assert report.strata == {"(none given)": 1, "s": 1}
    assert report.empty_responses == [("p", "r1"), ("p", "r3")]
    assert report.empty_prompts == ["q"]
    assert report.exact_duplicates == [("p", "r0", "r2")]
    assert (report.characters["min"], report.characters["median"], report.characters["max"]) == (0, 2, 9)
    assert report.characters["mean"] == pytest.approx((2 + 0 + 2 + 2 + 3 + 9) / 6)


def test_identical_pairs_are_only_the_candidate_pairs() -> None:
    assert pool_report(Pool((prompt_of("a", "a", "a"),))).identical_pairs == [
        ("p", "r0", "r1"),
        ("p", "r0", "r2"),
        ("p", "r1", "r2"),
    ]
    restricted = pool_report(Pool((prompt_of("a", "a", "a", "b", pairs=((0, 3), (1, 2))),)))
    assert restricted.identical_pairs == [("p", "r1", "r2")]
    assert restricted.exact_duplicates == [("p", "r0", "r1"), ("p", "r0", "r2")]


def test_similarity_is_the_jaccard_index_of_word_three_grams() -> None:
    # 12 words: 10 grams each; one changed word at the end leaves 9 shared of 11.
    words = [f"w{i}" for i in range(12)]
    changed = [*words[:-1], "other"]
    assert near_duplicates(prompt_of(" ".join(words), " ".join(changed))) == [("p", "r0", "r1", pytest.approx(9 / 11))]
    assert near_duplicates(prompt_of(" ".join(words), " ".join(changed)), near=0.82) == []


def test_case_and_punctuation_make_no_difference_but_order_does() -> None:
    assert near_duplicates(prompt_of("Yes, it is so.", "yes it is SO!")) == [("p", "r0", "r1", 1.0)]
    assert near_duplicates(prompt_of("it is so yes", "so it yes is")) == []


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [("Yes", "yes!", True), ("Yes", "No", False), ("so be", "So be.", True), ("a", "a b", False), ("!", "?", False)],
)
def test_short_texts_are_compared_whole(first: str, second: str, near: bool) -> None:
    assert bool(near_duplicates(prompt_of(first, second))) is near


def test_texts_without_spaces_are_compared_by_character() -> None:
    text = "今日はとても良い天気ですから公園へ散歩に行きましょう"
    assert near_duplicates(prompt_of(text, text[:-1] + "か")) != []
    assert near_duplicates(prompt_of(text, text[::-1])) == []


def test_exact_duplicates_are_not_listed_as_near() -> None:
    assert near_duplicates(prompt_of("one two three four", "one two three four", "", "")) == []


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=8).map(" ".join), min_size=2, max_size=6))
@settings(deadline=None, max_examples=60)
def test_near_duplicates_agree_with_sets(texts: list[str]) -> None:
    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))} if words else set()

    expected = []
    for i, j in combinations(range(len(texts)), 2):
        a, b = grams(texts[i]), grams(texts[j])
        similarity = len(a & b) / len(a | b) if a | b else 0.0
        if texts[i] != texts[j] and similarity >= 0.5:
            expected.append(("p", f"r{i}", f"r{j}", pytest.approx(similarity)))
    assert near_duplicates(prompt_of(*texts), near=0.5) == expected


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=8), min_size=2, max_size=7),
    st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
@settings(deadline=None, max_examples=80)
def test_sets_and_the_sparse_product_give_the_same_similarities(texts: list[list[str]], near: float) -> None:
    assert _few_similar(texts, near) == [(i, j, pytest.approx(value)) for i, j, value in _similar(texts, near)]


def test_near_duplicates_are_only_the_candidate_pairs() -> None:
    texts = ("one two three four five six", "one two three four five six!", "One two three four five six?", "else")
    every = near_duplicates(prompt_of(*texts))
    assert [row[1:3] for row in every] == [("r0", "r1"), ("r0", "r2"), ("r1", "r2")]
    assert near_duplicates(prompt_of(*texts, pairs=((0, 2), (0, 3)))) == [every[1]]
    many = prompt_of(*texts, *(f"text number {n} of its own" for n in range(FEW)), pairs=((0, 2), (0, 3)))
    assert near_duplicates(many) == [every[1]]


@given(
    st.lists(st.tuples(st.lists(st.sampled_from("abcd"), max_size=8), st.integers(0, 2)), min_size=1, max_size=8),
    st.sampled_from([0.25, 0.5, 0.8, 1.0]),
    st.integers(1, 4),
)
@settings(deadline=None, max_examples=150)
def test_shared_texts_are_those_whose_grams_others_have_and_miss_no_similar_pair(
    rows: list[tuple[list[str], int]], near: float, words: int
) -> None:
    def grams(text: list[str]) -> set[tuple[str, ...]]:
        return {tuple(text[i : i + 3]) for i in range(max(1, len(text) - 2))}

    long = [n for n, (text, _) in enumerate(rows) if len(text) >= words]
    expected = []
    for n in long:
        own = grams(rows[n][0])
        elsewhere = set().union(*(grams(rows[m][0]) for m in long if rows[m][1] != rows[n][1]))
        if len(own & elsewhere) >= near * len(own):
            expected.append(n)
    found = shared_texts([" ".join(text) for text, _ in rows], [owner for _, owner in rows], near=near, words=words)
    assert found == expected
    for i, j in combinations(long, 2):
        a, b = grams(rows[i][0]), grams(rows[j][0])
        if rows[i][1] != rows[j][1] and len(a & b) >= near * len(a | b):
            assert {i, j} <= set(found)


def test_report_is_plain_json() -> None:
    report = pool_report(Pool((prompt_of("a b c", "a b c", "A b c", ""),)))
    again = json.loads(json.dumps(report.to_json()))
    assert again == report.to_json()
    assert again["near_duplicates"] == [["p", "r0", "r2", 1.0], ["p", "r1", "r2", 1.0]]


def test_a_pool_without_responses_is_a_named_error() -> None:
    with pytest.raises(PoolError, match="no responses"):
        pool_report(Pool(()))


def test_the_duplicates_of_a_large_pool_are_what_their_texts_say() -> None:
    pool = read_pool(real_pool("answers_large.jsonl.gz")).pool
    report = pool_report(pool)
    assert (report.prompts, report.responses, report.pairs) == (300, 18_000, 531_000)
    texts = {(p.prompt_id, r.response_id): r.text for p in pool.prompts for r in p.responses}
    assert report.exact_duplicates
    assert all(texts[p, a] == texts[p, b] for p, a, b in report.exact_duplicates)
    assert all(texts[p, a] != texts[p, b] and NEAR <= s <= 1 for p, a, b, s in report.near_duplicates)
